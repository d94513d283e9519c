// Package rdma is the libOS over RDMA: streams on reliable connections (RC), datagrams on UD queue pairs.
//
// # Call order
//
// New opens the device. Poll asks it for what has completed and happened, and hands that to the connections and datagram sockets. What
// they or the engine's calls post leaves with the next Flush, at the end of each call.
//
// A stream socket (sock.go) has a connection (conn.go), which outlives it for a moment, so that the peer gets what was pushed. What the
// two sides of a connection say to each other is in package wire; docs/rdma.md tells how they agree on memory.
//
// # Threading
//
// As package engine has it.
package rdma

import (
	"math"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/framing"
	"github.com/libdmtr/libdmtr/libos/internal/inbox"
	"github.com/libdmtr/libdmtr/libos/rdma/verbs"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

const (
	batch        = 64 // completions taken at a time
	eventBatch   = 8
	scratchBytes = 4096
)

// LibOS is the libOS rdma.
type LibOS struct {
	cfg  *config.Config
	eng  *engine.Engine
	pool inbox.Pool
	dev  verbs.Device
	attr verbs.Attr
	now  func() int64 // nanoseconds, monotonic

	bufs  buffers // of connections
	dgram buffers // of datagram sockets

	ends  []end // by slot, which is in the upper half of a WRID
	spare []uint32
	byID  map[verbs.ID]happening // whom events are for
	round uint64                 // of Poll
	grant uint64                 // bytes
	dirty bool                   // something is posted and not flushed

	dying   []*conn      // broken; what they have received is still to be taken in
	leaving []*conn      // closed; the peer is still to hear of it
	again   []*conn      // may have something to write
	held    []*datagrams // with pushes that the device had no room for
	peers   peerTable

	words   [framing.MaxOverhead]byte // framing words of the push being sent
	iov     framing.Pieces
	scratch []byte // for an inline send, and the words of one that is not
	wr      verbs.SendWR
	comps   []verbs.Completion
	events  []verbs.Event
	stats   counters

	heart   heart
	timer   int // timerfd
	waitFds []int
}

// end is one end of traffic: a connection or a datagram socket.
type end interface {
	id() verbs.ID
	completed(c *verbs.Completion)
}

// happening is what events of the connection manager are for.
type happening interface{ event(e *verbs.Event) }

// open makes a libOS on a device, which it closes if that fails.
func open(eng *engine.Engine, cfg *config.Config, dev verbs.Device, now func() int64) (engine.LibOS, error) {
	o := &LibOS{cfg: cfg, eng: eng, pool: inbox.Pool{Config: cfg}, dev: dev, attr: dev.Attr(), now: now, byID: make(map[verbs.ID]happening), grant: grantBytes}
	o.bufs = buffers{dev: dev, size: cfg.Rdma.BufferBytes}
	o.dgram = buffers{dev: dev, size: verbs.GRHBytes + o.attr.PortMTU}
	o.heart.every = o.keepalive()
	o.peers.init(o)
	o.comps, o.events = make([]verbs.Completion, batch), make([]verbs.Event, eventBatch)
	p := mem.Map(scratchBytes)
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil || p == nil {
		dev.Close()
		return nil, abi.Errno(unix.ENOMEM)
	}
	o.scratch = unsafe.Slice((*byte)(p), scratchBytes)
	o.timer, o.waitFds = fd, append([]int{fd}, dev.Fds()...)
	eng.Control().Keep = 1 // peers want answers also while the program computes
	return o, nil
}

// Open implements engine.LibOS.
func (o *LibOS) Open(a *engine.Args) (engine.Queue, abi.Errno) {
	switch a.Kind {
	case engine.KindStream:
		return newSock(o), 0
	case engine.KindDatagram:
		return newDatagrams(o), 0
	}
	return nil, unix.ENOTSUP
}

// Fds implements engine.LibOS.
func (o *LibOS) Fds() []int { return o.waitFds }

// Poll implements engine.LibOS.
func (o *LibOS) Poll() {
	o.pool.Refill()
	o.poll()
}

func (o *LibOS) poll() {
	nc, ne := o.dev.Poll(o.comps, o.events)
	o.round++
	o.dirty = false
	for i := range nc {
		c := &o.comps[i]
		if slot := uint32(c.WRID >> 32); int(slot) < len(o.ends) {
			if e := o.ends[slot]; e != nil && e.id() == c.ID {
				e.completed(c)
			}
		}
	}
	for i := range ne {
		o.dispatch(&o.events[i])
	}
	if len(o.again) > 0 {
		o.resume()
	}
	if len(o.dying) > 0 && nc < len(o.comps) {
		o.bury()
	}
	if len(o.leaving) > 0 {
		o.expire()
	}
	if len(o.held) > 0 {
		o.retry()
	}
	o.beat()
	o.flush()
}

func (o *LibOS) dispatch(e *verbs.Event) {
	to := e.ID
	if e.Type == verbs.EventConnectRequest {
		to = e.Listener
	}
	if h := o.byID[to]; h != nil {
		h.event(e)
	} else if e.Type == verbs.EventConnectRequest {
		_ = o.dev.Reject(e.ID, nil)
	}
}

// flush hands what was posted to the device.
func (o *LibOS) flush() {
	if o.dirty {
		o.dirty = false
		o.dev.Flush()
	}
}

// post posts o.wr. False: the send queue is full.
func (o *LibOS) post() bool {
	o.dirty = true
	return o.dev.PostSend(&o.wr) == 0
}

// join gives an end a slot.
func (o *LibOS) join(e end) uint32 {
	if n := len(o.spare); n > 0 {
		slot := o.spare[n-1]
		o.spare = o.spare[:n-1]
		o.ends[slot] = e
		return slot
	}
	o.ends = append(o.ends, e)
	return uint32(len(o.ends) - 1)
}

func (o *LibOS) leave(slot uint32) {
	o.ends[slot] = nil
	o.spare = append(o.spare, slot)
}

// bury ends the broken connections whose last completions have been taken in: those that broke before the poll that found no more.
func (o *LibOS) bury() {
	n := 0
	for i := 0; i < len(o.dying); i++ {
		if c := o.dying[i]; c.brokeAt < o.round {
			c.bury()
		} else {
			o.dying[n] = c
			n++
		}
	}
	clear(o.dying[n:])
	o.dying = o.dying[:n]
}

func (o *LibOS) resume() {
	for _, c := range o.again {
		if c.state == connected {
			c.write()
		}
	}
	clear(o.again)
	o.again = o.again[:0]
}

// expire ends closed connections whose time is over.
func (o *LibOS) expire() {
	now := o.now()
	n := 0
	for _, c := range o.leaving {
		if c.state != dead && now >= c.until {
			c.destroy()
			o.stats.Lingered++
		}
		if c.state != dead {
			o.leaving[n] = c
			n++
		}
	}
	clear(o.leaving[n:])
	o.leaving = o.leaving[:n]
}

// retry goes on with datagrams that the device had no room for.
func (o *LibOS) retry() {
	n := 0
	for _, d := range o.held {
		if d.send(); !d.Pushes.Empty() {
			o.held[n] = d
			n++
		} else {
			d.held = false
		}
	}
	clear(o.held[n:])
	o.held = o.held[:n]
}

// due is when there is something to do though nothing happens.
func (o *LibOS) due() int64 {
	at := int64(math.MaxInt64)
	if len(o.dying)+len(o.held)+len(o.again) > 0 {
		return 0
	}
	if len(o.leaving) > 0 {
		at = o.leaving[0].until // all linger for the same time
	}
	if o.heart.every > 0 && len(o.ends) > len(o.spare) {
		at = min(at, o.heart.next)
	}
	return at
}

// Arm implements engine.LibOS.
func (o *LibOS) Arm() {
	o.dev.Arm()
	o.heart.slept = true
	var spec unix.ItimerSpec
	if at := o.due(); at != math.MaxInt64 {
		spec.Value = unix.NsecToTimespec(max(at-o.now(), 1))
	}
	_, _, _ = unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(o.timer), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
}

// Finish implements engine.Finisher.
func (o *LibOS) Finish() {
	fds := make([]unix.PollFd, 0, len(o.waitFds))
	for _, fd := range o.waitFds {
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	for end := o.now() + o.linger(); len(o.leaving) > 0 && o.now() < end; {
		o.Arm()
		_, _ = unix.Poll(fds, 10)
		o.Poll()
	}
}

func (o *LibOS) linger() int64 { return int64(o.cfg.Rdma.LingerMillis) * int64(time.Millisecond) }

// Close implements engine.LibOS.
func (o *LibOS) Close() {
	for _, c := range o.leaving {
		if c.state != dead {
			c.destroy()
		}
	}
	o.peers.close()
	o.bufs.close()
	o.dgram.close()
	o.dev.Close()
	o.pool.Close()
	mem.Unmap(unsafe.Pointer(unsafe.SliceData(o.scratch)), scratchBytes)
	_ = unix.Close(o.timer)
}
