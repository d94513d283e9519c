package uring

// From linux/io_uring.h, which golang.org/x/sys/unix leaves out.
const (
	features  = 1<<0 | 1<<1 | 1<<2 | 1<<3 // SINGLE_MMAP NODROP SUBMIT_STABLE RW_CUR_POS: Linux 5.6, as READ and WRITE
	offRings  = 0
	offSQEs   = 0x10000000
	getEvents = 1 << 0
	sizeofSQE = 64
	sizeofCQE = 16
)

// Values of Entry.Op.
const (
	OpNop         = 0
	OpWritev      = 2
	OpFsync       = 3
	OpAsyncCancel = 14
	OpFallocate   = 17
	OpRead        = 22
	OpWrite       = 23
)

// Async is a flag of an Entry that is not to be done by the thread that submits it.
const Async = 1 << 4

// FsyncData is an OpFlag of OpFsync: fdatasync(2).
const FsyncData = 1 << 0

// NoData is in the entries of whose end nobody is told.
const NoData = ^uint64(0)

// Entry is struct io_uring_sqe, as far as it is needed here.
type Entry struct {
	Op, Flags uint8
	ioprio    uint16
	FD        int32
	Off, Addr uint64
	N, OpFlag uint32
	Data      uint64 // given back with the result; NoData, or what the owner likes
	_         [3]uint64
}

type params struct {
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

type result struct {
	data  uint64
	res   int32
	flags uint32
}
