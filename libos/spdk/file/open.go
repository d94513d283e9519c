package file

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/uring"
	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

const (
	depth       = 64
	maxTransfer = 1 << 20
	// leastBlock is that of regular files: what file systems write at once, whatever the drive below them can do.
	leastBlock = 4096
	mostBlock  = 64 << 10
	// busyTries times busyNanos is how long Open waits for others.
	busyTries = 25
	busyNanos = 10e6
)

// Open opens a regular file or a block device for this process alone, and for reading only if it is told so: writes and discards then
// give EROFS. The size is that of the file as it is. Errors wrap an errno: EBUSY if another process, or the kernel, uses the file or
// device; ENOTSUP if it is of another kind, or its blocks are larger than 64 KiB; EINVAL for one without a whole block; ENOSYS or
// EPERM where there is no io_uring or it is not allowed; those of open(2).
//
// A process that is forked has a copy of the descriptor, and so a part in the lock. Until it has ended too, or has called exec, the
// file stays in use.
//
// A process that has been killed may have the file for a moment still, while the kernel is at its last writes: Open waits a little.
func Open(path string, readOnly bool) (*Device, error) {
	for try := 0; ; try++ {
		d, err := openOnce(path, readOnly)
		if try == busyTries || !errors.Is(err, unix.EBUSY) {
			return d, err
		}
		// time.Sleep needs Go's scheduler, which a child process has not.
		_ = unix.Nanosleep(&unix.Timespec{Nsec: busyNanos}, nil)
	}
}

func openOnce(path string, readOnly bool) (*Device, error) {
	d := &Device{readOnly: readOnly}
	var err error
	if d.fd, d.direct, err = open(path, readOnly); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := d.setUp(); err != nil {
		_ = unix.Close(d.fd)
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

// open opens the file, around the page cache if its file system can do that.
func open(path string, readOnly bool) (fd int, direct bool, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil { // opening a device of another kind might do something
		return -1, false, err
	}
	if t := st.Mode & unix.S_IFMT; t != unix.S_IFREG && t != unix.S_IFBLK {
		return -1, false, fmt.Errorf("neither a regular file nor a block device: %w", unix.ENOTSUP)
	}
	// O_EXCL is for block devices: nobody else who says so, and no file system, has it then. Files do not know it.
	flags := unix.O_RDWR | unix.O_EXCL | unix.O_CLOEXEC | unix.O_NOCTTY
	if readOnly {
		flags = flags&^unix.O_RDWR | unix.O_RDONLY
	}
	for _, direct := range []int{unix.O_DIRECT, 0} {
		for fd, err = -1, unix.EINTR; err == unix.EINTR; {
			fd, err = unix.Open(path, flags|direct, 0)
		}
		if err != unix.EINVAL {
			return fd, direct != 0, err
		}
	}
	return -1, false, err
}

func (d *Device) setUp() error {
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		return err
	}
	if err := d.lock(); err != nil {
		return err
	}
	var size uint64
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		size = uint64(st.Size)
		d.info.BlockSize, d.align = d.fileBlock()
		err = fileSizeLimit(size)
	case unix.S_IFBLK:
		size, err = d.deviceSize()
	default:
		err = unix.ENOTSUP
	}
	if err != nil {
		return err
	}
	b := d.info.BlockSize
	if b < 512 || b > mostBlock || b&(b-1) != 0 {
		return fmt.Errorf("blocks of %d bytes: %w", b, unix.ENOTSUP)
	}
	if d.info.Blocks = size / uint64(b); d.info.Blocks == 0 {
		return fmt.Errorf("no room for a block of %d bytes: %w", b, unix.EINVAL)
	}
	d.info.MaxTransfer, d.info.Depth = maxTransfer, depth
	d.slots, d.spare = make([]slot, depth), make([]uint32, depth)
	for i := range d.spare {
		d.spare[i] = uint32(i)
	}
	var no abi.Errno
	if d.ring, no = uring.New(depth, d); no != 0 {
		return fmt.Errorf("io_uring: %w", no)
	}
	return nil
}

// lock keeps other processes out, and another Device of this one. It is tied to the open file, so that it outlasts the process for as
// long as the kernel is at the last writes.
func (d *Device) lock() error {
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if d.readOnly {
		l.Type = unix.F_RDLCK
	}
	err := unix.FcntlFlock(uintptr(d.fd), unix.F_OFD_SETLK, &l)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("in use: %w", unix.EBUSY)
	}
	return err
}

// fileBlock is the size of the blocks of a regular file, and what buffers must be aligned to.
func (d *Device) fileBlock() (size, align uint32) {
	var sx unix.Statx_t
	err := unix.Statx(d.fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &sx)
	if !d.direct || err != nil || sx.Mask&unix.STATX_DIOALIGN == 0 || sx.Dio_offset_align == 0 {
		return leastBlock, 512
	}
	return max(leastBlock, sx.Dio_offset_align), max(1, sx.Dio_mem_align)
}

func (d *Device) deviceSize() (size uint64, err error) {
	b, err := unix.IoctlGetInt(d.fd, unix.BLKSSZGET)
	if err != nil {
		return 0, err
	}
	d.info.BlockSize, d.align = uint32(b), 512
	if _, _, no := unix.Syscall(unix.SYS_IOCTL, uintptr(d.fd), unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&size))); no != 0 {
		return 0, no
	}
	return size, nil
}

// fileSizeLimit sees to it that no write within the file ends the process with SIGXFSZ.
func fileSizeLimit(size uint64) error {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &lim); err == nil && lim.Cur < size {
		return fmt.Errorf("larger than the limit on file sizes allows: %w", unix.EFBIG)
	}
	return nil
}

// Alloc implements block.Device. The memory is not in child processes: a copy made by a fork while the kernel is at the pages would
// part the program from what it reads.
func (d *Device) Alloc(n int) []byte {
	if n <= 0 {
		return nil
	}
	p := mem.Map(uintptr(n))
	if p == nil {
		return nil
	}
	buf := unsafe.Slice((*byte)(p), n)
	_ = unix.Madvise(buf, unix.MADV_DONTFORK)
	return buf
}

// Free implements block.Device.
func (d *Device) Free(buf []byte) {
	if len(buf) > 0 {
		mem.Unmap(unsafe.Pointer(unsafe.SliceData(buf)), uintptr(len(buf)))
	}
}

var _ block.Device = (*Device)(nil)
