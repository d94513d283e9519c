package udp

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

type counting struct{ n int }

func (c *counting) Received([]byte, wire.Addr, uint16) bool { c.n++; return true }
func (c *counting) Failed(abi.Errno)                        {}

// pair is two connected sockets, and many more beside them.
func pair(t testing.TB, idle int) (r *rig, a, b *Socket, ka, kb *counting) {
	r = simple(t)
	for range idle {
		require.Zero(t, r.a.Open(&counting{}).Bind(0, 0))
	}
	ka, kb = &counting{}, &counting{}
	a, b = r.a.Open(ka), r.b.Open(kb)
	require.Zero(t, a.Bind(0, 1000))
	require.Zero(t, b.Bind(0, 1000))
	require.Zero(t, a.Connect(addrB, 1000))
	require.Zero(t, b.Connect(addrA, 1000))
	require.Zero(t, a.Send(0, 0, parts("x")))
	r.run()
	require.Equal(t, 1, kb.n)
	return r, a, b, ka, kb
}

// BenchmarkOneWay is a datagram of 64 bytes from Send to Received over a pipe: both hosts' work.
func BenchmarkOneWay(b *testing.B) {
	for name, idle := range map[string]int{"1": 0, "10000": 10000} {
		b.Run("sockets="+name, func(b *testing.B) {
			r, _, s, ka, _ := pair(b, idle)
			p := [][]byte{make([]byte, 64)}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				s.Send(0, 0, p)
				if i%16 == 15 {
					r.b.dev.Flush()
					r.a.host.Poll(0)
				}
			}
			r.b.dev.Flush()
			r.a.host.Poll(0)
			assert.Equal(b, b.N, ka.n)
		})
	}
}

// BenchmarkSend is a datagram of 64 bytes from Send into the device.
func BenchmarkSend(b *testing.B) {
	_, a, _, _, _ := pair(b, 0)
	p := [][]byte{make([]byte, 64)}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N { // the pipe is full after a while; that costs about the same
		a.Send(0, 0, p)
	}
}

// TestNoAllocations: in and out, connected or not, queued or not, large or not.
func TestNoAllocations(t *testing.T) {
	r := newRig(t, Config{}, link.Config{}, link.Config{})
	a, ka := r.a.Open(&counting{}), &counting{}
	a.handler = ka
	require.Zero(t, a.Bind(0, 1000))
	k := &sink{refuse: true}
	b := r.b.Open(k)
	require.Zero(t, b.Connect(addrA, 1000))
	small, big := [][]byte{make([]byte, 10), make([]byte, 54)}, [][]byte{make([]byte, 5000)}
	_, port := b.Local()
	round := func() {
		b.Send(0, 0, small)
		b.Send(0, 0, big)
		r.run()
		a.Send(addrB, port, small)
		a.Send(addrB, port, big)
		r.run()
		for range 2 {
			if _, _, _, ok := b.Next(); !ok {
				panic("nothing came")
			}
		}
	}
	round()
	assert.Zero(t, testing.AllocsPerRun(100, round))
	assert.Equal(t, 2*102, ka.n)
}
