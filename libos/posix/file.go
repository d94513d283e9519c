package posix

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/engine"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// file is a file queue. Its operations run one at a time in the order they came, pushes and pops alike, so all are on
// the list of pushes, and only the oldest ever has a request under way. What the requests do is in file_io.go.
type file struct {
	engine.QueueBase
	fs     *files
	fd     int
	index  uint32 // in files.slots
	pos    int64  // kept here, not in the kernel, so that a read that is given up leaves no trace
	readOK bool
	wrtOK  bool
	append bool // pushes go where the kernel sees the end
	stream bool // has no positions: a terminal
	device bool // a character device, in non-blocking mode

	state      fileState
	next, prev *file  // on files.run
	place      int32  // in LibOS.watched, while fileWaiting
	req        ioReq  // while fileBusy
	res        int32  // its result, once it has ended while stopping
	stopping   bool   // somebody waits for the request to end, and will look at res
	kept       []byte // what a dropped pop had read from a stream; kept[0] begins a block of mem
}

type fileState uint8

const (
	fileIdle    fileState = iota // no request; nothing to do, unless an operation has been cancelled
	fileReady                    // on files.run
	fileBusy                     // the request is with the backend
	fileWaiting                  // the device was not ready; the epoll set watches it
)

// ioReq is one read or write for a backend.
type ioReq struct {
	write bool
	async bool // not to be done by the calling thread
	off   int64
	n     uint64 // bytes in iov
	niov  int
	iov   [abi.MaxSegs]ioVec
	block unsafe.Pointer // of a read
	place int32          // of the worker's copy
}

// ioVec is struct iovec.
type ioVec struct {
	base abi.Ptr
	n    uint64
}

// atKernelPos as an offset means the position that the kernel keeps.
const atKernelPos = -1

// openFile opens a file as open(2) does, but for its type.
func (o *LibOS) openFile(a *engine.Args) (engine.Queue, abi.Errno) {
	// To open a pipe could take for ever.
	var st unix.Stat_t
	path, err := o.cPath(a.Path)
	if err != 0 {
		return nil, err
	}
	if a.Flags&unix.O_TMPFILE != unix.O_TMPFILE && stat(path, &st) == 0 && !fileType(st.Mode) {
		return nil, unix.ENOTSUP
	}
	fs, err := o.startFiles()
	if err != 0 {
		return nil, err
	}
	fd, err := open(path, a.Flags|unix.O_CLOEXEC, a.Mode)
	if err != 0 {
		return nil, err
	}
	f, err := fs.add(fd, a.Flags)
	if err != 0 {
		_ = unix.Close(fd)
		return nil, err
	}
	return f, 0
}

func fileType(mode uint32) bool {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFBLK, unix.S_IFCHR:
		return true
	}
	return false
}

// cPath is a path as system calls want it. Those of package unix would make garbage of it.
func (o *LibOS) cPath(path string) (*byte, abi.Errno) {
	if len(path) >= len(o.path) {
		return nil, unix.ENAMETOOLONG
	}
	o.path[copy(o.path[:], path)] = 0
	return &o.path[0], 0
}

func stat(path *byte, st *unix.Stat_t) abi.Errno {
	cwd := unix.AT_FDCWD
	_, _, err := unix.Syscall6(unix.SYS_NEWFSTATAT, uintptr(cwd), uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(st)), 0, 0, 0)
	return err
}

func open(path *byte, flags int, mode uint32) (int, abi.Errno) {
	cwd := unix.AT_FDCWD
	for {
		fd, _, err := unix.Syscall6(unix.SYS_OPENAT, uintptr(cwd), uintptr(unsafe.Pointer(path)), uintptr(flags|unix.O_LARGEFILE), uintptr(mode), 0, 0)
		if err != unix.EINTR {
			return int(fd), err
		}
	}
}

// add makes a queue of an open file.
func (fs *files) add(fd, flags int) (*file, abi.Errno) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, errnoOf(err)
	}
	if !fileType(st.Mode) {
		return nil, unix.ENOTSUP
	}
	acc := flags & unix.O_ACCMODE
	path := flags&unix.O_PATH != 0
	device, stream := st.Mode&unix.S_IFMT == unix.S_IFCHR, false
	if !path {
		_, err := unix.Seek(fd, 0, unix.SEEK_CUR)
		stream = err == unix.ESPIPE
		// Waiting for a device is for the epoll set. Other files never make one wait for long, and with O_NONBLOCK the
		// ring would report that data is not cached.
		if err := unix.SetNonblock(fd, device); err != nil {
			return nil, errnoOf(err)
		}
	}
	f := fs.os.fileQueues.Get()
	f.fs, f.fd, f.device, f.stream = fs, fd, device, stream
	f.readOK = (acc == unix.O_RDONLY || acc == unix.O_RDWR) && !path
	f.wrtOK = (acc == unix.O_WRONLY || acc == unix.O_RDWR) && !path
	f.append = flags&unix.O_APPEND != 0
	fs.enter(f)
	return f, 0
}

// Push implements engine.Queue.
func (f *file) Push(op *engine.Op) abi.Errno {
	if !f.wrtOK {
		return unix.EBADF
	}
	if op.SGA().Len() > uint64(f.fs.os.cfg.Limits.MaxMessage) {
		return unix.EMSGSIZE
	}
	f.Pushes.Add(op)
	f.kick()
	return 0
}

// Pop implements engine.Queue.
func (f *file) Pop(op *engine.Op) abi.Errno {
	if !f.readOK {
		return unix.EBADF
	}
	if op.Count() == 0 {
		op.SetCount(uint32(f.fs.os.cfg.Limits.MaxPop))
	}
	f.Pushes.Add(op)
	f.kick()
	return 0
}

// Lseek implements engine.File. The kernel judges the arguments; its position counts for appends and streams only.
func (f *file) Lseek(offset int64, whence int) abi.Errno {
	if f.stream {
		return unix.ESPIPE
	}
	f.drain()
	if whence == unix.SEEK_CUR {
		if offset > 0 && f.pos+offset < 0 {
			return unix.EOVERFLOW
		}
		offset, whence = f.pos+offset, unix.SEEK_SET
	}
	pos, err := unix.Seek(f.fd, offset, whence)
	if err != nil {
		return errnoOf(err)
	}
	f.pos = pos
	return 0
}

// Cancel implements engine.Queue. An operation under way is stopped or, where that cannot be, awaited.
func (f *file) Cancel(op *engine.Op) {
	if op != f.Pushes.Head() {
		return
	}
	if res := f.stop(); op.Opcode() == abi.OpPop {
		f.unread(res)
	} else if res > 0 {
		f.wrote(op, res)
	}
	if op.Opcode() == abi.OpPush && op.Sent > 0 && op.Sent < op.SGA().Len() {
		// The rest goes the same way, from a copy. Without memory for one it is lost, as if the program had ended.
		op.Detach()
	}
	f.kick()
}

// Close implements engine.Queue. An operation whose end has come meanwhile keeps its result.
func (f *file) Close() {
	f.fs.be.poll()
	if f.state == fileBusy {
		if res := f.stop(); res != -int32(unix.ECANCELED) && res != -int32(unix.EINTR) {
			f.finish(f.Pushes.Head(), res)
		}
	}
	f.stop()
	f.dropRead()
	if f.kept != nil {
		mem.Free(unsafe.Pointer(unsafe.SliceData(f.kept)))
	}
	f.fs.leave(f)
	_ = unix.Close(f.fd)
}

// Recycle implements engine.Recycler.
func (f *file) Recycle() { f.fs.os.fileQueues.Put(f) }

// Trim implements engine.File: the file keeps its size, and its beginning becomes a hole. ENOTSUP: the file system knows none.
func (f *file) Trim(pos int64) abi.Errno {
	switch {
	case f.stream || f.device:
		return unix.ESPIPE
	case !f.wrtOK:
		return unix.EBADF
	}
	f.drain()
	end, err := unix.Seek(f.fd, 0, unix.SEEK_END)
	if err == nil && f.append {
		_, err = unix.Seek(f.fd, f.pos, unix.SEEK_SET)
	}
	switch {
	case err != nil:
		return errnoOf(err)
	case pos > end:
		return unix.EINVAL
	case pos == 0:
		return 0
	}
	for {
		switch err := unix.Fallocate(f.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, pos); err {
		case nil:
			return 0
		case unix.EINTR:
		default:
			return errnoOf(err)
		}
	}
}

// Unlink implements engine.Unlinker, as unlink(2).
func (o *LibOS) Unlink(path string) abi.Errno {
	if err := unix.Unlink(path); err != nil {
		return errnoOf(err)
	}
	return 0
}
