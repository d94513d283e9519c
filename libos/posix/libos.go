// Package posix is the libOS over kernel sockets and files.
//
// Sockets are non-blocking, and receive in one of two ways. One socket that lately had traffic alone is hot: each Poll
// asks the kernel for its data outright, which finds it soonest and costs one system call. The others are armed: an
// edge-triggered epoll set watches them, so that their number costs nothing. A socket with a pending operation is hot or
// armed. It is armed when it stays quiet, when it cannot be hot, when its send buffer is full, and before the thread sleeps.
//
// The epoll set reports data in the order in which the kernel got it. That order is kept: while others wait for data, too,
// the hot socket is in the set as well, and after the program has been away the set is asked first. (Alone it is not,
// because being watched makes each packet dearer for its sender.)
//
// The hot socket has a port (abi.Port), through which the C front spares it the way through Go as long as arrays are small
// and whole. All else comes here.
package posix

import (
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/framing"
	"github.com/libdmtr/libdmtr/libos/internal/inbox"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/clock"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
	"github.com/libdmtr/libdmtr/runtime/mem"
	"github.com/libdmtr/libdmtr/runtime/reuse"
)

const (
	// hotMisses is how many fruitless receives in a row cool a socket down: some 100 µs of polling.
	hotMisses = 1024
	// unusedMisses is how many polls do so while the socket has no pop.
	unusedMisses = 8
	// othersMiss is how many of these an event of a socket that is not hot counts for.
	othersMiss = 64
	// lookEvery is how many polls may pass that look at the hot socket only, because it has something each time.
	lookEvery = 8
	// awayCounts is how many counts of the processor's clock the program is away if the order of events may matter: about
	// 10 µs, more than a push takes, and less than passes between two sends of which the second depends on the first.
	awayCounts = 1 << 15
	// watchEvery is how many polls may pass without a look at the epoll set if it has only descriptors of the program in it.
	watchEvery = 64
)

// LibOS is the posix libOS.
type LibOS struct {
	cfg     *config.Config
	eng     *engine.Engine
	epfd    int
	order   *abi.Order // its Events are where the epoll set's are put
	watched []watch
	spare   []int32  // unused places in watched
	armed   int      // entries in the epoll set that need a look at each poll
	streams int      // sockets among them that receive data
	hot     *sock    // nil: none
	lone    [4]int32 // places + 1 of the last sockets that were the only one with an event
	loneAt  uint32
	tick    uint32
	looked  uint32 // tick at the last look at the epoll set
	scratch []byte // abi.ScratchLen, for one receive or small send; Control.Scratch
	pool    inbox.Pool
	words   [framing.MaxOverhead]byte // framing words of the push being sent
	iov     framing.Pieces
	msg     msgHdr
	slept   bool // Arm was called since the last look at the epoll set
	watches watches
	files   *files             // nil until a file is opened
	path    [unix.PathMax]byte // of the file being opened

	tcps        reuse.List[tcp]
	udps        reuse.List[udp]
	fileQueues  reuse.List[file]
	watchQueues reuse.List[watchQueue]
}

// watch is a place that the events of one descriptor name. The generation tells late events of a closed one.
type watch struct {
	p   pollable
	gen int32
}

// pollable is told of epoll events.
type pollable interface{ ready(events uint32) }

// New makes the libOS.
func New(eng *engine.Engine, cfg *config.Config) (engine.LibOS, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, errnoOf(err)
	}
	scratch := mem.Map(abi.ScratchLen)
	if scratch == nil {
		_ = unix.Close(epfd)
		return nil, unix.ENOMEM
	}
	eng.Control().Scratch = abi.PtrTo(scratch)
	order := &eng.Control().Order
	order.Epfd = int32(epfd)
	return &LibOS{cfg: cfg, eng: eng, epfd: epfd, order: order, pool: inbox.Pool{Config: cfg}, scratch: unsafe.Slice((*byte)(scratch), abi.ScratchLen)}, nil
}

// Open implements engine.LibOS.
func (o *LibOS) Open(a *engine.Args) (engine.Queue, abi.Errno) {
	switch a.Kind {
	case engine.KindStream:
		return newTCP(o)
	case engine.KindDatagram:
		return newUDP(o)
	case engine.KindFile:
		return o.openFile(a)
	case engine.KindWatch:
		return o.openWatch(a.FD)
	}
	return nil, unix.ENOTSUP
}

// Fds implements engine.LibOS.
func (o *LibOS) Fds() []int { return []int{o.epfd} }

// Close implements engine.LibOS.
func (o *LibOS) Close() {
	if o.files != nil {
		o.files.close()
	}
	o.pool.Close()
	mem.Unmap(unsafe.Pointer(unsafe.SliceData(o.scratch)), abi.ScratchLen)
	_ = unix.Close(o.epfd)
}

// Arm implements engine.LibOS.
func (o *LibOS) Arm() {
	o.slept = true
	if o.hot != nil {
		o.hot.arm()
	}
	if o.files != nil {
		o.files.arm()
	}
}

// Poll implements engine.LibOS.
func (o *LibOS) Poll() {
	o.pool.Refill()
	seq := o.eng.Completions()
	if o.hot != nil {
		o.hot.poll()
	}
	// What has completed is not held up by a look at the others, unless it is time for that.
	o.tick++
	if o.eng.Completions() != seq && o.tick%lookEvery != 0 && o.order.Away == 0 {
		return
	}
	if o.armed > 0 || o.watches.due(o) {
		o.look(false)
	}
	if o.files != nil && o.files.pending() {
		o.files.poll()
	}
}

// ordered tells whether the hot socket may be asked for data: others have no older ones. If they may, the epoll set has been asked instead.
func (o *LibOS) ordered() bool {
	c := o.order
	if c.Away == 0 {
		return true
	}
	now := clock.Count()
	gap := now - c.Polled
	c.Polled = now
	if gap <= c.Away {
		return true
	}
	if o.look(true) == abi.MaxEvents {
		c.Polled = 0 // there may be more
	}
	return false
}

// keepOrder is called when it changes who waits for data. The hot socket is watched as long as others do.
func (o *LibOS) keepOrder() {
	others, s := o.streams, o.hot
	if s != nil && s.armed {
		others--
	}
	switch {
	case s == nil || others > 0 == s.armed:
	case others > 0:
		s.enter()
	default:
		s.disarm()
	}
	o.order.Away = 0
	if s != nil && others > 0 {
		o.order.Away, o.order.Place = awayCounts, s.place
	}
}

// Got implements engine.Ported.
func (o *LibOS) Got(n int) {
	s := o.hot
	if s == nil {
		return
	}
	s.Settle()
	if n > 0 {
		s.h.got(o.scratch[:n])
	} else {
		s.h.failed(abi.Errno(-n))
	}
	s.offer()
}

// look handles what the epoll set has to report, with the hot socket's events or without them, and returns how much that was.
// It fails only if the program has closed the set's descriptor.
func (o *LibOS) look(all bool) int {
	if n := o.order.NumEvents; n > 0 {
		o.order.NumEvents = 0
		o.handle(int(n), false)
	}
	r, _, err := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(o.epfd), uintptr(unsafe.Pointer(&o.order.Events)), abi.MaxEvents, 0, 0, 0)
	n := int(r)
	slept := o.slept
	o.slept = false
	if o.looked = o.tick; n == abi.MaxEvents {
		o.looked -= watchEvery // there may be more
	}
	if n <= 0 {
		if n < 0 && err != unix.EINTR {
			panic("the epoll set: " + err.Error())
		}
		return 0
	}
	// After a sleep the next event may take as long.
	if o.handle(n, all) == 1 && n == 1 && !slept {
		o.alone(o.order.Events[0].Fd)
	}
	return n
}

// handle passes on n events of the epoll set, and returns how many it has passed on.
func (o *LibOS) handle(n int, all bool) (others int) {
	for i := range o.order.Events[:n] {
		ev := &o.order.Events[i]
		if w := &o.watched[ev.Fd]; w.gen == ev.Pad && w.p != nil && (all || !o.isHot(ev.Fd)) {
			w.p.ready(ev.Events)
			others++
		}
	}
	o.crowd(others)
	return others
}

// isHot tells whether a place is the hot socket's.
func (o *LibOS) isHot(place int32) bool { return o.hot != nil && o.hot.armed && o.hot.place == place }

// crowd cools the hot socket down while others have the traffic: it costs a system call a poll.
func (o *LibOS) crowd(n int) {
	if s := o.hot; s != nil && s.port.Misses > 0 {
		s.port.Misses += uint32(n) * othersMiss
	}
}

// alone is told of the only socket with an event. If it was that a short time ago, it becomes hot: it is one of a few that take turns,
// and the next message may well be its, too.
func (o *LibOS) alone(place int32) {
	h, ok := o.watched[place].p.(handler)
	if !ok {
		return
	}
	if slices.Contains(o.lone[:], place+1) {
		h.socket().warm()
	}
	o.lone[o.loneAt%uint32(len(o.lone))] = place + 1
	o.loneAt++
}

// watch adds a descriptor to the epoll set, which is looked at in each poll then. Its events go to p until unwatch.
func (o *LibOS) watch(fd int, p pollable, events uint32) (place int32, err abi.Errno) {
	if place, err = o.add(fd, p, events); err == 0 {
		o.armed++
	}
	return place, err
}

// unwatch takes a descriptor out of the epoll set.
func (o *LibOS) unwatch(fd int, place int32) {
	o.remove(fd, place)
	o.armed--
}

// add is watch for descriptors that need no look in each poll.
func (o *LibOS) add(fd int, p pollable, events uint32) (place int32, err abi.Errno) {
	if n := len(o.spare); n > 0 {
		place = o.spare[n-1]
		o.spare = o.spare[:n-1]
	} else {
		place = int32(len(o.watched))
		o.watched = append(o.watched, watch{})
	}
	o.watched[place].p = p
	if err = o.control(unix.EPOLL_CTL_ADD, fd, place, events); err != 0 {
		o.forget(place)
	} else if old := o.watches.fds[fd]; old != nil {
		old.lose() // without leave to touch what has the number now
	}
	return place, err
}

// remove undoes add. Closing the descriptor would not do if a child process has a copy.
func (o *LibOS) remove(fd int, place int32) {
	_ = o.control(unix.EPOLL_CTL_DEL, fd, place, 0)
	o.forget(place)
}

func (o *LibOS) forget(place int32) {
	o.watched[place].p = nil
	o.watched[place].gen++
	o.spare = append(o.spare, place)
}

// control is epoll_ctl(2) for what has a place in watched.
func (o *LibOS) control(op uintptr, fd int, place int32, events uint32) abi.Errno {
	ev := unix.EpollEvent{Events: events, Fd: place, Pad: o.watched[place].gen}
	_, _, err := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(o.epfd), op, uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
	return err
}
