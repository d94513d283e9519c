package rdma

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/rdma/verbs/fake"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// The simulation: two libraries on a fabric, and programs with whims, all drawn from one seed. Buffers are few and small, messages take
// their time, memory cannot always be registered, either end may die at any moment. What arrives has to be what was pushed, in order; all
// tokens have to complete; nothing may be left; and no program's memory may be read after it was given back: it is scribbled over and
// freed then.
//
//	go test ./libos/rdma -run Simulation -sim.seed=17
var (
	simSeed  = flag.Int64("sim.seed", -1, "run this simulation only")
	simSeeds = flag.Int("sim.seeds", 500, "how many simulations to run")
	simFirst = flag.Int64("sim.first", 0, "the first of them")
)

const simSteps = 60_000 // after which a simulation has failed to terminate

func TestSimulation(t *testing.T) {
	if *simSeed >= 0 {
		simulate(t, *simSeed)
		return
	}
	for seed := *simFirst; seed < *simFirst+int64(*simSeeds); seed++ {
		if simulate(t, seed); t.Failed() {
			t.Fatalf("seed %d: go test ./libos/rdma -run Simulation -sim.seed=%d", seed, seed)
		}
	}
}

// simEnd is one library.
type simEnd struct {
	*engine.Engine
	os  *LibOS
	dev *fake.Device
}

type sim struct {
	t      *testing.T
	seed   int64
	rnd    *rand.Rand
	fabric *fake.Fabric
	ends   [2]simEnd
	flows  []*simFlow
	hurt   bool // an end has died, or memory has run out, so not all has to arrive
	silent bool // and nobody has been told
	stream bool
}

// simFlow is one direction of a connection.
type simFlow struct {
	s        *sim
	from, to *simEnd
	src, dst int32
	total    int
	pushed   int // messages begun
	closing  bool
	closed   bool // by the sender
	failed   abi.Errno
	pushes   []simPush
	dropped  map[uint32]bool
	pops     []uint64
	last     int64 // number of the last message received
	bytes    int   // stream: received
	sentTo   int   // stream: pushed
	ended    abi.Errno
	lazy     int // the receiver pops once in so many steps
}

type simPush struct {
	qt    uint64
	n     uint32
	block unsafe.Pointer
	size  int
}

func (s *sim) chance(percent int) bool { return s.rnd.IntN(100) < percent }

func (s *sim) require(ok bool, format string, args ...any) {
	if !ok {
		require.FailNow(s.t, fmt.Sprintf("seed %d, step %d: ", s.seed, s.fabric.Now()/fake.Step)+fmt.Sprintf(format, args...))
	}
}

func simulate(t *testing.T, seed int64) {
	s := &sim{t: t, seed: seed, rnd: rand.New(rand.NewPCG(uint64(seed), 7)), fabric: fake.New(uint64(seed))}
	s.fabric.Delay = []int{0, 1, 5, 30}[s.rnd.IntN(4)]
	s.fabric.Attr.MaxInline = []int{0, 16, 64, 220}[s.rnd.IntN(4)]
	s.stream = s.chance(25)
	for i := range s.ends {
		s.open(&s.ends[i])
	}
	if s.chance(10) {
		s.fabric.Unregistrable, s.hurt = s.rnd.IntN(60), true
	}
	for range 1 + s.rnd.IntN(3) {
		if !s.connect() {
			break
		}
	}
	death := -1
	if s.chance(40) {
		death = s.rnd.IntN(1500)
	}
	for step := 0; !s.done(); step++ {
		s.require(step < simSteps, "does not terminate: %s", s)
		if step == death {
			s.die()
		}
		for _, f := range s.flows {
			f.step()
		}
		s.poll()
	}
	s.end()
}

func (s *sim) open(e *simEnd) {
	cfg := config.Default()
	cfg.Framing = config.FramingMessage
	if s.stream {
		cfg.Framing = config.FramingStream
	}
	cfg.Limits.MaxPop = 200 + s.rnd.IntN(2000)
	cfg.Rdma = config.Rdma{ReceiveBuffers: 2 + s.rnd.IntN(5), BufferBytes: 256 << s.rnd.IntN(3), RendezvousBytes: 64 << s.rnd.IntN(6),
		DatagramBuffers: 4, LingerMillis: 100, ResolveMillis: 1,
		KeepaliveMillis: s.rnd.IntN(2)}
	var err abi.Errno
	e.Engine, err = engine.New(cfg.Limits)
	require.Zero(s.t, err)
	e.dev = s.fabric.Join()
	os, problem := open(e.Engine, cfg, e.dev, s.fabric.Now)
	require.NoError(s.t, problem)
	e.os = os.(*LibOS)
	e.os.grant = 100 << s.rnd.IntN(5)
	require.Zero(s.t, e.Attach(os, os))
}

func (s *sim) poll() {
	for i := range s.ends {
		if s.chance(80) {
			s.ends[i].Drive(1)
		}
	}
}

// wait drives both ends until a token completes.
func (s *sim) wait(e *simEnd, qt uint64) (abi.QResult, abi.Errno) {
	for range simSteps {
		if r, err := e.Result(qt); err != unix.EAGAIN {
			return r, err
		}
		s.poll()
	}
	s.require(false, "no completion")
	return abi.QResult{}, 0
}

func (s *sim) connect() bool {
	a, b := &s.ends[0], &s.ends[1]
	if s.chance(50) {
		a, b = b, a
	}
	lqd, err := b.Open(&engine.Args{Kind: engine.KindStream})
	require.Zero(s.t, err)
	l, _ := b.Socket(lqd)
	require.Zero(s.t, l.Bind(&abi.SockaddrIn{Family: unix.AF_INET}))
	require.Zero(s.t, l.Listen(10))
	name, _ := l.Name()
	name.Addr = b.dev.Addr()
	accept, err := b.Accept(lqd)
	require.Zero(s.t, err)
	c, err := a.Open(&engine.Args{Kind: engine.KindStream})
	require.Zero(s.t, err)
	connect, err := a.Connect(c, &name)
	require.Zero(s.t, err)
	if _, err = s.wait(a, connect); err != 0 {
		s.require(s.hurt, "connect: %v", err)
		_ = b.CloseQueue(lqd)
		_, _ = s.wait(b, accept)
		_ = a.CloseQueue(c)
		return false
	}
	r, err := s.wait(b, accept)
	require.Zero(s.t, err)
	require.Zero(s.t, b.CloseQueue(lqd))
	for i, f := range []*simFlow{{from: a, to: b, src: c, dst: r.Accept().QD}, {from: b, to: a, src: r.Accept().QD, dst: c}} {
		f.s, f.last, f.dropped = s, -1, make(map[uint32]bool)
		f.total = s.rnd.IntN(60)
		if f.lazy = 1 + s.rnd.IntN(40); s.stream {
			f.lazy = 1 + s.rnd.IntN(4)
		}
		f.closing = i == 0 && s.chance(50)
		s.flows = append(s.flows, f)
	}
	return true
}

// die is the sudden end of one library.
func (s *sim) die() {
	s.hurt, s.silent = true, s.chance(40)
	dead := &s.ends[s.rnd.IntN(2)]
	s.fabric.Kill(dead.dev, s.silent)
	for _, f := range s.flows {
		if f.to == dead && f.ended == 0 {
			f.drop()
			f.ended = unix.ECANCELED
		} else if f.from == dead && f.failed == 0 {
			f.failed = unix.ECANCELED
		}
	}
}

// at is byte i of message or stream n.
func at(n uint32, i int) byte { return byte(uint32(i)*7 + uint32(i>>8)*13 + n*31) }

func (f *simFlow) step() {
	if f.pushed < f.total && len(f.pushes) < 8 && f.s.chance(50) && !f.closed && f.failed == 0 {
		f.push()
	}
	f.checkPushes()
	if f.closing && !f.closed && f.pushed == f.total && len(f.pushes) == 0 {
		// Everything has been pushed, and the other direction is of no interest any more.
		f.closed = true
		s := f.s
		for _, o := range s.flows {
			if o.to == f.from && o.dst == f.src {
				o.drop()
				o.ended = unix.ECANCELED
			}
		}
		_ = f.from.CloseQueue(f.src)
	}
	if f.ended == 0 {
		if len(f.pops) < 4 && f.s.rnd.IntN(f.lazy) == 0 {
			if qt, err := f.to.Pop(f.dst, 0); err == 0 {
				f.pops = append(f.pops, qt)
			}
		}
		f.checkPops()
	}
}

func (f *simFlow) push() {
	s := f.s
	size := 8 + s.rnd.IntN([]int{1, 100, 1000, 20000}[s.rnd.IntN(4)])
	block := mem.Alloc(uint64(size))
	p := unsafe.Slice((*byte)(block), size)
	n, base := uint32(f.pushed), 0
	if s.stream {
		n, base = 0, f.sentTo
	}
	for i := range p {
		p[i] = at(n, base+i)
	}
	if !s.stream {
		binary.BigEndian.PutUint64(p, uint64(n))
	}
	sga := abi.SGArray{NumSegs: uint32(1 + s.rnd.IntN(3))}
	from := 0
	for i := range sga.NumSegs {
		to := from + s.rnd.IntN(size-from+1)
		if i == sga.NumSegs-1 {
			to = size
		}
		sga.Segs[i] = abi.Seg{Buf: abi.PtrTo(unsafe.Add(block, from)), Len: uint32(to - from)}
		from = to
	}
	qt, err := f.from.Push(f.src, &sga)
	require.Zero(s.t, err)
	f.pushes = append(f.pushes, simPush{qt, uint32(f.pushed), block, size})
	f.pushed++
	f.sentTo += size
}

// release is the program's part when its memory is its own again.
func (p *simPush) release() {
	if p.block != nil {
		for i := range unsafe.Slice((*byte)(p.block), p.size) {
			unsafe.Slice((*byte)(p.block), p.size)[i] = 0xee
		}
		mem.Free(p.block)
		p.block = nil
	}
}

func (f *simFlow) checkPushes() {
	n := 0
	for i := range f.pushes {
		p := f.pushes[i]
		_, err := f.from.Result(p.qt)
		switch {
		case err == unix.EAGAIN && p.block != nil && f.s.chance(1):
			require.Zero(f.s.t, f.from.Own(p.qt))
			p.release()
		case err == unix.EAGAIN && !f.s.stream && f.s.chance(1):
			require.Zero(f.s.t, f.from.Drop(p.qt))
			f.dropped[p.n] = true
			p.release()
			continue
		}
		if err == unix.EAGAIN {
			f.pushes[n] = p
			n++
			continue
		}
		p.release()
		if err != 0 {
			f.failed, f.dropped[p.n] = err, true
			f.s.require(f.s.hurt || f.ended != 0 || f.peerClosed(), "push: %v", err)
		}
	}
	f.pushes = f.pushes[:n]
}

// peerClosed tells whether the receiver has closed its queue, which ends its own flow.
func (f *simFlow) peerClosed() bool {
	for _, o := range f.s.flows {
		if o.from == f.to && o.src == f.dst && o.closed {
			return true
		}
	}
	return false
}

func (f *simFlow) checkPops() {
	for len(f.pops) > 0 && f.ended == 0 {
		if f.s.chance(2) { // the youngest: what it may have got goes to the next
			i := len(f.pops) - 1
			require.Zero(f.s.t, f.to.Drop(f.pops[i]))
			f.pops = f.pops[:i]
			continue
		}
		r, err := f.to.Result(f.pops[0])
		if err == unix.EAGAIN {
			return
		}
		f.pops = f.pops[1:]
		if err != 0 {
			f.end(err)
			return
		}
		f.received(&r.SGA)
		mem.Free(r.SGA.Buf.Pointer())
	}
}

func (f *simFlow) end(err abi.Errno) {
	f.drop()
	f.ended = err
	if f.s.hurt {
		return
	}
	f.s.require(err == unix.ECONNABORTED || err == unix.ECONNRESET && f.peerClosed(), "pop: %v", err)
	f.s.require(f.closed, "the end, but nobody has closed")
	if err == unix.ECONNABORTED {
		f.complete()
	}
}

// complete checks that everything has come.
func (f *simFlow) complete() {
	if f.s.stream {
		f.s.require(f.bytes == f.sentTo, "%d of %d bytes", f.bytes, f.sentTo)
		return
	}
	for n := uint32(f.last + 1); n < uint32(f.pushed); n++ {
		f.s.require(f.dropped[n], "message %d has not come", n)
	}
}

func (f *simFlow) received(sga *abi.SGArray) {
	var p []byte
	for i := range sga.NumSegs {
		p = append(p, sga.Bytes(i)...)
	}
	if f.s.stream {
		for i := range p {
			f.s.require(p[i] == at(0, f.bytes+i), "byte %d of the stream", f.bytes+i)
		}
		f.bytes += len(p)
		return
	}
	n := int64(binary.BigEndian.Uint64(p))
	f.s.require(n > f.last && n < int64(f.pushed), "message %d after %d", n, f.last)
	for lost := f.last + 1; lost < n; lost++ {
		f.s.require(f.dropped[uint32(lost)], "message %d is missing before %d", lost, n)
	}
	f.last = n
	for i := 8; i < len(p); i++ {
		f.s.require(p[i] == at(uint32(n), i), "byte %d of %d of message %d is %d", i, len(p), n, p[i])
	}
}

// drop gives up what is pending at the receiver.
func (f *simFlow) drop() {
	for _, qt := range f.pops {
		_ = f.to.Drop(qt)
	}
	f.pops = nil
}

func (f *simFlow) arrived() bool {
	if f.s.stream {
		return f.bytes == f.sentTo
	}
	for n := uint32(f.last + 1); n < uint32(f.pushed); n++ {
		if !f.dropped[n] {
			return false
		}
	}
	return true
}

func (s *sim) done() bool {
	for _, f := range s.flows {
		switch {
		case s.silent && f.ended == 0: // it may never hear of it: Close will have to do
			f.total = min(f.total, f.pushed)
		case s.hurt && (f.ended != 0 || f.failed != 0):
			continue
		case f.pushed < f.total && !f.closed && f.failed == 0 && !f.peerClosed(), len(f.pushes) > 0 && !f.peerClosed():
			return false
		case f.ended == 0 && !f.arrived() && f.failed == 0, f.closing && !f.closed, f.closed && f.ended == 0:
			return false
		}
	}
	return true
}

// end closes everything and looks for what is left.
func (s *sim) end() {
	for _, f := range s.flows {
		f.drop()
		_ = f.from.CloseQueue(f.src)
		for i := range f.pushes {
			_, err := f.from.Result(f.pushes[i].qt)
			s.require(err != unix.EAGAIN, "a push is left")
			f.pushes[i].release()
		}
	}
	for step := 0; s.ends[0].os.restless()+s.ends[1].os.restless() > 0; step++ {
		s.require(step < 5*simSteps, "closed connections stay")
		s.poll()
	}
	for i := range s.ends {
		e := &s.ends[i]
		slabs := len(e.os.bufs.slabs)
		s.require(e.os.bufs.used() == 0, "%d buffers are left", e.os.bufs.used())
		if l := e.dev.Left(); !s.hurt || l.MRs != 0 {
			s.require(l == fake.Left{MRs: slabs}, "left: %+v, %d slabs", l, slabs)
		}
		s.require(len(e.os.byID) == 0, "connections are left")
		e.Close()
		s.require(e.dev.Left() == fake.Left{}, "left: %+v", e.dev.Left())
	}
	s.require(len(s.fabric.Wrong) == 0, "%v", s.fabric.Wrong)
	s.require(s.fabric.RNR == 0 || s.hurt && s.silent, "%d messages without a receive buffer", s.fabric.RNR)
}

// restless is how many connections there are something to do for yet.
func (o *LibOS) restless() int { return len(o.leaving) + len(o.dying) + len(o.again) }

func (s *sim) String() string {
	text := ""
	for _, f := range s.flows {
		text += fmt.Sprintf("\n%d of %d pushed, %d pending, last %d, closed %v, failed %v, ended %v", f.pushed, f.total, len(f.pushes), f.last,
			f.closed, f.failed, f.ended)
	}
	return text
}
