package tcp

import (
	"bytes"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// empty checks that nothing is left of any connection.
func (r *lab) empty() {
	r.t.Helper()
	for _, e := range []*end{r.a, r.b} {
		assert.Zero(r.t, e.table.n)
		assert.Zero(r.t, e.conns.n)
		assert.Zero(r.t, e.blocks.count)
		assert.Zero(r.t, e.timers.Len())
		assert.Zero(r.t, e.Counters.Orphans)
		assert.Zero(r.t, e.Counters.Established)
		assert.Zero(r.t, e.Counters.TimeWaits)
	}
}

func TestCloseActive(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	a, b := r.pair()
	a.c.Close()
	assert.Equal(t, FinWait1, a.c.State())
	r.settle()
	assert.Equal(t, FinWait2, a.c.State())
	assert.Equal(t, CloseWait, b.c.State())
	assert.Equal(t, []abi.Errno{0}, b.ended)
	b.c.Close()
	r.settle()
	assert.Equal(t, Closed, b.c.State())
	assert.EqualValues(t, 1, r.a.Counters.TimeWaits)
	assert.Zero(t, r.a.conns.n, "a small record takes its place")
	r.run(61 * second)
	r.empty()
	assert.Empty(t, a.ended, "no call after Close")
}

func TestCloseBoth(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	a, b := r.pair()
	a.c.Close()
	b.c.Close()
	r.settle()
	assert.EqualValues(t, 1, r.a.Counters.TimeWaits)
	assert.EqualValues(t, 1, r.b.Counters.TimeWaits)
	r.run(61 * second)
	r.empty()
}

func TestHalfClose(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	a, b := r.pair()
	data := pattern(100_000)
	a.write(data)
	a.c.Shutdown()
	a.c.Shutdown()
	assert.Zero(t, a.c.Write([]byte("x")))
	assert.Zero(t, a.c.Room())
	r.settle()
	require.Equal(t, []abi.Errno{0}, b.ended)
	assert.True(t, bytes.Equal(data, b.got))
	b.write(data)
	r.run(second)
	assert.True(t, bytes.Equal(data, a.got))
	b.c.Shutdown()
	r.settle()
	assert.Equal(t, []abi.Errno{0}, a.ended)
	assert.Equal(t, TimeWait, a.c.State())
	assert.Equal(t, Closed, b.c.State())
	a.c.Close()
	b.c.Close()
	r.run(61 * second)
	r.empty()
}

// What was received before the connection ended can still be read.
func TestReadLate(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	a, b := r.pair()
	b.limit = 10
	a.write(pattern(5000))
	a.c.Close()
	r.settle()
	assert.Len(t, b.got, 10)
	assert.Empty(t, b.ended)
	b.c.Shutdown()
	r.run(100 * second)
	assert.Equal(t, Closed, b.c.State())
	b.limit = 4000
	b.c.Pull()
	assert.Len(t, b.got, 4010)
	assert.Empty(t, b.ended)
	b.limit = -1
	b.c.Pull()
	assert.Equal(t, pattern(5000), b.got)
	assert.Equal(t, []abi.Errno{0}, b.ended)
	b.c.Pull()
	assert.Len(t, b.ended, 1)
	b.c.Close()
	r.empty()
}

// Nor does a reset that comes when both directions are closed take it away.
func TestReadAfterReset(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	a, b := r.pair()
	b.limit = 0
	a.write(pattern(5000))
	a.c.Shutdown()
	r.settle()
	b.c.Shutdown()
	require.Equal(t, LastACK, b.c.State())
	b.c.input(reset(b.c))
	assert.Equal(t, Closed, b.c.State())
	b.limit = -1
	b.c.Pull()
	assert.Equal(t, pattern(5000), b.got)
	assert.Equal(t, []abi.Errno{0}, b.ended)
	b.c.Close()
	assert.Zero(t, r.b.blocks.count)
}

// reset is a RST that c believes.
func reset(c *Conn) wire.TCP {
	p := make([]byte, wire.TCPLen)
	l, r := c.Local(), c.Remote()
	wire.TCP(p).Put(r.Port, l.Port, c.rcvNxt, 0, wire.TCPLen, wire.RST, 0)
	return p
}

func TestAbort(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	a, b := r.pair()
	a.write(pattern(1000))
	r.settle()
	a.c.Abort()
	r.settle()
	assert.Equal(t, []abi.Errno{syscall.ECONNRESET}, b.ended)
	assert.Empty(t, a.ended)
	r.empty()
	for _, c := range []*Conn{a.c, b.c} { // all is harmless on the dead
		assert.Zero(t, c.Write([]byte("x")))
		c.Push()
		c.Pull()
		c.Shutdown()
		c.Close()
		c.Abort()
		c.Info(&Info{})
		assert.Equal(t, Closed, c.State())
	}
	r.settle()
	assert.Len(t, b.ended, 1)
	r.empty()
}

// Close with data unread resets (RFC 9293, 3.6.1), and so does data that comes after Close.
func TestCloseUnread(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	a, b := r.pair()
	b.limit = 0
	a.write(pattern(100))
	r.settle()
	b.c.Close()
	r.settle()
	assert.Equal(t, []abi.Errno{syscall.ECONNRESET}, a.ended)

	b.l.Close()
	a, b = r.pair()
	b.c.Close()
	r.settle()
	assert.Equal(t, []abi.Errno{0}, a.ended)
	a.write(pattern(100))
	r.settle()
	assert.Equal(t, []abi.Errno{0, syscall.ECONNRESET}, a.ended)
	r.empty()
}

func TestFinWait2Ends(t *testing.T) {
	r := newLab(t, Config{FinWait: 5 * second}, Config{})
	a, b := r.pair()
	a.c.Close()
	r.run(4 * second)
	assert.Equal(t, FinWait2, a.c.State())
	r.run(2 * second)
	assert.Equal(t, Closed, a.c.State())
	b.c.Close()
	r.run(second)
	r.empty()
}

func TestFinWait2EndsLate(t *testing.T) {
	r := newLab(t, Config{FinWait: 5 * second}, Config{})
	a, _ := r.pair()
	a.c.Shutdown()
	r.run(100 * second)
	assert.Equal(t, FinWait2, a.c.State(), "somebody has it")
	a.c.Close()
	r.run(6 * second)
	assert.Equal(t, Closed, a.c.State())
}

func TestOrphanLimit(t *testing.T) {
	r := newLab(t, Config{MaxOrphans: 1}, Config{})
	a1, b := r.pair()
	a2 := r.connect()
	r.settle()
	a1.c.Close()
	a2.c.Close()
	r.settle()
	assert.EqualValues(t, 1, r.a.Counters.OrphansReset)
	assert.Equal(t, []abi.Errno{0, syscall.ECONNRESET}, b.ended)
}

func TestTimeWaitBounded(t *testing.T) {
	r := newLab(t, Config{MaxTimeWait: 10}, Config{})
	b := r.listen(100)
	for range 30 {
		a := r.connect()
		r.settle()
		a.c.Close()
		b.c.Close()
		r.settle()
	}
	assert.Equal(t, uint64(10), r.a.Counters.TimeWaits+r.b.Counters.TimeWaits-r.b.Counters.TimeWaits)
	assert.EqualValues(t, 20, r.a.Counters.TimeWaitsDropped)
	b.l.Close()
	r.run(61 * second)
	r.empty()
}

// A new connection may take the place of a TIME-WAIT at either end.
func TestTimeWaitReuse(t *testing.T) {
	for _, stamps := range []bool{true, false} {
		cfg := Config{NoTimestamps: !stamps}
		r := newLab(t, cfg, cfg)
		b := r.listen(16)
		one := func() *peer {
			p := newPeer()
			var err abi.Errno
			p.c, err = r.a.Connect(0, 5000, addrB, testPort, p)
			require.Zero(t, err)
			r.settle()
			require.Equal(t, []abi.Errno{0}, p.connected)
			return p
		}
		one()
		b.c.Close() // TIME-WAIT will be at b, which listens
		r.settle()
		r.a.last = nil
		for c := r.a.conns.head; c != nil; c = r.a.conns.head {
			c.Close()
			r.settle()
		}
		require.EqualValues(t, 1, r.b.Counters.TimeWaits)
		r.run(10 * millisecond)
		one()
		assert.EqualValues(t, 1, r.b.Counters.TimeWaitsReused)
		assert.Zero(t, r.b.Counters.TimeWaits)
		assert.Zero(t, r.a.Counters.Retransmits)
	}
}

func TestTimeWaitReuseActive(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	a, b := r.pair()
	port := a.c.Local().Port
	a.c.Close()
	b.c.Close()
	r.settle()
	_, err := r.a.Connect(0, port, addrB, testPort, newPeer())
	assert.Equal(t, syscall.EADDRINUSE, err)
	r.run(2 * second)
	next := r.a.timeWaits.head.sndNxt + 100_000_000
	r.a.timeWaits.head.sndNxt = next
	p := newPeer()
	p.c, err = r.a.Connect(0, port, addrB, testPort, p)
	require.Zero(t, err)
	assert.Equal(t, next+0x10001, p.c.iss, "beyond the old sequence numbers")
	r.settle()
	assert.Equal(t, []abi.Errno{0}, p.connected)
}

// The last ACK is lost: TIME-WAIT answers the FIN again.
func TestTimeWaitAnswers(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	a, b := r.pair()
	a.c.Close()
	r.settle()
	b.c.Close()
	r.a.ip.Poll(r.now) // the FIN comes
	r.a.Flush()
	before := r.a.Counters.Sent
	m := r.a.timeWaits.head
	require.Nil(t, m)
	r.b.dev.Flush()
	r.a.ip.Poll(r.now)
	m = r.a.timeWaits.head
	require.NotNil(t, m)
	assert.Equal(t, before+1, r.a.Counters.Sent)
	s := &segment{key: m.key, seq: m.rcvNxt - 1, ack: m.sndNxt, flags: 0x11}
	r.now += 30 * second
	r.a.ip.SetNow(r.now)
	if m.stamped() {
		s.opt.Has, s.opt.TSVal = m.opt, m.tsRecent
	}
	r.a.inputTimeWait(m, s)
	assert.Equal(t, before+2, r.a.Counters.Sent)
	r.run(59 * second)
	assert.EqualValues(t, 1, r.a.Counters.TimeWaits, "2 MSL began anew")
	r.run(2 * second)
	assert.Zero(t, r.a.Counters.TimeWaits)
}
