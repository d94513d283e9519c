package nvme

import (
	"sync/atomic"
	"unsafe"
)

// queue is a submission queue and its completion queue (Base Specification 2.0, 3.3.1), both with the same power of two of entries. No
// more commands are under way than entries but one, so neither of them overflows: what the drive has not fetched yet is part of that.
type queue struct {
	sq   []command
	cq   []completion
	mask uint16

	tail  uint16 // of sq: where the next command goes
	rung  uint16 // what the drive knows of tail
	head  uint16 // of cq: where the next completion comes
	took  uint16 // what the drive knows of head
	phase uint32 // of a new completion

	tailBell unsafe.Pointer
	headBell unsafe.Pointer
}

// start makes the queue empty, as a controller has it that was just enabled.
func (q *queue) start() {
	clear(q.sq)
	clear(q.cq)
	q.tail, q.rung, q.head, q.took, q.phase = 0, 0, 0, 0, 1
}

// next is the entry for the next command. It holds the one before.
func (q *queue) next() *command {
	c := &q.sq[q.tail&q.mask]
	q.tail = (q.tail + 1) & q.mask
	return c
}

// ring tells the drive what has been taken and what is new, in that order, so that it has room for what comes of it.
func (q *queue) ring() {
	if q.took != q.head {
		q.took = q.head
		store32(q.headBell, uint32(q.head))
	}
	if q.rung != q.tail {
		q.rung = q.tail
		store32(q.tailBell, uint32(q.tail))
	}
}

// take copies the next completion, if it is there. The drive writes the word with the phase last, or all at once; reading it first, by
// an atomic load, makes the rest valid.
func (q *queue) take(out *completion) bool {
	c := &q.cq[q.head&q.mask]
	status := atomic.LoadUint32(&c.status)
	if status>>16&1 != q.phase {
		return false
	}
	out.result, out.queue, out.status = c.result, c.queue, status
	if q.head = (q.head + 1) & q.mask; q.head == 0 {
		q.phase ^= 1
	}
	return true
}
