package tcp

import (
	"bytes"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// A peer that does not read stops the sender, costs no more than the buffers, and is probed for ever (MUST-36, MUST-37).
func TestZeroWindow(t *testing.T) {
	cfg := Config{SendBuffer: 50_000, ReceiveBuffer: 30_000, UserTimeout: 100 * second}
	r := newLab(t, cfg, cfg)
	a, b := r.pair()
	b.limit = 0
	data := pattern(200_000)
	a.write(data)
	r.run(second)
	assert.LessOrEqual(t, b.c.rcv.len(), 30_000+roundingRoom)
	assert.GreaterOrEqual(t, b.c.rcv.len(), 30_000)
	assert.LessOrEqual(t, a.c.snd.len(), 50_000)
	r.run(1000 * second)
	assert.Empty(t, a.ended)
	probes := r.a.Counters.WindowProbes
	assert.Greater(t, probes, uint64(15))
	assert.Less(t, probes, uint64(60))
	for len(b.got) < len(data) {
		b.limit = 700
		before := len(b.got)
		b.c.Pull()
		r.run(300 * millisecond)
		require.Greater(t, len(b.got), before)
	}
	assert.Equal(t, data, b.got)
	assert.Positive(t, a.writable)
	assert.Zero(t, r.a.Counters.Retransmits)
	assert.Less(t, r.a.Counters.Sent, uint64(200_000/500), "no silly windows")
}

// A window that opens is announced; without that, the probe finds out.
func TestWindowUpdate(t *testing.T) {
	cfg := Config{ReceiveBuffer: 30_000}
	r := newLab(t, cfg, cfg)
	a, b := r.pair()
	b.limit = 0
	a.write(pattern(100_000))
	r.run(10 * second)
	b.limit = -1
	b.c.Pull()
	r.settle()
	assert.Len(t, b.got, 100_000, "at once")
}

// The right edge of the window moves on by full segments only, and never back.
func TestReceiverSillyWindow(t *testing.T) {
	cfg := Config{ReceiveBuffer: 30_000}
	r := newLab(t, cfg, cfg)
	a, b := r.pair()
	b.limit = 0
	a.write(pattern(100_000))
	r.run(second)
	moves := 0
	for edge := b.c.rcvAdv; len(b.got) < 20_000; {
		b.limit = 100
		b.c.Pull()
		a.c.emit(a.c.sndUna-1, 0, wire.ACK, r.now) // asks for an ACK
		r.run(600 * millisecond)
		if d := b.c.rcvAdv.Since(edge); d != 0 {
			assert.GreaterOrEqual(t, d, 1448)
			edge = b.c.rcvAdv
			moves++
		}
	}
	assert.InDelta(t, 20_000/1500, moves, 2)
}

// A peer whose window is zero and that is gone is given up.
func TestZeroWindowDead(t *testing.T) {
	im := link.Impairment{}
	r := newLossyLab(t, 1, im, Config{UserTimeout: 50 * second}, Config{ReceiveBuffer: 10_000})
	a, b := r.pair()
	b.limit = 0
	a.write(pattern(100_000))
	r.run(200 * second)
	assert.Empty(t, a.ended)
	r.a.dev.(*link.Fault).Impair(link.Impairment{Loss: 1}, link.Impairment{Loss: 1})
	r.run(120 * second)
	assert.Equal(t, []abi.Errno{syscall.ETIMEDOUT}, a.ended)
}

func TestUserTimeout(t *testing.T) {
	r := newLossyLab(t, 1, link.Impairment{}, Config{UserTimeout: 20 * second}, Config{})
	a, _ := r.pair()
	r.a.dev.(*link.Fault).Impair(link.Impairment{Loss: 1}, link.Impairment{Loss: 1})
	r.run(100 * second)
	assert.Equal(t, Established, a.c.State(), "silence is no harm")
	a.write([]byte("x"))
	r.run(19 * second)
	assert.Empty(t, a.ended)
	r.run(2 * second)
	assert.Equal(t, []abi.Errno{syscall.ETIMEDOUT}, a.ended)
	assert.EqualValues(t, 1, r.a.Counters.Timeouts)
	assert.Zero(t, r.a.timers.Len())
}

func TestKeepalive(t *testing.T) {
	r := newLossyLab(t, 1, link.Impairment{}, Config{KeepIdle: 7 * second, KeepInterval: 3 * second, KeepProbes: 4}, Config{})
	a, _ := r.pair()
	r.run(71 * second)
	assert.EqualValues(t, 10, r.a.Counters.KeepaliveProbes)
	assert.Equal(t, Established, a.c.State())
	r.a.dev.(*link.Fault).Impair(link.Impairment{Loss: 1}, link.Impairment{Loss: 1})
	r.run(7*second + 3*3*second)
	assert.Empty(t, a.ended)
	assert.EqualValues(t, 14, r.a.Counters.KeepaliveProbes)
	r.run(4 * second)
	assert.Equal(t, []abi.Errno{syscall.ETIMEDOUT}, a.ended)
}

func TestDelayedACK(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	a, b := r.pair()
	r.run(second)
	sent := r.b.Counters.Sent
	a.write([]byte("x"))
	r.run(39 * millisecond)
	assert.Equal(t, sent, r.b.Counters.Sent)
	r.run(2 * millisecond)
	assert.Equal(t, sent+1, r.b.Counters.Sent)
	a.write([]byte("x"))
	r.settle()
	b.write([]byte("y"))
	r.run(10 * millisecond)
	assert.Equal(t, sent+2, r.b.Counters.Sent, "the answer carries the ACK")
	r.run(100 * millisecond)
	assert.Equal(t, sent+2, r.b.Counters.Sent)
}

func TestNagle(t *testing.T) {
	for _, nagle := range []bool{false, true} {
		r := newLab(t, Config{Nagle: nagle}, Config{})
		a, b := r.pair()
		r.run(second)
		sent := r.a.Counters.Sent
		for range 5 {
			a.write([]byte("abc"))
		}
		want := uint64(5)
		if nagle {
			want = 1
		}
		assert.Equal(t, sent+want, r.a.Counters.Sent)
		r.run(second)
		assert.Len(t, b.got, 15)
		if nagle {
			assert.Equal(t, sent+2, r.a.Counters.Sent)
		}
	}
}

func TestPathMTU(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	a, b := r.pair()
	data := pattern(100_000)
	b.limit = -1
	a.write(data[:50_000])
	seq := a.c.sndUna
	lie := &ip.Failure{Errno: syscall.EMSGSIZE, Local: addrA, Remote: addrB, MTU: 600}
	head := make([]byte, 8)
	p := a.c.key
	head[0], head[1], head[2], head[3] = byte(p.ports>>8), byte(p.ports), byte(p.ports>>24), byte(p.ports>>16)
	put := func(v uint32) { head[4], head[5], head[6], head[7] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v) }
	lie.Data = head
	put(uint32(seq) - 1)
	r.a.Failed(lie)
	assert.Equal(t, 1448, a.c.mss, "not about a segment in flight")
	put(uint32(seq))
	r.a.Failed(lie)
	assert.Equal(t, 548, a.c.mss)
	a.write(data[50_000:])
	r.run(second)
	assert.True(t, bytes.Equal(data, b.got))
	var i Info
	a.c.Info(&i)
	assert.Equal(t, 600, i.PathMTU)
	assert.Zero(t, r.a.Counters.RTOs)
}

func TestUnreachable(t *testing.T) {
	r := newLossyLab(t, 1, link.Impairment{Loss: 1}, Config{}, Config{})
	a := r.connect()
	f := &ip.Failure{Errno: syscall.EHOSTUNREACH, Local: addrA, Remote: addrB}
	p, s := a.c.key, uint32(a.c.iss)
	f.Data = []byte{byte(p.ports >> 8), byte(p.ports), byte(p.ports >> 24), byte(p.ports >> 16), byte(s >> 24), byte(s >> 16), byte(s >> 8), byte(s)}
	r.a.Failed(f)
	assert.Empty(t, a.connected, "a soft error (MUST-56)")
	r.run(200 * second)
	assert.Equal(t, []abi.Errno{syscall.EHOSTUNREACH}, a.connected, "but the reason of the timeout")
	a = r.connect()
	p, s = a.c.key, uint32(a.c.iss)
	f.Data = []byte{byte(p.ports >> 8), byte(p.ports), byte(p.ports >> 24), byte(p.ports >> 16), byte(s >> 24), byte(s >> 16), byte(s >> 8), byte(s)}
	f.Errno, f.Hard = syscall.ECONNREFUSED, true
	r.a.Failed(f)
	assert.Equal(t, []abi.Errno{syscall.ECONNREFUSED}, a.connected)
	r.empty()
}

// A path that loses large packets and says nothing.
func TestBlackHole(t *testing.T) {
	da, db := link.NewPipe(link.Config{}, link.Config{})
	drop := &sizeLimit{Device: da, max: 9000}
	r := newLabOn(t, drop, db, Config{}, Config{})
	a, b := r.pair()
	drop.max = 700
	data := pattern(20_000)
	a.write(data)
	r.run(60 * second)
	assert.True(t, bytes.Equal(data, b.got))
	assert.EqualValues(t, 1, r.a.Counters.BlackHoles)
}

// sizeLimit loses what is larger.
type sizeLimit struct {
	link.Device
	max int
}

func (s *sizeLimit) Send(n int, f link.Flags) {
	if n <= s.max {
		s.Device.Send(n, f)
	}
}

func TestInfo(t *testing.T) {
	r := newLossyLab(t, 1, link.Impairment{Delay: 5 * millisecond}, Config{}, Config{})
	a, b := r.pair()
	a.write(pattern(100_000))
	r.run(3 * millisecond)
	var i Info
	a.c.Info(&i)
	assert.Equal(t, Established, i.State)
	assert.True(t, i.Timestamps && i.SACK)
	assert.Equal(t, 1448, i.MSS)
	assert.Positive(t, i.InFlight)
	assert.Equal(t, 100_000, i.InFlight+i.Unsent)
	r.run(second)
	a.c.Info(&i)
	assert.Zero(t, i.InFlight+i.Unsent)
	assert.EqualValues(t, 100_000, i.BytesAcked)
	assert.InDelta(t, 10e6, i.SRTT, 3e6)
	assert.Equal(t, "ESTABLISHED", i.State.String())
	b.c.Info(&i)
	assert.EqualValues(t, 100_000, i.BytesReceived)
}

// narrow is a device with room for a few frames until Flush.
type narrow struct {
	link.Device
	left int
}

func (n *narrow) Buffer() []byte {
	if n.left == 0 {
		return nil
	}
	return n.Device.Buffer()
}

func (n *narrow) Send(size int, f link.Flags) {
	n.left--
	n.Device.Send(size, f)
}

// A device without room is tried again with the next poll, and by a timer if there is none.
func TestNoBuffer(t *testing.T) {
	da, db := link.NewPipe(link.Config{}, link.Config{})
	dev := &narrow{Device: da, left: 1 << 30}
	r := newLabOn(t, dev, db, Config{}, Config{})
	a, b := r.pair()
	dev.left = 3
	a.write(pattern(10_000))
	r.run(10 * millisecond)
	assert.Len(t, b.got, 3*1448)
	dev.left = 2
	r.a.Flush()
	r.settle()
	assert.Len(t, b.got, 5*1448)
	dev.left = 1000
	r.run(millisecond)
	assert.Equal(t, pattern(10_000), b.got)
	assert.Zero(t, r.a.Counters.RTOs)
}

// A device may join segments: what counts for ACKs is what fits into one.
func TestJoinedSegments(t *testing.T) {
	c := &Conn{mtu: 1500, rcvMSS: defaultMSS}
	c.measure(60_000)
	assert.EqualValues(t, 1460, c.rcvMSS)
}
