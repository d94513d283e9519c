// Package uring is the kernel's io_uring, as io_uring_setup(2) and io_uring_enter(2) describe it: reads and writes that go on while
// the program does something else.
//
// Reading order: New lays out the memory shared with the kernel, Put and Flush submit, Poll reaps. There is no lock, because the
// engine lets one thread in at a time. The memory and the iovecs that an entry names belong to the kernel until its end is reported.
//
// The kernel ties an entry to the thread that submits it: when that thread ends, the entry ends with ECANCELED or EINTR, and whoever
// put it has to put it again.
package uring

import (
	"errors"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
)

// Owner is told what has come of the entries it put, during Poll, Wait, Flush or Room. It may put others meanwhile.
type Owner interface {
	// Ended has the Data of an entry and its result: a count, or an errno below zero.
	Ended(data uint64, res int32)
}

// Ring is an io_uring.
type Ring struct {
	owner      Owner
	fd         int
	mem        unsafe.Pointer // both rings
	memLen     uintptr
	sqes       unsafe.Pointer
	sqesLen    uintptr
	sqHead     *uint32 // the kernel moves it
	sqTail     *uint32
	sqMask     uint32
	sqEntries  uint32
	cqHead     *uint32
	cqTail     *uint32 // the kernel moves it
	cqMask     uint32
	cqes       unsafe.Pointer
	unflushed  uint32 // entries the kernel has not been told of
	unanswered int    // entries whose completion has not been seen
}

// New makes a ring for so many entries, or says why there cannot be one: ENOSYS for a kernel without it or one older than 5.6, EPERM
// if it is forbidden, ENOMEM, EMFILE, ENFILE. The descriptor is close-on-exec, the memory is not in child processes.
func New(entries uint32, owner Owner) (*Ring, abi.Errno) {
	var p params
	fd, _, err := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(&p)), 0) // always close-on-exec
	if err != 0 {
		return nil, err
	}
	r := &Ring{owner: owner, fd: int(fd)}
	if p.features&features != features {
		r.Close()
		return nil, unix.ENOSYS
	}
	r.memLen = max(uintptr(p.sq.array)+uintptr(p.sqEntries)*4, uintptr(p.cq.cqes)+uintptr(p.cqEntries)*sizeofCQE)
	r.sqesLen = uintptr(p.sqEntries) * sizeofSQE
	if r.mem, err = r.mmap(offRings, r.memLen); err == 0 {
		r.sqes, err = r.mmap(offSQEs, r.sqesLen)
	}
	if err != 0 {
		r.Close()
		return nil, err
	}
	at := func(off uint32) *uint32 { return (*uint32)(unsafe.Add(r.mem, off)) }
	r.sqHead, r.sqTail, r.sqMask, r.sqEntries = at(p.sq.head), at(p.sq.tail), *at(p.sq.ringMask), p.sqEntries
	r.cqHead, r.cqTail, r.cqMask, r.cqes = at(p.cq.head), at(p.cq.tail), *at(p.cq.ringMask), unsafe.Add(r.mem, p.cq.cqes)
	for i := uint32(0); i < p.sqEntries; i++ {
		*at(p.sq.array + 4*i) = i
	}
	return r, 0
}

func (r *Ring) mmap(off int64, n uintptr) (unsafe.Pointer, abi.Errno) {
	p, err := unix.MmapPtr(r.fd, off, nil, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		var no abi.Errno
		if !errors.As(err, &no) {
			no = unix.EIO
		}
		return nil, no
	}
	// A child process must not write to it.
	_ = unix.Madvise(unsafe.Slice((*byte)(p), n), unix.MADV_DONTFORK)
	return p, 0
}

// FD is readable as long as there are completions that Poll has not seen.
func (r *Ring) FD() int { return r.fd }

// Close releases the ring. The kernel may still be at what has not ended.
func (r *Ring) Close() {
	if r.sqes != nil {
		_ = unix.MunmapPtr(r.sqes, r.sqesLen)
	}
	if r.mem != nil {
		_ = unix.MunmapPtr(r.mem, r.memLen)
	}
	_ = unix.Close(r.fd)
}

// Room tells whether Put may be called. It leaves half of the completion ring, which has two places for each of the submission ring,
// to Cancel and Wake.
func (r *Ring) Room() bool { return r.unanswered < int(r.sqEntries) && r.sqRoom() }

// sqRoom tells whether the submission ring has a free place, or can be given one.
func (r *Ring) sqRoom() bool {
	if *r.sqTail-atomic.LoadUint32(r.sqHead) < r.sqEntries {
		return true
	}
	r.Flush()
	return *r.sqTail-atomic.LoadUint32(r.sqHead) < r.sqEntries
}

// Put adds an entry, of which the kernel learns by Flush.
func (r *Ring) Put(e Entry) {
	*(*Entry)(unsafe.Add(r.sqes, (*r.sqTail&r.sqMask)*sizeofSQE)) = e
	atomic.StoreUint32(r.sqTail, *r.sqTail+1)
	r.unflushed++
	r.unanswered++
}

// Flush lets the kernel take what has been put. What it does not take now, for want of memory, is offered again.
func (r *Ring) Flush() {
	if r.unflushed > 0 {
		r.enter(0, 0)
	}
}

func (r *Ring) enter(wait, flags uintptr) {
	n, _, err := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(r.unflushed), wait, flags, 0, 0)
	switch err {
	case 0:
		r.unflushed -= uint32(n)
	case unix.EINTR:
	case unix.EAGAIN, unix.EBUSY:
		if r.unanswered == int(r.unflushed) { // no completion will come that tells when to try again
			r.reject(unix.ENOMEM)
		}
	default: // somebody has closed the descriptor
		r.reject(err)
	}
}

// reject takes back what the kernel does not take.
func (r *Ring) reject(err abi.Errno) {
	for r.unflushed > 0 {
		r.unflushed--
		r.unanswered--
		tail := *r.sqTail - 1
		atomic.StoreUint32(r.sqTail, tail)
		if data := (*Entry)(unsafe.Add(r.sqes, (tail&r.sqMask)*sizeofSQE)).Data; data != NoData {
			r.owner.Ended(data, -int32(err))
		}
	}
}

// Poll reports what has ended. It costs no system call unless there is something to submit.
func (r *Ring) Poll() {
	r.Flush()
	head, tail := *r.cqHead, atomic.LoadUint32(r.cqTail)
	for ; head != tail; head++ {
		c := *(*result)(unsafe.Add(r.cqes, (head&r.cqMask)*sizeofCQE))
		atomic.StoreUint32(r.cqHead, head+1)
		r.unanswered--
		if c.data != NoData {
			r.owner.Ended(c.data, c.res)
		}
	}
}

// Cancel asks for an early end of the entry with this Data.
func (r *Ring) Cancel(data uint64) {
	if r.sqRoom() {
		r.Put(Entry{Op: OpAsyncCancel, FD: -1, Addr: data, Data: NoData})
	}
}

// Wait is Poll that sleeps first unless something has ended. At least one entry must be under way. It returns early if a signal comes.
func (r *Ring) Wait() {
	if *r.cqHead == atomic.LoadUint32(r.cqTail) {
		r.enter(1, getEvents)
	}
	r.Poll()
}

// Wake makes the descriptor readable.
func (r *Ring) Wake() {
	if r.sqRoom() {
		r.Put(Entry{Op: OpNop, Data: NoData})
		r.Flush()
	}
}
