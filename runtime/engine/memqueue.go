package engine

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
)

// memQueue hands arrays from pushes to pops, verbatim. Arrays that no pop has asked for yet are in a ring.
type memQueue struct {
	QueueBase
	eng   *Engine
	limit int
	ring  []abi.SGArray // its length is a power of two
	first int
	count int
}

// Push implements Queue.
func (q *memQueue) Push(op *Op) abi.Errno {
	if pop := q.Pops.head; pop != nil {
		*pop.SGA() = *op.SGA()
		pop.Complete(0)
		op.Complete(0)
		return 0
	}
	if q.count >= q.limit {
		return unix.ENOBUFS
	}
	if q.count == len(q.ring) {
		q.grow()
	}
	q.ring[(q.first+q.count)&(len(q.ring)-1)] = *op.SGA()
	q.count++
	op.Complete(0)
	return 0
}

// Pop implements Queue.
func (q *memQueue) Pop(op *Op) abi.Errno {
	if q.count == 0 {
		q.Pops.Add(op)
		return 0
	}
	*op.SGA() = q.ring[q.first]
	q.ring[q.first] = abi.SGArray{}
	q.first = (q.first + 1) & (len(q.ring) - 1)
	q.count--
	op.Complete(0)
	return 0
}

func (q *memQueue) grow() {
	r := make([]abi.SGArray, max(16, 2*len(q.ring)))
	n := copy(r, q.ring[q.first:])
	copy(r[n:], q.ring[:q.first])
	q.ring, q.first = r, 0
}

// Cancel implements Queue. What is pending has borrowed nothing.
func (q *memQueue) Cancel(*Op) {}

// Close implements Queue.
func (q *memQueue) Close() {}

// keepRing is how many arrays the ring that a queue leaves to the next one may have room for.
const keepRing = 64

// Recycle implements Recycler.
func (q *memQueue) Recycle() {
	e, ring := q.eng, q.ring
	e.memQueues.Put(q)
	if len(ring) <= keepRing {
		clear(ring)
		q.ring = ring
	}
}
