package link

import (
	"math/rand/v2"

	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// Clocked is a device that needs the time. Its FD does not tell of frames that it holds back: who sleeps has to call
// Receive and Flush again at Next.
type Clocked interface {
	Device
	// SetNow gives the time in ns, which never goes back; before each round of Receive, Send and Flush.
	SetNow(now int64)
	// Next is the time when the device has to be called again, or timer.Never.
	Next() int64
}

// Impairment is what happens to the frames of one direction. Probabilities are from 0 to 1, times in ns.
type Impairment struct {
	Loss      float64
	Duplicate float64
	// Corrupt is the probability that one bit changes, behind the Ethernet header and not in ARP: those have no check
	// but that of the frame. A packet that is hit once is always found out, one that is hit twice is not.
	Corrupt float64
	// Reorder is the probability that a frame comes up to ReorderBy later than it should, overtaken by others.
	// Jitter alone keeps the order.
	Reorder   float64
	ReorderBy int64 // 1 ms
	Delay     int64
	Jitter    int64 // up to which is added to Delay
	Rate      int64 // bit/s of frames, or 0 for no limit
	Queue     int   // bytes that may wait for Rate: 128 KiB
}

// FaultConfig describes a fault injector.
type FaultConfig struct {
	Seed    uint64
	Receive Impairment
	Send    Impairment
	Frames  int // held at most, per direction: 1024
}

// Faults counts what an injector did to one direction.
type Faults struct {
	Frames                                 uint64 // seen
	Lost, Duplicated, Corrupted, Reordered uint64
	Queued                                 uint64 // lost because the queue before Rate was full
	Overflowed                             uint64 // lost because FaultConfig.Frames were held
}

// Fault is a device around another that loses, doubles, reorders, corrupts and delays frames. With the same seed and
// the same calls it does the same. Counters are those of the device inside.
type Fault struct {
	inner   Device
	clocked Clocked // inner, if it is one
	in, out faultLine
	now     int64
	batch   [32]Frame
	lent    []uint32 // buffers of in that Receive has handed out
}

// NewFault wraps a device. Close closes it, too.
func NewFault(dev Device, cfg FaultConfig) *Fault {
	if cfg.Frames <= 0 {
		cfg.Frames = 1024
	}
	room := dev.Info().MTU + wire.EthernetLen
	f := &Fault{inner: dev, lent: make([]uint32, 0, cfg.Frames)}
	f.clocked, _ = dev.(Clocked)
	f.in.init(cfg.Frames, room, cfg.Seed, 1)
	f.out.init(cfg.Frames, room, cfg.Seed, 2)
	f.Impair(cfg.Receive, cfg.Send)
	return f
}

// Impair changes what happens to frames from now on.
func (f *Fault) Impair(receive, send Impairment) {
	f.in.set(receive)
	f.out.set(send)
}

// Faults returns the counters of both directions.
func (f *Fault) Faults() (receive, send *Faults) { return &f.in.counters, &f.out.counters }

// Held is the number of frames that are on their way.
func (f *Fault) Held() int { return len(f.in.heap) + len(f.out.heap) }

// SetNow implements Clocked.
func (f *Fault) SetNow(now int64) {
	f.now = now
	if f.clocked != nil {
		f.clocked.SetNow(now)
	}
}

// Next implements Clocked.
func (f *Fault) Next() int64 {
	next := min(f.in.next(), f.out.next())
	if f.clocked != nil {
		next = min(next, f.clocked.Next())
	}
	return next
}

// Info implements Device.
func (f *Fault) Info() Info { return f.inner.Info() }

// Receive implements Device.
func (f *Fault) Receive(frames []Frame) int {
	if f.out.next() <= f.now {
		f.Flush()
	}
	in := &f.in
	in.free = append(in.free, f.lent...)
	f.lent = f.lent[:0]
	if in.clean && len(in.heap) == 0 {
		n := f.inner.Receive(frames)
		in.counters.Frames += uint64(n)
		return n
	}
	for range 4 { // not for ever, however fast they come
		n := f.inner.Receive(f.batch[:])
		for _, frame := range f.batch[:n] {
			f.take(frame)
		}
		if n < len(f.batch) {
			break
		}
	}
	n := 0
	for n < len(frames) && in.next() <= f.now {
		h := in.pop()
		frames[n] = Frame{Data: in.buffer(h.buffer)[:h.n], Flags: h.flags}
		f.lent = append(f.lent, h.buffer)
		n++
	}
	return n
}

// take puts a received frame on its way.
func (f *Fault) take(frame Frame) {
	in := &f.in
	if len(frame.Data) > in.room {
		in.counters.Frames++
		in.counters.Overflowed++
		return
	}
	in.admit(f.now, copy(in.buffer(in.spare), frame.Data), frame.Flags)
}

// Buffer implements Device.
func (f *Fault) Buffer() []byte { return f.out.buffer(f.out.spare) }

// Send implements Device.
func (f *Fault) Send(n int, flags Flags) {
	if n < wire.EthernetLen || n > f.out.room {
		f.inner.Send(n, flags) // counts it
		return
	}
	f.out.admit(f.now, n, flags)
}

// Flush implements Device. Frames for which the device inside has no buffer wait for the next call.
func (f *Fault) Flush() {
	for f.out.next() <= f.now {
		b := f.inner.Buffer()
		if b == nil {
			break
		}
		h := f.out.pop()
		n := copy(b, f.out.buffer(h.buffer)[:h.n])
		f.out.free = append(f.out.free, h.buffer)
		f.inner.Send(n, h.flags)
	}
	f.inner.Flush()
}

// Counters implements Device.
func (f *Fault) Counters() *Counters { return f.inner.Counters() }

// Close implements Device.
func (f *Fault) Close() { f.inner.Close() }

// faultLine is one direction: the frames under way, as a heap by the time they are due.
type faultLine struct {
	Impairment
	clean        bool // nothing happens to frames
	perByte      float64
	rng          *rand.PCG
	memory       []byte
	stride, room int
	spare        uint32 // the buffer of the next frame
	free         []uint32
	heap         []held
	limit        int
	number       uint64
	idle         int64 // when the rate-limited line has sent all it got
	latest       int64 // when the last frame that keeps to the order is due
	counters     Faults
}

type held struct {
	due       int64
	number    uint64
	buffer, n uint32
	flags     Flags
}

func (l *faultLine) init(frames, room int, seed, direction uint64) {
	l.rng = rand.NewPCG(seed, direction)
	l.limit, l.room = frames, room
	l.stride = (room + cacheLine - 1) &^ (cacheLine - 1)
	l.memory = make([]byte, l.stride*(frames+1))
	l.heap = make([]held, 0, frames)
	l.free = make([]uint32, frames)
	for i := range l.free {
		l.free[i] = uint32(frames - i)
	}
}

func (l *faultLine) set(i Impairment) {
	l.clean = i == Impairment{}
	if i.ReorderBy <= 0 {
		i.ReorderBy = 1e6
	}
	if i.Queue <= 0 {
		i.Queue = 128 << 10
	}
	if i.Rate > 0 {
		l.perByte = 8e9 / float64(i.Rate)
	}
	l.Impairment = i
}

func (l *faultLine) buffer(i uint32) []byte {
	at := int(i) * l.stride
	return l.memory[at : at+l.room : at+l.room]
}

// next is when the first frame is due.
func (l *faultLine) next() int64 {
	if len(l.heap) == 0 {
		return timer.Never
	}
	return l.heap[0].due
}

func (l *faultLine) chance(p float64) bool {
	return p > 0 && float64(l.rng.Uint64()>>11) < p*(1<<53)
}

// upTo is a number from 0 to n.
func (l *faultLine) upTo(n int64) int64 {
	if n <= 0 {
		return 0
	}
	return int64(l.rng.Uint64() % uint64(n+1))
}

// admit decides on the fate of the frame of n bytes in the spare buffer.
func (l *faultLine) admit(now int64, n int, flags Flags) {
	l.counters.Frames++
	if l.chance(l.Loss) {
		l.counters.Lost++
		return
	}
	i := l.spare
	if l.chance(l.Corrupt) && l.corrupt(l.buffer(i)[:n], flags) {
		l.counters.Corrupted++
		flags = 0
	}
	if !l.put(now, n, flags) || !l.chance(l.Duplicate) {
		return
	}
	copy(l.buffer(l.spare)[:n], l.buffer(i)[:n])
	if l.put(now, n, flags) {
		l.counters.Duplicated++
	}
}

// put lets the frame in the spare buffer begin its way.
func (l *faultLine) put(now int64, n int, flags Flags) bool {
	last := len(l.free) - 1
	if last < 0 {
		l.counters.Overflowed++
		return false
	}
	at := now
	if l.Rate > 0 {
		at = max(now, l.idle)
		if float64(at-now) > float64(l.Queue)*l.perByte {
			l.counters.Queued++
			return false
		}
		at += int64(float64(n) * l.perByte)
		l.idle = at
	}
	at = max(at+l.Delay+l.upTo(l.Jitter), l.latest)
	l.latest = at
	if l.chance(l.Reorder) {
		l.counters.Reordered++
		at += 1 + l.upTo(l.ReorderBy)
	}
	l.push(held{due: at, number: l.number, buffer: l.spare, n: uint32(n), flags: flags})
	l.number++
	l.spare, l.free = l.free[last], l.free[:last]
	return true
}

// corrupt changes one bit.
func (l *faultLine) corrupt(frame []byte, flags Flags) bool {
	bits := (len(frame) - wire.EthernetLen) * 8
	if bits == 0 || wire.Ethernet(frame).Type() == wire.TypeARP {
		return false
	}
	if flags&SumsGood != 0 {
		flags = unfinished(frame)
	}
	fillSums(frame, flags) // otherwise the device would make the sum fit
	bit := l.rng.Uint64() % uint64(bits)
	frame[wire.EthernetLen+bit/8] ^= 1 << (bit % 8)
	return true
}

func (h *held) before(o *held) bool {
	return h.due < o.due || h.due == o.due && h.number < o.number
}

func (l *faultLine) push(h held) {
	l.heap = append(l.heap, h)
	i := len(l.heap) - 1
	for i > 0 && h.before(&l.heap[(i-1)/2]) {
		l.heap[i] = l.heap[(i-1)/2]
		i = (i - 1) / 2
	}
	l.heap[i] = h
}

func (l *faultLine) pop() held {
	top, last := l.heap[0], len(l.heap)-1
	h := l.heap[last]
	l.heap = l.heap[:last]
	i := 0
	for {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && l.heap[child+1].before(&l.heap[child]) {
			child++
		}
		if !l.heap[child].before(&h) {
			break
		}
		l.heap[i] = l.heap[child]
		i = child
	}
	if last > 0 {
		l.heap[i] = h
	}
	return top
}
