// Package spdk is the libOS for files on a drive of the program's own: durable logs by name, without the kernel's file systems.
//
// New opens the drive that the configuration names (block.Device: package file or nvme) and mounts the store on it (package store).
// queue.go has the file queues. There are no sockets; a libOS for those goes beside it. docs/storage.md tells users what they get.
package spdk

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/libos/spdk/file"
	"github.com/libdmtr/libdmtr/libos/spdk/nvme"
	"github.com/libdmtr/libdmtr/libos/spdk/store"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
	"github.com/libdmtr/libdmtr/runtime/reuse"
)

// commandLimit bounds how long a call waits for the drive.
const commandLimit = 30 * time.Second

// LibOS is the spdk libOS.
type LibOS struct {
	cfg    *config.Config
	store  *store.Store
	event  int    // an eventfd: readable when Poll has work that the drive does not tell of
	woken  bool   // it is
	count  uint64 // what is written to it or read from it
	run    *queue // those whose oldest waiting operation may begin, linked by runNext
	pushes reuse.List[push]
	counts counters
}

type counters struct{ pushes, pushBytes, pops, popBytes, failed, open uint64 }

// New makes the libOS on the drive of the configuration. Errors wrap an errno: EINVAL if none is named, EMEDIUMTYPE if it is not
// formatted, those of file.Open and store.Mount.
func New(_ *engine.Engine, cfg *config.Config) (engine.LibOS, error) {
	dev, err := OpenDrive(&cfg.Spdk, false)
	if err != nil {
		return nil, err
	}
	l, err := NewOn(dev, cfg)
	if err != nil {
		dev.Close()
		return nil, fmt.Errorf("%s: %w", cfg.Spdk.DevAddr, err)
	}
	return l, nil
}

// OpenDrive opens the drive that the settings name, for reading only if it is told so.
func OpenDrive(c *config.Spdk, readOnly bool) (block.Device, error) {
	switch {
	case c.DevAddr == "":
		return nil, fmt.Errorf("spdk.devAddr names no drive: %w", unix.EINVAL)
	case c.Transport == config.SpdkPCIe:
		return openNVMe(c)
	case c.Transport != config.SpdkFile:
		return nil, fmt.Errorf("spdk.transport %q: %w", c.Transport, unix.EINVAL)
	}
	return file.Open(c.DevAddr, readOnly)
}

func openNVMe(c *config.Spdk) (block.Device, error) {
	dev, err := nvme.Open(nvme.Config{Address: c.DevAddr, Namespace: uint32(c.Namespace), AllowNoIOMMU: c.NoIOMMU})
	if err != nil {
		return nil, err
	}
	return dev, nil
}

// NewOn makes the libOS on a drive that is open, which it closes in the end. If it fails, the drive stays the caller's.
func NewOn(dev block.Device, cfg *config.Config) (engine.LibOS, error) {
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	s, errno := store.Mount(dev, store.Options{MaxRecord: uint64(cfg.Limits.MaxMessage), Timeout: commandLimit})
	if errno != 0 {
		_ = unix.Close(event)
		return nil, fmt.Errorf("%s: %w", mountProblem(errno), errno)
	}
	return &LibOS{cfg: cfg, store: s, event: event}, nil
}

func mountProblem(err abi.Errno) string {
	switch err {
	case store.ErrNotFormatted:
		return "not formatted, which is for dmtr-store"
	case store.ErrVersion:
		return "formatted by another version"
	case store.ErrStructure:
		return "damaged; dmtr-store tells more"
	}
	return "cannot be mounted"
}

// Open implements engine.LibOS.
func (o *LibOS) Open(a *engine.Args) (engine.Queue, abi.Errno) {
	if a.Kind != engine.KindFile {
		return nil, unix.ENOTSUP
	}
	return o.openLog(a)
}

// Unlink implements engine.Unlinker.
func (o *LibOS) Unlink(path string) abi.Errno {
	if path == "" {
		return unix.ENOENT
	}
	return o.store.Unlink(path)
}

// Poll implements engine.LibOS.
func (o *LibOS) Poll() {
	if o.woken {
		o.woken = false
		_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(o.event), uintptr(unsafe.Pointer(&o.count)), 8)
	}
	o.begin()
	if !o.store.Idle() {
		o.store.Poll()
		o.begin()
	}
}

// begin starts what has waited for its turn.
func (o *LibOS) begin() {
	for o.run != nil {
		q := o.run
		o.run, q.runNext, q.running = q.runNext, nil, false
		q.begin()
	}
}

// Arm implements engine.LibOS.
func (o *LibOS) Arm() {
	o.begin()
	if o.store.Arm() && !o.woken {
		o.woken = true
		o.count = 1
		_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(o.event), uintptr(unsafe.Pointer(&o.count)), 8)
	}
}

// Fds implements engine.LibOS.
func (o *LibOS) Fds() []int { return []int{o.store.Fd(), o.event} }

// Close implements engine.LibOS.
func (o *LibOS) Close() {
	o.store.Close()
	_ = unix.Close(o.event)
}

// Counters implements engine.Counting.
func (o *LibOS) Counters(visit func(name string, value uint64)) {
	visit("storage.pushes", o.counts.pushes)
	visit("storage.push_bytes", o.counts.pushBytes)
	visit("storage.pops", o.counts.pops)
	visit("storage.pop_bytes", o.counts.popBytes)
	visit("storage.failed", o.counts.failed)
	visit("storage.queues", o.counts.open)
	i := o.store.Info()
	visit("storage.extents", i.Extents)
	visit("storage.extents_free", i.Free)
}
