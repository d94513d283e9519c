package posix

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// watches is what the queues of the program's own descriptors share.
//
// Such a descriptor is in the epoll set for as long as its queue is open, with EPOLLONESHOT: a pop arms it, for one event. So
// it costs nothing while no pop is pending, and whatever the program does with it meanwhile, it cannot keep waits from sleeping.
type watches struct {
	fds   map[int]*watchQueue // by descriptor; nil until there is one
	armed int
}

// due tells whether to look at the epoll set for their sake. Others see to it that it is looked at at each poll; a descriptor
// of the program's may be slower. But what has ended a sleep must be taken, even if nobody asks for it any more.
func (w *watches) due(o *LibOS) bool {
	return w.fds != nil && (o.slept || w.armed > 0 && o.tick-o.looked >= watchEvery)
}

// watchQueue has pops that complete when a descriptor of the program's is readable.
type watchQueue struct {
	engine.QueueBase
	os    *LibOS
	fd    int
	place int32 // in LibOS.watched
	armed bool
	lost  bool // the program has closed the descriptor, and its number is another one's
}

func (o *LibOS) openWatch(fd int) (engine.Queue, abi.Errno) {
	q := o.watchQueues.Get()
	place, err := o.add(fd, q, unix.EPOLLONESHOT)
	if err != 0 {
		o.watchQueues.Put(q)
		if err == unix.EPERM { // of epoll: a file
			err = unix.ENOTSUP
		}
		return nil, err
	}
	q.os, q.fd, q.place = o, fd, place
	q.Forgets = true // the next pop asks anew
	if o.watches.fds == nil {
		o.watches.fds = map[int]*watchQueue{}
	}
	o.watches.fds[fd] = q
	return q, 0
}

// Push implements engine.Queue.
func (q *watchQueue) Push(*engine.Op) abi.Errno { return unix.ENOTSUP }

// Pop implements engine.Queue.
func (q *watchQueue) Pop(op *engine.Op) abi.Errno {
	if q.lost {
		return unix.EBADF
	}
	o := q.os
	if q.Pops.Empty() {
		q.disarm()
		switch err := o.control(unix.EPOLL_CTL_MOD, q.fd, q.place, unix.EPOLLIN|unix.EPOLLONESHOT); err {
		case 0:
		case unix.ENOENT:
			return unix.EBADF // the number is another descriptor's
		default:
			return err
		}
		q.armed = true
		o.watches.armed++
	}
	q.Pops.Add(op)
	o.looked = o.tick - watchEvery // it may be readable already
	return 0
}

// ready implements pollable.
func (q *watchQueue) ready(uint32) {
	q.disarm()
	for op := q.Pops.Head(); op != nil; op = q.Pops.Head() {
		op.Complete(0)
	}
}

// disarm notes that no event will come. The epoll set knows.
func (q *watchQueue) disarm() {
	if q.armed {
		q.armed = false
		q.os.watches.armed--
	}
}

// Cancel implements engine.Queue. The event that is not wanted any more may come.
func (q *watchQueue) Cancel(*engine.Op) {}

// Close implements engine.Queue. A number that is another descriptor's is not touched.
func (q *watchQueue) Close() {
	if q.lost {
		return
	}
	delete(q.os.watches.fds, q.fd)
	q.disarm()
	q.os.remove(q.fd, q.place)
}

// Recycle implements engine.Recycler.
func (q *watchQueue) Recycle() { q.os.watchQueues.Put(q) }

// lose is called when another descriptor has come into the epoll set by the same number.
func (q *watchQueue) lose() {
	q.lost = true
	delete(q.os.watches.fds, q.fd)
	q.disarm()
	q.os.forget(q.place)
	for op := q.Pops.Head(); op != nil; op = q.Pops.Head() {
		op.Complete(unix.EBADF)
	}
}
