// Package engine owns queue descriptors, tokens and memory queues, and drives the libOSes that own everything else.
//
// # Call order
//
// New, then any number of calls, then Close. An operation begins with Push, Pop, Accept or Connect, which hand an Op
// to a queue. The queue completes the Op at once, or keeps it on one of its lists and completes it during a later
// LibOS.Poll. Drive calls Poll until something completes; Arm comes before the caller sleeps on the descriptors in
// the shared Control.
//
// # Threading
//
// Nothing here locks. One thread at a time is inside an Engine, which the C front sees to with a lock that it also
// holds while it reads completed tokens. So a libOS needs no locks either, and must not start goroutines that touch
// its queues.
//
// # Adding a libOS
//
// Implement LibOS and Queue (and Socket or File), register a constructor in capi, and run libostest.Run;
// docs/architecture.md has the steps.
package engine

import "github.com/libdmtr/libdmtr/runtime/abi"

// Kind says what a libOS is asked to open.
type Kind uint8

// Kinds of queues a libOS opens.
const (
	KindStream Kind = iota
	KindDatagram
	KindFile
	KindWatch
)

// Args describes a queue to open. Path, Flags and Mode are for files, with the values of open(2); FD is for watches. Path is the program's
// memory: who keeps it makes a copy.
type Args struct {
	Kind  Kind
	Path  string
	Flags int
	Mode  uint32
	FD    int
}

// LibOS is one kind of I/O: a leaf that the engine drives.
type LibOS interface {
	// Open makes an unconnected socket, opens a file, or watches a descriptor of the program's.
	Open(a *Args) (Queue, abi.Errno)
	// Poll lets pending operations go on as far as they can without waiting.
	Poll()
	// Arm is called before a wait sleeps: from then on, whatever Poll could do shows as readiness of Fds.
	Arm()
	// Fds are the descriptors to sleep on, readable when Poll has work. They stay the same until Close.
	Fds() []int
	// Close releases everything; all queues have been closed.
	Close()
}

// Queue is one direction pair of I/O. Push and Pop either fail at once, and then have not kept the Op, or complete
// it now or later. What they keep is on the lists of its QueueBase.
type Queue interface {
	// Base is the state common to all queues; embed a QueueBase to have it.
	Base() *QueueBase
	Push(op *Op) abi.Errno
	Pop(op *Op) abi.Errno
	// Cancel makes the queue forget a pending Op and the memory it borrows. The engine removes it from its list
	// afterwards, unless the queue has put another in its place with Op.Detach.
	Cancel(op *Op)
	// Close releases the queue and all use of the memory that its pending Ops borrow. The engine then completes
	// those with ECANCELED.
	Close()
}

// Socket is a Queue with an address. The names are those of the system calls.
type Socket interface {
	Queue
	Bind(addr *abi.SockaddrIn) abi.Errno
	Listen(backlog int) abi.Errno
	// Accept keeps Ops on the list of pops, and completes them with Op.Accepted.
	Accept(op *Op) abi.Errno
	// Connect keeps its Op on the list of pushes.
	Connect(op *Op, addr *abi.SockaddrIn) abi.Errno
	Name() (abi.SockaddrIn, abi.Errno)
}

// File is a Queue with a position.
type File interface {
	Queue
	Lseek(offset int64, whence int) abi.Errno
	// Trim gives the space of all before pos, which is not negative, back. It may block.
	Trim(pos int64) abi.Errno
}

// Unlinker is a LibOS for files whose names can be taken away.
type Unlinker interface{ Unlink(path string) abi.Errno }

// Ported is a LibOS of which C may serve a socket, see abi.Port.
type Ported interface {
	// Got hands over what C received from the port: n bytes in Control.Scratch, or -n is an errno; 0 is the end.
	Got(n int)
}

// Finisher is a LibOS that has something to do before the process ends, when its queues have been closed.
type Finisher interface{ Finish() }

// Settler is a Queue whose pending operations may be elsewhere than on the lists.
type Settler interface {
	// Settle brings them back.
	Settle()
}

// Lender is a Queue whose device reads the memory of pending pushes by itself, or a File that lets go of it.
type Lender interface {
	// Reclaim ends that for a push, which may complete by it. It may wait for the device, but not for the peer's program.
	Reclaim(op *Op)
}

// Recycler is a Queue that is used again, after it has been closed. See package reuse.
type Recycler interface {
	// Recycle comes last: the engine does not know the queue any more.
	Recycle()
}

// QueueBase holds the pending operations of a queue, oldest first.
type QueueBase struct {
	Pops   OpList // pops and accepts
	Pushes OpList // pushes and connects
	// Forgets says that what a pop got is gone if its token is dropped unseen; else it goes back for the next one.
	Forgets bool

	qd       int32
	returned []result // results whose tokens were dropped unseen, for the next pops
}

// Base returns b, so that a queue that embeds a QueueBase has the method of Queue.
func (b *QueueBase) Base() *QueueBase { return b }

// QD is the queue's descriptor, or 0 before it has one.
func (b *QueueBase) QD() int32 { return b.qd }

// Returned tells whether results of dropped tokens await the next pops.
func (b *QueueBase) Returned() bool { return len(b.returned) > 0 }

// OpList is a first-in, first-out list of pending operations.
type OpList struct{ head, tail *Op }

// Head is the oldest operation, or nil.
func (l *OpList) Head() *Op { return l.head }

// Empty tells whether nothing is pending.
func (l *OpList) Empty() bool { return l.head == nil }

// Add appends a pending operation.
func (l *OpList) Add(op *Op) {
	op.list, op.prev, op.next = l, l.tail, nil
	if l.tail == nil {
		l.head = op
	} else {
		l.tail.next = op
	}
	l.tail = op
}

// AddFirst puts back a pending operation that Take has taken from the head.
func (l *OpList) AddFirst(op *Op) {
	op.list, op.prev, op.next = l, nil, l.head
	if l.head == nil {
		l.tail = op
	} else {
		l.head.prev = op
	}
	l.head = op
}

// Take removes the head, which stays pending, and returns it.
func (l *OpList) Take() *Op {
	op := l.head
	l.remove(op)
	return op
}

func (l *OpList) remove(op *Op) {
	if op.prev == nil {
		l.head = op.next
	} else {
		op.prev.next = op.next
	}
	if op.next == nil {
		l.tail = op.prev
	} else {
		op.next.prev = op.prev
	}
	op.list, op.prev, op.next = nil, nil, nil
}

// replace puts b in the place of a.
func (l *OpList) replace(a, b *Op) {
	b.list, b.prev, b.next = l, a.prev, a.next
	if a.prev == nil {
		l.head = b
	} else {
		a.prev.next = b
	}
	if a.next == nil {
		l.tail = b
	} else {
		a.next.prev = b
	}
	a.list, a.prev, a.next = nil, nil, nil
}
