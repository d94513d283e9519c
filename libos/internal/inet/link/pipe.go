package link

import "github.com/libdmtr/libdmtr/libos/internal/inet/wire"

// Config describes one end of a pipe. What is zero takes a default.
type Config struct {
	Name     string
	MAC      wire.MAC
	MTU      int   // 1500
	Offloads Flags // passed on unfinished: the other end receives SumsGood
	Queue    int   // frames on the way to this end, rounded up to a power of two: 512
}

func (c *Config) fillIn(name string, last byte) {
	if c.Name == "" {
		c.Name = name
	}
	if c.MAC == (wire.MAC{}) {
		c.MAC = wire.MAC{2, 0, 0, 0, 0, last}
	}
	if c.MTU <= 0 {
		c.MTU = defaultMTU
	}
	if c.Queue <= 0 {
		c.Queue = 512
	}
}

const (
	defaultMTU = 1500
	cacheLine  = 64
)

// Pipe is one end of two devices that are joined back to back in memory. Both ends belong to the same thread.
type Pipe struct {
	info     Info
	in, out  *pipeRing
	counters Counters
}

// pipeRing holds the frames on their way to one end. The counters of slots run freely:
//
//	released <= taken <= ready <= tail <= released + len(slots)
//
// Slots up to taken have been handed out by Receive, up to ready are visible to it, up to tail await Flush. Each slot
// names its buffer. The free ones are on a stack, so that a link with few frames in it keeps to few cache lines.
type pipeRing struct {
	memory                       []byte
	stride, room                 int // distance of the buffers; bytes of a frame
	slots                        []pipeSlot
	spare                        uint32 // the buffer of the next frame
	free                         []uint32
	released, taken, ready, tail uint32
	closed                       bool
}

type pipeSlot struct {
	buffer, n uint32
	flags     Flags
}

// NewPipe joins two ends.
func NewPipe(a, b Config) (*Pipe, *Pipe) {
	a.fillIn("pipe0", 1)
	b.fillIn("pipe1", 2)
	toA, toB := newPipeRing(a.Queue, b.MTU), newPipeRing(b.Queue, a.MTU)
	return newPipeEnd(&a, toA, toB), newPipeEnd(&b, toB, toA)
}

func newPipeEnd(c *Config, in, out *pipeRing) *Pipe {
	info := Info{Name: c.Name, MAC: c.MAC, MTU: c.MTU, Offloads: c.Offloads & (SumIPv4 | SumTransport), FD: -1}
	return &Pipe{info: info, in: in, out: out}
}

func newPipeRing(queue, mtu int) *pipeRing {
	n := 1
	for n < queue {
		n *= 2
	}
	r := &pipeRing{room: mtu + wire.EthernetLen, slots: make([]pipeSlot, n), free: make([]uint32, n)}
	r.stride = (r.room + cacheLine - 1) &^ (cacheLine - 1)
	r.memory = make([]byte, r.stride*(n+1))
	for i := range r.free {
		r.free[i] = uint32(n - i)
	}
	return r
}

func (r *pipeRing) buffer(i uint32, n int) []byte {
	at := int(i) * r.stride
	return r.memory[at : at+n : at+r.room]
}

// Info implements Device.
func (p *Pipe) Info() Info { return p.info }

// Receive implements Device.
func (p *Pipe) Receive(frames []Frame) int {
	r := p.in
	mask := uint32(len(r.slots) - 1)
	for ; r.released != r.taken; r.released++ {
		r.free = append(r.free, r.slots[r.released&mask].buffer)
	}
	n := 0
	for n < len(frames) && r.taken != r.ready {
		s := &r.slots[r.taken&mask]
		r.taken++
		if int(s.n) > p.info.MTU+wire.EthernetLen {
			p.counters.RxErrors++
			continue
		}
		frames[n] = Frame{Data: r.buffer(s.buffer, int(s.n)), Flags: s.flags}
		p.counters.RxBytes += uint64(s.n)
		n++
	}
	p.counters.RxFrames += uint64(n)
	return n
}

// Buffer implements Device. There always is one: a full pipe loses frames in Send.
func (p *Pipe) Buffer() []byte {
	r := p.out
	return r.buffer(r.spare, r.room)
}

// Send implements Device.
func (p *Pipe) Send(n int, flags Flags) {
	r := p.out
	if n < wire.EthernetLen || n > r.room || r.tail-r.released == uint32(len(r.slots)) || r.closed {
		p.counters.TxDropped++
		return
	}
	last := len(r.free) - 1
	s := &r.slots[r.tail&uint32(len(r.slots)-1)]
	s.buffer, s.n, s.flags = r.spare, uint32(n), 0
	if flags&p.info.Offloads != 0 {
		s.flags = SumsGood
	}
	r.spare, r.free = r.free[last], r.free[:last]
	r.tail++
	p.counters.TxFrames++
	p.counters.TxBytes += uint64(n)
}

// Flush implements Device.
func (p *Pipe) Flush() { p.out.ready = p.out.tail }

// Counters implements Device.
func (p *Pipe) Counters() *Counters { return &p.counters }

// Close implements Device. What the other end sends from now on is lost.
func (p *Pipe) Close() {
	p.in.closed = true
	p.in.taken, p.in.ready = p.in.tail, p.in.tail
}
