package posix

import (
	"unsafe"

	"github.com/libdmtr/libdmtr/libos/internal/uring"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// ring is the fileBackend by io_uring. Its entries have the index of their file as Data.
type ring struct {
	*uring.Ring
	fs *files
}

const ringEntries = 128

// newRing makes a ring, or says why there cannot be one, as uring.New does.
func newRing(fs *files) (fileBackend, abi.Errno) {
	r := &ring{fs: fs}
	var err abi.Errno
	if r.Ring, err = uring.New(ringEntries, r); err != 0 {
		return nil, err
	}
	return r, 0
}

// Ended implements uring.Owner.
func (r *ring) Ended(data uint64, res int32) { r.fs.slots[data].ended(res) }

func (r *ring) start(f *file) {
	q := &f.req
	e := uring.Entry{Op: uring.OpRead, FD: int32(f.fd), Off: uint64(q.off), Addr: uint64(q.iov[0].base), N: uint32(q.n), Data: uint64(f.index)}
	switch {
	case q.niov > 1:
		e.Op, e.Addr, e.N = uring.OpWritev, uint64(uintptr(unsafe.Pointer(&q.iov[0]))), uint32(q.niov)
	case q.write:
		e.Op = uring.OpWrite
	}
	if q.async {
		e.Flags = uring.Async
	}
	r.Put(e)
}

// arm has little to do: the ring is readable as long as there are completions.
func (r *ring) arm(now bool) {
	if now {
		r.Wake()
	}
}

func (r *ring) cancel(f *file) { r.Cancel(uint64(f.index)) }

func (r *ring) room() bool { return r.Room() }
func (r *ring) flush()     { r.Flush() }
func (r *ring) poll()      { r.Poll() }
func (r *ring) wait()      { r.Wait() }
func (r *ring) fd() int    { return r.FD() }
func (r *ring) close()     { r.Close() }
