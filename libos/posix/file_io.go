package posix

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/engine"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// asyncBytes is the size from which on copying takes longer than to hand the request to another thread.
const asyncBytes = 256 << 10

// kick sees to it that the oldest operation, if any, gets its request.
func (f *file) kick() {
	if f.state == fileIdle && !f.Pushes.Empty() {
		f.state = fileReady
		f.fs.run.add(f)
	}
}

// begin hands the oldest operation to the backend, or completes what needs none. f is idle, and there is room.
func (f *file) begin() {
	for op := f.Pushes.Head(); op != nil; op = f.Pushes.Head() {
		if op.Opcode() == abi.OpPush {
			if op.Sent == op.SGA().Len() {
				op.Complete(0)
				continue
			}
			f.prepareWrite(op)
		} else if f.kept != nil {
			f.popKept(op)
			continue
		} else if !f.prepareRead(op.Count()) {
			op.Complete(unix.ENOMEM)
			continue
		}
		f.state = fileBusy
		f.fs.busy++
		f.fs.be.start(f)
		return
	}
}

func (f *file) prepareRead(n uint32) bool {
	block := mem.Alloc(uint64(n))
	if block == nil {
		return false
	}
	r := &f.req
	r.write, r.block, r.n, r.niov = false, block, uint64(n), 1
	r.iov[0] = ioVec{abi.PtrTo(block), uint64(n)}
	r.async = n >= asyncBytes
	r.off = f.pos
	if f.stream {
		r.off = atKernelPos
	}
	return true
}

// prepareWrite asks for what is left of a push.
func (f *file) prepareWrite(op *engine.Op) {
	r, sga, skip := &f.req, op.SGA(), op.Sent
	r.write, r.block, r.n, r.niov = true, nil, 0, 0
	for i := uint32(0); i < sga.NumSegs; i++ {
		seg := &sga.Segs[i]
		n := uint64(seg.Len)
		if skip >= n {
			skip -= n
			continue
		}
		r.iov[r.niov] = ioVec{seg.Buf + abi.Ptr(skip), n - skip}
		r.n += n - skip
		r.niov++
		skip = 0
	}
	r.async = r.n >= asyncBytes || (!f.device && fileSizeLimited())
	r.off = f.pos
	if f.append || f.stream {
		r.off = atKernelPos
	}
}

// fileSizeLimited tells whether a write may end in SIGXFSZ. Threads other than the program's have it blocked.
func fileSizeLimited() bool {
	var lim unix.Rlimit
	_, _, err := unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_FSIZE, 0, uintptr(unsafe.Pointer(&lim)), 0, 0)
	return err != 0 || lim.Cur != unix.RLIM_INFINITY
}

// ended is called by the backend with the result of f's request: bytes, or an errno below zero.
func (f *file) ended(res int32) {
	f.state = fileIdle
	f.fs.busy--
	if f.stopping {
		f.res = res
		return
	}
	f.finish(f.Pushes.Head(), res)
	f.kick()
}

// finish completes op according to the result of its request, unless it has to go on with another one.
func (f *file) finish(op *engine.Op, res int32) {
	switch {
	case res == -int32(unix.EAGAIN):
		f.dropRead()
		f.await(op)
	case res == -int32(unix.EINTR), res == -int32(unix.ECANCELED):
		// Nobody here has asked for it: the thread that started the request has ended.
		f.dropRead()
	case res < 0:
		f.dropRead()
		op.Complete(abi.Errno(-res))
	case op.Opcode() == abi.OpPop:
		f.pos += int64(res)
		block := f.takeRead(uint32(res))
		op.PoppedBlock(block, uint32(res), true)
	case res == 0: // cannot be, and must not go on for ever
		op.Complete(unix.EIO)
	default:
		f.wrote(op, res)
		if op.Sent == op.SGA().Len() {
			op.Complete(0)
		}
	}
}

// wrote notes that a push got n bytes further.
func (f *file) wrote(op *engine.Op, n int32) {
	op.Sent += uint64(n)
	f.pos += int64(n)
	if f.append && !f.stream {
		if pos, err := unix.Seek(f.fd, 0, unix.SEEK_CUR); err == nil {
			f.pos = pos
		}
	}
}

// takeRead gives the block of a read of n bytes, less what was not needed.
func (f *file) takeRead(n uint32) unsafe.Pointer {
	const worth = 256
	block := f.req.block
	f.req.block = nil
	if f.req.n-uint64(n) >= worth {
		if p := mem.Realloc(block, uint64(max(n, 1))); p != nil {
			block = p
		}
	}
	return block
}

func (f *file) dropRead() {
	if f.req.block != nil {
		mem.Free(f.req.block)
		f.req.block = nil
	}
}

// unread handles the result of a read whose pop is given up. A stream cannot be read twice, so keep what it gave.
func (f *file) unread(res int32) {
	if !f.stream || res <= 0 {
		f.dropRead()
		return
	}
	f.kept = unsafe.Slice((*byte)(f.takeRead(uint32(res))), res)
}

func (f *file) popKept(op *engine.Op) {
	n := min(op.Count(), uint32(len(f.kept)))
	block := mem.Alloc(uint64(n))
	if block == nil {
		op.Complete(unix.ENOMEM)
		return
	}
	copy(unsafe.Slice((*byte)(block), n), f.kept)
	if rest := copy(f.kept, f.kept[n:]); rest > 0 {
		f.kept = f.kept[:rest]
	} else {
		mem.Free(unsafe.Pointer(unsafe.SliceData(f.kept)))
		f.kept = nil
	}
	op.PoppedBlock(block, n, true)
}

// await waits until a device is ready for op. If that cannot be watched, op is simply tried again.
func (f *file) await(op *engine.Op) {
	events := uint32(unix.EPOLLIN)
	if op.Opcode() == abi.OpPush {
		events = unix.EPOLLOUT
	}
	if !f.device {
		return
	}
	if place, err := f.fs.os.watch(f.fd, f, events); err == 0 {
		f.place, f.state = place, fileWaiting
	}
}

// ready implements pollable.
func (f *file) ready(uint32) {
	f.fs.os.unwatch(f.fd, f.place)
	f.state = fileIdle
	f.kick()
}

// stop takes the oldest operation back from wherever it is. If its request had to be awaited, the result counts.
func (f *file) stop() (res int32) {
	switch f.state {
	case fileReady:
		f.fs.run.remove(f)
	case fileWaiting:
		f.fs.os.unwatch(f.fd, f.place)
	case fileBusy:
		f.stopping = true
		f.fs.be.cancel(f)
		for f.state == fileBusy {
			f.fs.be.wait()
		}
		f.stopping = false
		return f.res
	}
	f.state = fileIdle
	return 0
}

// drain waits until all operations are done.
func (f *file) drain() {
	for !f.Pushes.Empty() {
		f.fs.poll()
		switch f.state {
		case fileReady, fileBusy:
			if f.fs.busy > 0 {
				f.fs.be.wait()
			}
		case fileWaiting:
			events := int16(unix.POLLIN)
			if f.Pushes.Head().Opcode() == abi.OpPush {
				events = unix.POLLOUT
			}
			fds := [1]unix.PollFd{{Fd: int32(f.fd), Events: events}}
			if n, _ := unix.Poll(fds[:], -1); n > 0 {
				f.ready(0)
			}
		}
	}
}
