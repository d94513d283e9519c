package inet

import (
	"crypto/sha256"
	"hash"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// bulkTable is what is sent, again and again: its length is odd, so that no two buffers look the same.
var bulkTable = func() []byte {
	b := make([]byte, 1<<20+13)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}()

// outflow is bytes to be sent, and the checksum of those that were.
type outflow struct {
	left, at int
	sum      hash.Hash
}

func newOutflow(n int) *outflow { return &outflow{left: n, sum: sha256.New()} }

func (o *outflow) next() []byte {
	b := bulkTable[o.at:]
	return b[:min(len(b), o.left, 256<<10)]
}

func (o *outflow) took(p []byte) {
	o.sum.Write(p)
	o.left -= len(p)
	o.at = (o.at + len(p)) % len(bulkTable)
}

// inflow is what came.
type inflow struct {
	n     int
	sum   hash.Hash
	ended bool
}

func (i *inflow) add(p []byte) {
	i.sum.Write(p)
	i.n += len(p)
}

// bulk is a transfer: two directions, each from one end to the other.
type bulk struct {
	k             *kernel
	up, down      *outflow // from the kernel, and to it
	atStack       inflow
	atKernel      inflow
	stackWaits    bool // the stack sends only after the kernel's end: a connection that is half closed
	kernelWaits   bool
	conn          *tcp.Conn
	fd            int
	buf           []byte
	kernelStopped bool
	err           abi.Errno
}

func (b *bulk) Acceptable(l *tcp.Listener) {
	b.conn = l.Accept()
	b.conn.SetHandler(b)
	b.conn.Pull()
	b.send()
}

func (b *bulk) Connected(_ *tcp.Conn, err abi.Errno) {
	b.err = err
	b.send()
}

func (b *bulk) Received(_ *tcp.Conn, p []byte) int {
	b.atStack.add(p)
	return len(p)
}

func (b *bulk) Writable(*tcp.Conn) { b.send() }

func (b *bulk) Ended(_ *tcp.Conn, err abi.Errno) {
	b.atStack.ended, b.err = true, err
	b.send()
}

// send is the stack's end, which sends as much as there is room for.
func (b *bulk) send() {
	if b.err != 0 || b.stackWaits && !b.atStack.ended {
		return
	}
	for b.down.left > 0 {
		p := b.down.next()
		n := b.conn.Write(p)
		b.down.took(p[:n])
		if n < len(p) {
			b.conn.Push()
			return
		}
	}
	b.conn.Shutdown()
}

// step is the kernel's end: it writes and reads as much as it can without blocking.
func (b *bulk) step() {
	t := b.k.t
	for b.up.left > 0 && !(b.kernelWaits && !b.atKernel.ended) {
		p := b.up.next()
		n, err := unix.Write(b.fd, p)
		if err == unix.EAGAIN {
			break
		}
		require.NoError(t, err)
		b.up.took(p[:n])
	}
	if b.up.left == 0 && !b.kernelStopped {
		b.kernelStopped = true
		require.NoError(t, unix.Shutdown(b.fd, unix.SHUT_WR))
	}
	for !b.atKernel.ended {
		n, err := unix.Read(b.fd, b.buf)
		if err == unix.EAGAIN {
			break
		}
		require.NoError(t, err)
		b.atKernel.ended = n == 0
		b.atKernel.add(b.buf[:n])
	}
}

// run transfers up bytes from the kernel and down bytes to it, over a connection that the kernel opens, or the stack.
func (b *bulk) run(kernelOpens bool, up, down int) {
	k := b.k
	b.up, b.down, b.buf = newOutflow(up), newOutflow(down), make([]byte, 256<<10)
	b.atStack.sum, b.atKernel.sum = sha256.New(), sha256.New()
	if kernelOpens {
		l, err := k.stack.TCP().Listen(0, 7, 10, b)
		require.Zero(k.t, err)
		defer l.Close()
		b.fd = k.dial(7)
		require.NoError(k.t, k.dialled(b.fd))
	} else {
		l := k.server(9)
		var err abi.Errno
		b.conn, err = k.stack.TCP().Connect(0, 0, kernelAddr, 9, b)
		require.Zero(k.t, err)
		b.fd = k.accept(l)
		closeNow(k.t, l)
	}
	start := time.Now()
	k.patience = time.Minute + time.Duration(up+down)*100*time.Nanosecond // 10 MB/s
	k.until("transfer", func() bool {
		b.step()
		return b.atStack.ended && b.atKernel.ended
	})
	seconds := time.Since(start).Seconds()
	b.conn.Close()
	assert.Zero(k.t, b.err)
	assert.Equal(k.t, up, b.atStack.n)
	assert.Equal(k.t, down, b.atKernel.n)
	assert.Equal(k.t, b.up.sum.Sum(nil), b.atStack.sum.Sum(nil), "SHA-256")
	assert.Equal(k.t, b.down.sum.Sum(nil), b.atKernel.sum.Sum(nil), "SHA-256")
	k.t.Logf("%d MiB from the kernel, %d MiB to it: %.1f s, %.2f Gbit/s, SHA-256 %.4x %.4x", up>>20, down>>20, seconds,
		float64(up+down)*8e-9/seconds, b.atStack.sum.Sum(nil), b.atKernel.sum.Sum(nil))
}

// TestKernelTCPBulk: much data each way and both ways at once, opened by either end. One way, the connection is half
// closed for as long as the transfer lasts.
func TestKernelTCPBulk(t *testing.T) {
	n := 64 << 20
	switch {
	case *kernelFull:
		n = 1 << 30
	case testing.Short():
		n = 8 << 20
	}
	withKernel(t, func(t *testing.T, k *kernel) {
		(&bulk{k: k, kernelWaits: true}).run(true, n, 0)
		(&bulk{k: k, stackWaits: true}).run(false, 0, n)
		(&bulk{k: k}).run(true, n, n)
		(&bulk{k: k}).run(false, n, n)
		c := &k.stack.TCP().Counters
		assert.Zero(t, c.Timeouts+c.BadSums+c.BadHeaders)
	})
}
