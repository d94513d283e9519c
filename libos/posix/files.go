package posix

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
)

// files is what all file queues of a LibOS share. It exists from the first open on.
type files struct {
	os    *LibOS
	be    fileBackend
	place int32   // of the backend's descriptor in LibOS.watched
	slots []*file // by file.index, which backends use as a name
	spare []uint32
	run   fileList // files that could give the backend a request
	busy  int      // requests that the backend has
}

// fileBackend does reads and writes. It reports the end of each by file.ended, during poll or wait.
type fileBackend interface {
	// room tells whether start may be called.
	room() bool
	// start takes the request in f.req; flush passes on what has been started.
	start(f *file)
	flush()
	// poll handles the requests that have ended.
	poll()
	// cancel asks for an early end of f's request.
	cancel(f *file)
	// wait sleeps until a request ends. At least one must be under way.
	wait()
	// arm sees to it that fd becomes readable when a request ends or has ended, or at once.
	arm(now bool)
	fd() int
	close()
}

// startFiles makes the ring or, where the kernel or the configuration does not allow it, the worker thread.
func (o *LibOS) startFiles() (*files, abi.Errno) {
	if o.files != nil {
		return o.files, 0
	}
	fs := &files{os: o}
	err := abi.Errno(unix.ENOSYS)
	if o.cfg.Posix.IOUring {
		fs.be, err = newRing(fs)
	}
	if err == unix.ENOSYS || err == unix.EPERM || err == unix.ENOMEM {
		fs.be, err = newWorker(fs)
	}
	if err != 0 {
		return nil, err
	}
	// Poll asks the backend itself, and needs no look at the epoll set for it.
	place, err := o.add(fs.be.fd(), fs, unix.EPOLLIN)
	if err != 0 {
		fs.be.close()
		return nil, err
	}
	fs.place = place
	o.files = fs
	return fs, 0
}

func (fs *files) close() {
	fs.os.remove(fs.be.fd(), fs.place)
	fs.be.close()
	fs.os.files = nil
}

// pending tells whether poll could have anything to do.
func (fs *files) pending() bool { return fs.busy > 0 || fs.run.head != nil }

// poll handles what has ended and starts what can be.
func (fs *files) poll() {
	fs.be.poll()
	if fs.run.head != nil {
		fs.submit()
		fs.be.poll() // much is in the page cache, and done at once
	}
}

func (fs *files) submit() {
	for fs.run.head != nil && fs.be.room() {
		f := fs.run.head
		fs.run.remove(f)
		f.state = fileIdle
		f.begin()
	}
	fs.be.flush()
}

func (fs *files) arm() {
	seq := fs.os.eng.Control().Seq
	fs.submit()
	// What has completed just now, without the help of the kernel, must not be slept over.
	fs.be.arm(fs.os.eng.Control().Seq != seq)
}

// ready implements pollable.
func (fs *files) ready(uint32) { fs.poll() }

// enter and leave give f its index.
func (fs *files) enter(f *file) {
	f.Forgets = true // it keeps its position instead
	if n := len(fs.spare); n > 0 {
		f.index = fs.spare[n-1]
		fs.spare = fs.spare[:n-1]
		fs.slots[f.index] = f
		return
	}
	f.index = uint32(len(fs.slots))
	fs.slots = append(fs.slots, f)
}

func (fs *files) leave(f *file) {
	fs.slots[f.index] = nil
	fs.spare = append(fs.spare, f.index)
}

// fileList is a first-in, first-out list of files.
type fileList struct{ head, tail *file }

func (l *fileList) add(f *file) {
	f.prev, f.next = l.tail, nil
	if l.tail == nil {
		l.head = f
	} else {
		l.tail.next = f
	}
	l.tail = f
}

func (l *fileList) remove(f *file) {
	if f.prev == nil {
		l.head = f.next
	} else {
		f.prev.next = f.next
	}
	if f.next == nil {
		l.tail = f.prev
	} else {
		f.next.prev = f.prev
	}
	f.next, f.prev = nil, nil
}
