package ip

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// null is a device that has the same frame for ever, and throws away what is sent.
type null struct {
	script
	frame []byte
	n     int // frames left to receive
	burst int
}

func (d *null) Receive(f []link.Frame) int {
	n := min(d.n, d.burst)
	for i := range n {
		f[i] = link.Frame{Data: d.frame}
	}
	d.n -= n
	return n
}
func (d *null) Buffer() []byte       { return d.room }
func (d *null) Send(int, link.Flags) {}

type counting struct{ n int }

func (c *counting) Input(*Packet)   { c.n++ }
func (c *counting) Failed(*Failure) {}

func newNull(n int) (*Host, *null, *counting) {
	d := &null{script: script{info: link.Info{MAC: ourMAC, MTU: 1500}, room: make([]byte, 1514)}, burst: burst}
	d.frame = frame{data: make([]byte, n)}.bytes()
	h, err := New(d, timer.NewWheel(0), &Config{Addr: us, Prefix: 24}, 0)
	if err != 0 {
		panic(err)
	}
	c := &counting{}
	h.Register(wire.ProtoUDP, c)
	h.arp.get(peer).confirmed(peerMAC)
	return h, d, c
}

// BenchmarkReceive is what the layer does with a packet of 64 bytes of payload on top of the device.
func BenchmarkReceive(b *testing.B) {
	h, d, c := newNull(64)
	d.n = b.N
	b.ReportAllocs()
	for d.n > 0 {
		h.Poll(0)
	}
	assert.Equal(b, b.N, c.n)
}

// BenchmarkSend is one packet out, without and with the checksum of the transport protocol, to one peer or many.
func BenchmarkSend(b *testing.B) {
	for _, c := range []struct{ sum, paths int }{{-1, 1}, {6, 1}, {6, 10000}} {
		b.Run(fmt.Sprintf("sum=%v/paths=%d", c.sum > 0, c.paths), func(b *testing.B) {
			h, _, _ := newNull(64)
			paths := make([]Path, c.paths)
			for i := range paths {
				h.Path(&paths[i], 0, peer)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for at := 0; b.Loop(); at++ {
				if at == len(paths) {
					at = 0
				}
				h.Buffer(&paths[at])
				h.Send(&paths[at], 72, wire.ProtoUDP, c.sum)
			}
		})
	}
}

func BenchmarkPath(b *testing.B) {
	h, _, _ := newNull(64)
	var p Path
	for range b.N {
		h.Path(&p, 0, peer)
	}
}

func BenchmarkFragment(b *testing.B) {
	r := newRig(b, nil)
	frames := split(datagram(2960, 1), 1480)
	c := &counting{}
	r.Register(wire.ProtoUDP, c)
	b.ReportAllocs()
	for range b.N {
		for i := range frames {
			f := link.Frame{Data: frames[i]}
			r.receive(&f)
		}
	}
	assert.Equal(b, b.N, c.n)
}

// TestNoAllocations: in, out, fragments, the way back, echo and ARP.
func TestNoAllocations(t *testing.T) {
	h, d, c := newNull(64)
	var p, back Path
	assert.Zero(t, h.Path(&p, 0, peer))
	assert.Zero(t, h.Path(&back, 0, us))
	big := make([]byte, 5000)
	inputs := [][]byte{d.frame, ping(500).bytes(), arpIn(wire.ARPRequest, peerMAC, peer, us)}
	inputs = append(inputs, split(datagram(4000, 1), 1480)...)
	round := func() {
		for _, f := range inputs {
			d.frame, d.n = f, 1
			h.Poll(h.now)
		}
		h.Buffer(&p)
		h.Send(&p, 72, wire.ProtoUDP, 6)
		h.SendLarge(&p, big, wire.ProtoUDP, 6)
		h.Buffer(&back)
		h.Send(&back, 72, wire.ProtoUDP, 6)
		h.Poll(h.now)
		h.arp.get(peer).confirmed(peerMAC)
	}
	for range loopSlots {
		round()
	}
	c.n = 0
	assert.Zero(t, testing.AllocsPerRun(100, round))
	assert.Equal(t, 101*3, c.n)
}
