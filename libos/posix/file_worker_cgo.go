package posix

/*
#cgo CFLAGS: -std=c99 -O2 -Wall -Wextra -Werror
#include "file_worker.h"
*/
import "C"

import (
	"sync/atomic"
	"unsafe"

	"github.com/libdmtr/libdmtr/runtime/abi"
)

// worker serves files by a thread in C. A goroutine could not do: after a fork there is no Go scheduler to run it.
type worker struct {
	fs    *files
	c     *C.struct_worker
	spare []int32 // places in c.req that are free
	seen  uint32  // how many of c.finished have been taken
	armed bool
}

func newWorker(fs *files) (fileBackend, abi.Errno) {
	w := &worker{fs: fs, spare: make([]int32, C.WORKER_REQUESTS)}
	if rc := C.worker_new(&w.c); rc != 0 {
		return nil, abi.Errno(rc)
	}
	for i := range w.spare {
		w.spare[i] = int32(i)
	}
	return w, 0
}

func (w *worker) room() bool { return len(w.spare) > 0 }

func (w *worker) start(f *file) {
	q := &f.req
	q.place = w.spare[len(w.spare)-1]
	w.spare = w.spare[:len(w.spare)-1]
	r := &w.c.req[q.place]
	*(*[abi.MaxSegs]ioVec)(unsafe.Pointer(&r.iov)) = q.iov
	r.niov, r.fd, r.off, r.file = C.int(q.niov), C.int(f.fd), C.int64_t(q.off), C.uint32_t(f.index)
	r.write = 0
	if q.write {
		r.write = 1
	}
	C.worker_start(w.c, C.int(q.place))
}

func (w *worker) flush() {}

// poll looks at the thread's counter first, which costs nothing.
func (w *worker) poll() {
	if w.armed {
		w.armed = false
		C.worker_disarm(w.c)
	}
	if atomic.LoadUint32((*uint32)(&w.c.finished)) == w.seen {
		return
	}
	for i := C.worker_take(w.c); i >= 0; {
		r := &w.c.req[i]
		f, res, next := w.fs.slots[r.file], int32(r.res), r.next
		w.spare = append(w.spare, int32(i))
		w.seen++
		f.ended(res)
		i = next
	}
}

func (w *worker) cancel(f *file) { C.worker_cancel(w.c, C.int(f.req.place)) }

func (w *worker) wait() {
	C.worker_wait(w.c)
	w.poll()
}

func (w *worker) arm(now bool) {
	if (now || w.fs.busy > 0) && !w.armed {
		w.armed = true
		C.worker_arm(w.c, C.bool(now))
	}
}

func (w *worker) fd() int { return int(w.c.event) }

func (w *worker) close() { C.worker_delete(w.c) }
