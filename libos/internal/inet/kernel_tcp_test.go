package inet

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// program uses one connection of the stack: it sends what it has, and keeps what comes.
type program struct {
	conn      *tcp.Conn
	listener  *tcp.Listener
	accepted  []*program
	out       []byte
	done      bool // close the sending direction after out
	got       []byte
	connected []abi.Errno
	ended     []abi.Errno
}

func (p *program) Acceptable(l *tcp.Listener) {
	q := &program{conn: l.Accept(), out: p.out, done: p.done}
	p.accepted = append(p.accepted, q)
	q.conn.SetHandler(q)
	q.conn.Pull()
	q.Writable(q.conn)
}

func (p *program) Connected(c *tcp.Conn, err abi.Errno) {
	p.connected = append(p.connected, err)
	if err == 0 {
		p.Writable(c)
	}
}

func (p *program) Received(_ *tcp.Conn, b []byte) int {
	p.got = append(p.got, b...)
	return len(b)
}

func (p *program) Writable(c *tcp.Conn) {
	p.out = p.out[c.Write(p.out):]
	c.Push()
	if p.done && len(p.out) == 0 {
		c.Shutdown()
	}
}

func (p *program) Ended(_ *tcp.Conn, err abi.Errno) { p.ended = append(p.ended, err) }

func (k *kernel) listen(p *program) {
	var err abi.Errno
	p.listener, err = k.stack.TCP().Listen(0, 7, 2000, p)
	require.Zero(k.t, err)
}

// dial begins a connection from the kernel to the stack.
func (k *kernel) dial(port uint16) int {
	fd := k.socket(unix.SOCK_STREAM, 0)
	require.Equal(k.t, unix.EINPROGRESS, unix.Connect(fd, sockaddr(stackAddr, port)))
	return fd
}

// dialled waits for the end of dial.
func (k *kernel) dialled(fd int) error {
	k.t.Helper()
	pfd := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	k.until("connect", func() bool {
		n, err := unix.Poll(pfd, 0)
		require.True(k.t, err == nil || err == unix.EINTR, "%v", err)
		return n == 1
	})
	e, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	require.NoError(k.t, err)
	if e != 0 {
		return syscall.Errno(e)
	}
	return nil
}

// server is a listening socket of the kernel.
func (k *kernel) server(port uint16) int {
	fd := k.socket(unix.SOCK_STREAM, 0)
	require.NoError(k.t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	require.NoError(k.t, unix.Bind(fd, sockaddr(kernelAddr, port)))
	require.NoError(k.t, unix.Listen(fd, 1000))
	return fd
}

func (k *kernel) accept(fd int) (conn int) {
	k.t.Helper()
	k.until("accept", func() bool {
		var err error
		conn, _, err = unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		return err == nil
	})
	k.t.Cleanup(func() { _ = unix.Close(conn) })
	return conn
}

// pump sends out, closes that direction, and reads until the end.
func (k *kernel) pump(fd int, out []byte) (got []byte, err error) {
	k.t.Helper()
	b := make([]byte, 256<<10)
	sent, ended := false, false
	k.until("transfer", func() bool {
		for len(out) > 0 {
			n, e := unix.Write(fd, out[:min(len(out), 256<<10)])
			if e != nil {
				break
			}
			out = out[n:]
		}
		if len(out) == 0 && !sent {
			sent = true
			if e := unix.Shutdown(fd, unix.SHUT_WR); e != unix.ENOTCONN { // reset meanwhile: Read tells
				require.NoError(k.t, e)
			}
		}
		for !ended && err == nil {
			n, e := unix.Read(fd, b)
			if e == unix.EAGAIN {
				break
			}
			err, ended = e, n == 0
			got = append(got, b[:max(n, 0)]...)
		}
		return sent && ended || err != nil
	})
	return got, err
}

// TestKernelTCPOneByOne: small pieces, each of which waits for the last.
func TestKernelTCPOneByOne(t *testing.T) {
	withKernel(t, func(t *testing.T, k *kernel) {
		p := &program{}
		k.listen(p)
		fd := k.dial(7)
		require.NoError(t, k.dialled(fd))
		k.until("accept", func() bool { return len(p.accepted) == 1 })
		q := p.accepted[0]
		for i := range 200 {
			_, err := unix.Write(fd, []byte{byte(i)})
			require.NoError(t, err)
			k.until("byte", func() bool { return len(q.got) == i+1 })
			q.conn.Write([]byte{byte(i)})
			q.conn.Push()
			k.stack.Flush()
			require.Equal(t, []byte{byte(i)}, k.receive("echo", fd))
		}
		q.conn.Close()
	})
}

// TestKernelTCPErrors: nobody listens; resets.
func TestKernelTCPErrors(t *testing.T) {
	withKernel(t, func(t *testing.T, k *kernel) {
		assert.Equal(t, unix.ECONNREFUSED, k.dialled(k.dial(8)))
		p := &program{}
		var e abi.Errno
		p.conn, e = k.stack.TCP().Connect(0, 0, kernelAddr, 8, p)
		require.Zero(t, e)
		k.until("refused", func() bool { return len(p.connected) > 0 })
		assert.Equal(t, []abi.Errno{unix.ECONNREFUSED}, p.connected)

		p = &program{}
		k.listen(p)
		fd := k.dial(7)
		require.NoError(t, k.dialled(fd))
		k.until("accept", func() bool { return len(p.accepted) == 1 })
		p.accepted[0].conn.Abort()
		_, err := k.pump(fd, nil)
		assert.Equal(t, unix.ECONNRESET, err)

		reset := k.dial(7)
		require.NoError(t, k.dialled(reset))
		require.NoError(t, unix.SetsockoptLinger(reset, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		k.until("accept", func() bool { return len(p.accepted) == 2 })
		closeNow(t, reset)
		r := p.accepted[1]
		k.until("reset", func() bool { return len(r.ended) > 0 })
		assert.Equal(t, []abi.Errno{unix.ECONNRESET}, r.ended)
	})
}

// closeNow closes a descriptor that is closed again at the end of the test, by keeping its number in use.
func closeNow(t *testing.T, fd int) {
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Dup3(null, fd, unix.O_CLOEXEC))
	require.NoError(t, unix.Close(null))
}

// TestKernelTCPMany: a thousand connections at once, each echoing.
func TestKernelTCPMany(t *testing.T) {
	var lim unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &lim))
	n := min(1000, int(lim.Cur)-100)
	withKernel(t, func(t *testing.T, k *kernel) {
		p := &program{out: []byte("welcome")}
		k.listen(p)
		var fds []int
		for range n {
			fds = append(fds, k.dial(7))
		}
		for _, fd := range fds {
			require.NoError(t, k.dialled(fd))
		}
		k.until("accepts", func() bool { return len(p.accepted) == n })
		for _, fd := range fds {
			_, err := unix.Write(fd, []byte("hello"))
			require.NoError(t, err)
		}
		for _, fd := range fds {
			require.Equal(t, "welcome", string(k.receive("welcome", fd)))
		}
		k.until("hellos", func() bool {
			for _, q := range p.accepted {
				if string(q.got) != "hello" {
					return false
				}
			}
			return true
		})
		for _, q := range p.accepted {
			q.conn.Close()
		}
		for _, fd := range fds {
			got, err := k.pump(fd, nil)
			require.NoError(t, err)
			require.Empty(t, got)
		}
		// When the kernel repeats a FIN, the second answer finds no socket there, and a reset ends TIME-WAIT early.
		k.until("ends", func() bool {
			c := &k.stack.TCP().Counters
			return c.TimeWaits+c.ResetsReceived == uint64(n)
		})
	})
}
