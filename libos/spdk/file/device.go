// Package file is a drive that is a regular file or a block device of the kernel, read and written by io_uring.
//
// Open in open.go says what is taken; this file has what happens to a Request. The page cache is passed by (O_DIRECT); a file system
// that cannot do that, as tmpfs on older kernels, gets ordinary writes. A durable write is one with RWF_DSYNC, as if fdatasync(2)
// followed it: the data, and what is needed to find them, are where no loss of power takes them. The file must not be made shorter
// meanwhile; what lies behind its end then gives EIO.
package file

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/uring"
	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

const (
	// tries is how often a request is begun again that the kernel gave up for reasons of its own.
	tries = 100
	// closeLimit bounds how long Close waits.
	closeLimit = 10 * time.Second
)

// Device is an open file.
type Device struct {
	ring     *uring.Ring
	fd       int
	readOnly bool
	direct   bool
	align    uint32 // of buffers
	info     block.Info
	slots    []slot
	spare    []uint32
	again    list // requests to be begun again
	ended    list // requests to be reported
}

// slot is a request under way.
type slot struct {
	r     *block.Request
	done  uint32 // bytes that went already
	tries int
}

// list is a first-in, first-out list of requests.
type list struct{ head, tail *block.Request }

func (l *list) add(r *block.Request) {
	r.Next = nil
	if l.tail == nil {
		l.head = r
	} else {
		l.tail.Next = r
	}
	l.tail = r
}

func (l *list) take() *block.Request {
	r := l.head
	if l.head = r.Next; l.head == nil {
		l.tail = nil
	}
	r.Next = nil
	return r
}

// Info implements block.Device.
func (d *Device) Info() block.Info { return d.info }

// Fd implements block.Device.
func (d *Device) Fd() int { return d.ring.FD() }

// Submit implements block.Device. EROFS: it would change what was opened for reading.
func (d *Device) Submit(r *block.Request) abi.Errno {
	if len(d.spare) == 0 {
		return unix.EAGAIN
	}
	if err := d.check(r); err != 0 {
		return err
	}
	i := d.spare[len(d.spare)-1]
	d.spare = d.spare[:len(d.spare)-1]
	d.slots[i] = slot{r: r}
	r.Slot, r.Err = i, 0
	d.begin(r)
	return 0
}

func (d *Device) check(r *block.Request) abi.Errno {
	n := r.Count
	switch r.Op {
	case block.Flush:
		return 0
	case block.Read, block.Write:
		size := len(r.Buf)
		addr := uintptr(unsafe.Pointer(unsafe.SliceData(r.Buf)))
		if size == 0 || size > maxTransfer || size%int(d.info.BlockSize) != 0 || addr%uintptr(d.align) != 0 {
			return unix.EINVAL
		}
		n = uint64(size) / uint64(d.info.BlockSize)
	case block.Discard:
	default:
		return unix.EINVAL
	}
	switch {
	case r.Block > d.info.Blocks || n > d.info.Blocks-r.Block || n == 0:
		return unix.EINVAL
	case d.readOnly && r.Op != block.Read:
		return unix.EROFS
	}
	return 0
}

// begin puts what is left of a request on the ring, or on the list for later.
func (d *Device) begin(r *block.Request) {
	if !d.ring.Room() {
		d.again.add(r)
		return
	}
	s := &d.slots[r.Slot]
	e := uring.Entry{FD: int32(d.fd), Off: r.Block * uint64(d.info.BlockSize), Data: uint64(r.Slot)}
	switch r.Op {
	case block.Flush:
		e.Op, e.Off, e.OpFlag = uring.OpFsync, 0, uring.FsyncData
	case block.Discard: // the length and the mode have each other's places
		e.Op, e.Addr, e.N = uring.OpFallocate, r.Count*uint64(d.info.BlockSize), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE
	default:
		rest := r.Buf[s.done:]
		e.Op, e.Off = uring.OpRead, e.Off+uint64(s.done)
		e.Addr, e.N = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(rest)))), uint32(len(rest))
		if r.Op == block.Write {
			e.Op = uring.OpWrite
			if r.Durable {
				e.OpFlag = unix.RWF_DSYNC
			}
		}
	}
	d.ring.Put(e)
}

// Ended implements uring.Owner.
func (d *Device) Ended(data uint64, res int32) {
	s := &d.slots[data]
	r := s.r
	moves := r.Op == block.Read || r.Op == block.Write
	switch err := abi.Errno(-res); {
	case res > 0 && moves:
		if s.done += uint32(res); int(s.done) < len(r.Buf) {
			d.again.add(r)
			return
		}
	case res >= 0:
		if moves { // behind the end of a file that has become shorter
			r.Err = unix.EIO
		}
	case r.Op == block.Discard && err == unix.EOPNOTSUPP: // nobody needs the blocks, so they may as well stay
	case err == unix.EINTR || err == unix.ECANCELED || err == unix.EAGAIN:
		// The thread that began it has ended, or the kernel lacked something.
		if s.tries++; s.tries < tries {
			d.again.add(r)
			return
		}
		r.Err = unix.EIO
	default:
		r.Err = ofDrive(err)
	}
	d.ended.add(r)
}

// ofDrive is the errno of a drive for one of the kernel's.
func ofDrive(err abi.Errno) abi.Errno {
	switch err {
	case unix.ENOSPC, unix.EDQUOT, unix.EFBIG:
		return unix.ENOSPC
	case unix.ENODEV, unix.ENXIO, unix.ENOMEDIUM, unix.EBADF:
		return unix.ENODEV
	case unix.ETIMEDOUT:
		return unix.ETIMEDOUT
	}
	return unix.EIO
}

// flush lets the kernel know of what waits for that.
func (d *Device) flush() {
	for r := d.again.head; r != nil && d.ring.Room(); r = d.again.head {
		d.begin(d.again.take())
	}
	d.ring.Flush()
}

// Poll implements block.Device.
func (d *Device) Poll() {
	d.flush()
	d.ring.Poll()
	if d.ended.head == nil {
		return
	}
	for d.ended.head != nil {
		r := d.ended.take()
		d.slots[r.Slot].r = nil
		d.spare = append(d.spare, r.Slot)
		r.Owner.Done(r)
	}
	d.flush()
}

// Arm implements block.Device.
func (d *Device) Arm() {
	d.flush()
	if d.ended.head != nil || d.again.head != nil {
		d.ring.Wake()
	}
}

// Close implements block.Device. Nobody is told of what ends meanwhile. If the kernel does not answer for ten seconds, it is left with
// what it has.
func (d *Device) Close() {
	for limit := time.Now().Add(closeLimit); ; {
		d.flush()
		d.ring.Poll()
		for d.ended.head != nil {
			d.spare = append(d.spare, d.ended.take().Slot)
		}
		if len(d.spare) == len(d.slots) || time.Now().After(limit) {
			break
		}
		if d.again.head == nil {
			fds := [1]unix.PollFd{{Fd: int32(d.ring.FD()), Events: unix.POLLIN}}
			_, _ = unix.Poll(fds[:], 10)
		}
	}
	if len(d.spare) == len(d.slots) { // else the lock goes when the kernel is done
		_ = unix.FcntlFlock(uintptr(d.fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
	}
	d.ring.Close()
	_ = unix.Close(d.fd)
}
