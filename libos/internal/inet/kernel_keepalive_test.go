package inet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// pass polls the stack for a while.
func (k *kernel) pass(d time.Duration) {
	end := time.Now().Add(d)
	k.until("time", func() bool { return time.Now().After(end) })
}

// TestKernelTCPKeepalive: the kernel asks and we answer; we ask and the kernel answers; the kernel is gone and we end.
func TestKernelTCPKeepalive(t *testing.T) {
	const idle, interval = 700, 600 // ms; the kernel answers the like every 500 ms only (tcp_invalid_ratelimit)
	withKernel(t, func(t *testing.T, k *kernel) {
		p := &program{}
		k.listen(p)
		asking, asked := k.dial(7), k.dial(7)
		require.NoError(t, k.dialled(asking))
		require.NoError(t, k.dialled(asked))
		k.until("accept", func() bool { return len(p.accepted) == 2 })
		byKernel, byStack := p.accepted[0], p.accepted[1]
		for _, o := range []struct{ level, name, value int }{
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 1}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 1},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 2}, {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		} {
			require.NoError(t, unix.SetsockoptInt(asking, o.level, o.name, o.value))
		}
		options := *byStack.conn.Options()
		options.KeepIdle, options.KeepInterval, options.KeepProbes = int64(idle*time.Millisecond), int64(interval*time.Millisecond), 3
		byStack.conn.SetOptions(&options)
		received := func(q *program) uint64 {
			var i tcp.Info
			q.conn.Info(&i)
			return i.SegmentsReceived
		}
		before, answers := received(byKernel), received(byStack)
		k.pass(4 * time.Second) // without answers the kernel would give up after 3
		assert.GreaterOrEqual(t, received(byKernel), before+3, "questions of the kernel")
		c := &k.stack.TCP().Counters
		assert.GreaterOrEqual(t, c.KeepaliveProbes, uint64(3))
		assert.LessOrEqual(t, c.KeepaliveProbes, uint64(4000/idle))
		assert.InDelta(t, float64(answers+c.KeepaliveProbes), float64(received(byStack)), 1, "answers of the kernel")
		for _, x := range []struct {
			fd int
			q  *program
		}{{asking, byKernel}, {asked, byStack}} {
			x.q.out = []byte("still here")
			x.q.Writable(x.q.conn)
			assert.Equal(t, "still here", string(k.receive("data", x.fd)))
			assert.Empty(t, x.q.ended)
		}

		k.space.IP(t, "link", "set", k.name, "down")
		probes, since := c.KeepaliveProbes, time.Now()
		k.until("end", func() bool { return len(byStack.ended) > 0 })
		assert.Equal(t, []abi.Errno{unix.ETIMEDOUT}, byStack.ended)
		assert.Greater(t, time.Since(since).Milliseconds(), int64(idle+3*interval-100))
		assert.Equal(t, probes+3, c.KeepaliveProbes)
		assert.Empty(t, byKernel.ended, "nobody has asked")
	})
}
