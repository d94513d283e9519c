package engine

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
)

// desc is an entry of the descriptor table. Its generation, part of the descriptor, tells a closed queue from the
// one that has its place now.
type desc struct {
	q    Queue
	qd   int32
	gen  uint32
	next int32 // free list
}

const genMask = 1<<(30-abi.QDIndexBits) - 1

// freeList is first-in first-out, so that a descriptor is used again as late as can be.
type freeList struct {
	head, tail int32
	count      int
}

func (f *freeList) push(ds []desc, i int32) {
	ds[i].next = -1
	if f.count == 0 {
		f.head = i
	} else {
		ds[f.tail].next = i
	}
	f.tail = i
	f.count++
}

func (f *freeList) pop(ds []desc) int32 {
	i := f.head
	f.head = ds[i].next
	f.count--
	return i
}

func (e *Engine) lookup(qd int32) (*desc, abi.Errno) {
	if qd <= 0 {
		return nil, unix.EINVAL
	}
	if i := int(qd) & (abi.MaxQueues - 1); qd >= abi.QDBase && i < len(e.descs) {
		if d := &e.descs[i]; d.q != nil && d.qd == qd {
			return d, 0
		}
	}
	return nil, unix.ENOENT
}

// Room tells whether the limit on queues allows another one.
func (e *Engine) Room() bool { return e.open < e.lim.Queues }

func (e *Engine) addQueue(q Queue) (int32, abi.Errno) {
	if !e.Room() {
		return 0, unix.EMFILE
	}
	// Places are not reused before many have been freed, so that their generations last.
	const reserve = 64
	if e.free.count <= reserve && len(e.descs) < abi.MaxQueues {
		e.descs = append(e.descs, desc{})
		e.free.push(e.descs, int32(len(e.descs)-1))
	}
	i := e.free.pop(e.descs)
	d := &e.descs[i]
	d.gen = (d.gen + 1) & genMask
	d.q, d.qd = q, int32(abi.QDBase|d.gen<<abi.QDIndexBits|uint32(i))
	q.Base().qd = d.qd
	e.ctl.Hints[i] = [2]uint32{}
	e.open++
	return d.qd, 0
}

func (e *Engine) removeQueue(d *desc) {
	d.q = nil
	e.open--
	e.free.push(e.descs, d.qd&(abi.MaxQueues-1))
}
