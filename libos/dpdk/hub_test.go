package dpdk

import (
	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// hub joins any number of devices in memory, all of one thread. Frames go to whom they are addressed.
type hub struct{ ports []*hubPort }

type hubPort struct {
	hub      *hub
	info     link.Info
	in, out  [][]byte // frames on the way
	free     [][]byte
	taken    [][]byte // handed out by Receive
	buffer   []byte
	counters link.Counters
}

const hubFrame = 1500 + wire.EthernetLen

func (h *hub) join() *hubPort {
	p := &hubPort{hub: h, info: link.Info{Name: "hub", MAC: wire.MAC{2, 0, 0, 0, 1, byte(len(h.ports))}, MTU: 1500, FD: -1}}
	for range 1024 {
		p.free = append(p.free, make([]byte, hubFrame))
	}
	p.in, p.out, p.taken = make([][]byte, 0, 1024), make([][]byte, 0, 1024), make([][]byte, 0, 1024)
	h.ports = append(h.ports, p)
	return p
}

func (p *hubPort) Info() link.Info          { return p.info }
func (p *hubPort) Counters() *link.Counters { return &p.counters }

func (p *hubPort) Receive(frames []link.Frame) int {
	for _, b := range p.taken {
		p.free = append(p.free, b[:hubFrame])
	}
	n := min(len(frames), len(p.in))
	p.taken = append(p.taken[:0], p.in[:n]...)
	for i, b := range p.taken {
		frames[i] = link.Frame{Data: b}
	}
	p.in = p.in[:copy(p.in, p.in[n:])]
	return n
}

func (p *hubPort) Buffer() []byte {
	if p.buffer == nil {
		if len(p.free) == 0 {
			return nil
		}
		p.buffer = p.free[len(p.free)-1]
		p.free = p.free[:len(p.free)-1]
	}
	return p.buffer
}

func (p *hubPort) Send(n int, _ link.Flags) {
	p.out = append(p.out, p.buffer[:n])
	p.buffer = nil
}

func (p *hubPort) Flush() {
	for _, b := range p.out {
		for _, to := range p.hub.ports {
			if dst := wire.Ethernet(b).Dst(); to != p && (dst == to.info.MAC || dst.Group()) {
				to.deliver(b)
			}
		}
		p.free = append(p.free, b[:hubFrame])
	}
	p.out = p.out[:0]
}

func (p *hubPort) deliver(b []byte) {
	if len(p.free) < 64 {
		p.counters.RxDropped++
		return
	}
	c := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	p.in = append(p.in, c[:copy(c, b)])
}

func (p *hubPort) Close() {}
