package inet

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// TestNext: a loop that sleeps until Next misses nothing, and does not wake for nothing.
func TestNext(t *testing.T) {
	const second = int64(1e9)
	a, b := link.NewPipe(link.Config{}, link.Config{})
	now := 5 * second
	s, err := New(a, &Config{IP: ip.Config{Addr: fuzzAddr, Prefix: 24}}, now)
	require.Zero(t, err)
	assert.LessOrEqual(t, s.Next(), now, "the announcement is due")
	polls := 0
	for ; s.Next() != timer.Never; polls++ {
		now = max(now, s.Next())
		s.Poll(now)
	}
	assert.Less(t, polls, 10)
	assert.InDelta(t, 7*second, now, 1e9/100, "the second one")
	assert.Zero(t, s.Timers().Len())

	e := &echo{}
	e.s = s.UDP().Open(e)
	require.Zero(t, e.s.Bind(0, 7))
	now += second
	s.SetNow(now)
	require.Zero(t, e.s.Send(fuzzAddr, 7, [][]byte{[]byte("to itself, for ever")}))
	assert.Equal(t, now, s.Next())
	s.Poll(now)
	assert.Equal(t, now, s.Next())
	e.s.Close()
	s.Poll(now)
	s.Poll(now)
	assert.Equal(t, timer.Never, s.Next())

	for range 40 {
		n := copy(b.Buffer(), make([]byte, 60))
		b.Send(n, 0)
	}
	b.Flush()
	s.Poll(now)
	assert.Equal(t, now, s.Next(), "a whole burst has come")
	s.Poll(now)
	assert.Equal(t, timer.Never, s.Next())
	s.Close()
	b.Buffer()
	b.Send(60, 0)
	b.Flush()
	assert.Equal(t, uint64(1), b.Counters().TxDropped, "the device is closed")
}

func TestBadConfig(t *testing.T) {
	a, _ := link.NewPipe(link.Config{}, link.Config{})
	_, err := New(a, &Config{}, 0)
	assert.NotZero(t, err)
	_, err = New(a, &Config{IP: ip.Config{Addr: fuzzAddr, Prefix: 24, Known: map[wire.Addr]wire.MAC{fuzzPeer: wire.Broadcast}}}, 0)
	assert.NotZero(t, err)
}

// TestAdvice: a connection that gets no answer makes IP look for the neighbour again (RFC 9293, MUST-20; RFC 1122, section
// 3.3.1.4).
func TestAdvice(t *testing.T) {
	for name, established := range map[string]bool{"syn": false, "data": true} {
		t.Run(name, func(t *testing.T) {
			g := newTarget(t)
			g.poll()
			requests := g.stack.IP().Counters().ARPRequestsOut
			if established {
				g.do(3, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5 << 4, byte(wire.SYN | wire.ACK), 255, 255, 0, 0, 0, 0})
				g.do(3, append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5 << 4, byte(wire.ACK), 255, 255, 0, 0, 0, 0}, "echo"...))
			}
			g.mute = true
			for g.now < 4e9 {
				g.now += 1e7
				g.poll()
			}
			assert.Greater(t, g.stack.IP().Counters().ARPRequestsOut, requests)
		})
	}
}
