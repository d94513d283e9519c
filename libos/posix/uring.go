package posix

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
)

// ring is the io_uring of a LibOS. Reading order: newRing lays out the memory shared with the kernel, start and flush
// submit, poll reaps. There is no lock, because the engine lets one thread in at a time.
type ring struct {
	fs         *files
	ringFd     int
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

const (
	ringEntries = 128
	// noData is in the completions that nobody waits for.
	noData = ^uint64(0)
)

// From linux/io_uring.h, which golang.org/x/sys/unix leaves out.
const (
	ringFeatures  = 1<<0 | 1<<1 | 1<<2 | 1<<3 // SINGLE_MMAP NODROP SUBMIT_STABLE RW_CUR_POS: Linux 5.6, as READ and WRITE
	ringOffRings  = 0
	ringOffSQEs   = 0x10000000
	ringGetEvents = 1 << 0
	sqeAsync      = 1 << 4
	opNop         = 0
	opWritev      = 2
	opAsyncCancel = 14
	opRead        = 22
	opWrite       = 23
	sizeofSQE     = 64
	sizeofCQE     = 16
)

type ringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFd uint32
	_                                                                      [3]uint32
	sq                                                                     struct {
		head, tail, ringMask, ringEntries, flags, dropped, array, _ uint32
		_                                                           uint64
	}
	cq struct {
		head, tail, ringMask, ringEntries, overflow, cqes, flags, _ uint32
		_                                                           uint64
	}
}

type ringSQE struct {
	opcode, flags uint8
	ioprio        uint16
	fd            int32
	off, addr     uint64
	n, opFlags    uint32
	data          uint64
	_             [3]uint64
}

type ringCQE struct {
	data  uint64
	res   int32
	flags uint32
}

// newRing makes a ring, or says why there cannot be one: ENOSYS for a kernel without it or one older than 5.6, EPERM if it is
// forbidden, ENOMEM.
func newRing(fs *files) (fileBackend, abi.Errno) {
	var p ringParams
	fd, _, err := unix.Syscall(unix.SYS_IO_URING_SETUP, ringEntries, uintptr(unsafe.Pointer(&p)), 0) // always close-on-exec
	if err != 0 {
		return nil, err
	}
	r := &ring{fs: fs, ringFd: int(fd)}
	if p.features&ringFeatures != ringFeatures {
		r.close()
		return nil, unix.ENOSYS
	}
	r.memLen = max(uintptr(p.sq.array)+uintptr(p.sqEntries)*4, uintptr(p.cq.cqes)+uintptr(p.cqEntries)*sizeofCQE)
	r.sqesLen = uintptr(p.sqEntries) * sizeofSQE
	if r.mem, err = r.mmap(ringOffRings, r.memLen); err == 0 {
		r.sqes, err = r.mmap(ringOffSQEs, r.sqesLen)
	}
	if err != 0 {
		r.close()
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

func (r *ring) mmap(off int64, n uintptr) (unsafe.Pointer, abi.Errno) {
	p, err := unix.MmapPtr(r.ringFd, off, nil, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, errnoOf(err)
	}
	// A child process must not write to it.
	_ = unix.Madvise(unsafe.Slice((*byte)(p), n), unix.MADV_DONTFORK)
	return p, 0
}

func (r *ring) fd() int { return r.ringFd }

func (r *ring) close() {
	if r.sqes != nil {
		_ = unix.MunmapPtr(r.sqes, r.sqesLen)
	}
	if r.mem != nil {
		_ = unix.MunmapPtr(r.mem, r.memLen)
	}
	_ = unix.Close(r.ringFd)
}

// room leaves half of the completion ring, which has two places for each of the submission ring, to other entries.
func (r *ring) room() bool { return r.unanswered < int(r.sqEntries) && r.sqRoom() }

// sqRoom tells whether the submission ring has a free place, or can be given one.
func (r *ring) sqRoom() bool {
	if *r.sqTail-atomic.LoadUint32(r.sqHead) < r.sqEntries {
		return true
	}
	r.flush()
	return *r.sqTail-atomic.LoadUint32(r.sqHead) < r.sqEntries
}

func (r *ring) put(e ringSQE) {
	*(*ringSQE)(unsafe.Add(r.sqes, (*r.sqTail&r.sqMask)*sizeofSQE)) = e
	atomic.StoreUint32(r.sqTail, *r.sqTail+1)
	r.unflushed++
	r.unanswered++
}

func (r *ring) start(f *file) {
	q := &f.req
	e := ringSQE{opcode: opRead, fd: int32(f.fd), off: uint64(q.off), addr: uint64(q.iov[0].base), n: uint32(q.n), data: uint64(f.index)}
	switch {
	case q.niov > 1:
		e.opcode, e.addr, e.n = opWritev, uint64(uintptr(unsafe.Pointer(&q.iov[0]))), uint32(q.niov)
	case q.write:
		e.opcode = opWrite
	}
	if q.async {
		e.flags = sqeAsync
	}
	r.put(e)
}

// flush lets the kernel take what has been put. What it does not take now, for want of memory, is offered again.
func (r *ring) flush() {
	if r.unflushed > 0 {
		r.enter(0, 0)
	}
}

func (r *ring) enter(wait, flags uintptr) {
	n, _, err := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.ringFd), uintptr(r.unflushed), wait, flags, 0, 0)
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
func (r *ring) reject(err abi.Errno) {
	for r.unflushed > 0 {
		r.unflushed--
		r.unanswered--
		tail := *r.sqTail - 1
		atomic.StoreUint32(r.sqTail, tail)
		if data := (*ringSQE)(unsafe.Add(r.sqes, (tail&r.sqMask)*sizeofSQE)).data; data != noData {
			r.fs.slots[data].ended(-int32(err))
		}
	}
}

// poll costs no system call unless there is something to submit.
func (r *ring) poll() {
	r.flush()
	head, tail := *r.cqHead, atomic.LoadUint32(r.cqTail)
	for ; head != tail; head++ {
		c := *(*ringCQE)(unsafe.Add(r.cqes, (head&r.cqMask)*sizeofCQE))
		atomic.StoreUint32(r.cqHead, head+1)
		r.unanswered--
		if c.data != noData {
			r.fs.slots[c.data].ended(c.res)
		}
	}
}

func (r *ring) cancel(f *file) {
	if r.sqRoom() {
		r.put(ringSQE{opcode: opAsyncCancel, fd: -1, addr: uint64(f.index), data: noData})
	}
}

// wait returns early if a signal comes.
func (r *ring) wait() {
	if *r.cqHead == atomic.LoadUint32(r.cqTail) {
		r.enter(1, ringGetEvents)
	}
	r.poll()
}

// arm has little to do: the ring is readable as long as there are completions.
func (r *ring) arm(now bool) {
	if now && r.sqRoom() {
		r.put(ringSQE{opcode: opNop, data: noData})
		r.flush()
	}
}
