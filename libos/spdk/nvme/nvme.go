// Package nvme drives an NVMe drive from this process alone: queues in its memory, registers mapped into it, completions polled. The
// kernel only hands the drive over, by VFIO. Numbers of sections in comments are those of the NVM Express Base Specification 2.0.
//
// # Call order
//
// Open takes the drive from vfio-pci, resets and starts it. Then it is a block.Device: Submit writes a command into the submission
// queue; the doorbell is rung by the next Poll or Arm, once for all that came in between. Poll takes completions. There is one pair of
// I/O queues, since there is one thread.
//
// # Time limits
//
// A request that takes longer than Config.Timeout is aborted (5.1). If the drive does not give it back for as long again, or says what
// cannot be (a completion of nothing, CSTS.CFS), the controller is reset: requests that were late end with ETIMEDOUT, others that the
// drive had with EIO, and those that come meanwhile are sent to it afterwards. All this goes on in Poll, which never waits. A drive that
// cannot be reset, or is there no more, is cut off from memory, and all ends with ENODEV.
//
// # Sleeping
//
// While requests are under way, Arm sets a timer: 20 µs at first, twice as long each time nothing came, up to 1 ms. The drive's interrupts
// stay off: whether a completion raises one is settled when the queue is made, and MSI-X has no mask that costs nothing, so each polled
// completion would raise one, for some processor to handle.
//
// # Threading
//
// As package block has it. A child process has no part in the drive: it does not even have the memory.
package nvme

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/clock"
)

const (
	defaultDepth   = 128
	maxDepth       = 1023 // so that a command identifier has a place and a count, and is never FFFFh
	slotBits       = 10
	defaultTimeout = 10 * time.Second
	maxShutdown    = int64(30 * time.Second)
	minNap         = int64(20 * time.Microsecond)
	maxNap         = int64(time.Millisecond)
)

// Config says which drive, and how.
type Config struct {
	Address   string        // on the PCI bus, 0000:00:03.0
	Namespace uint32        // from 1
	Depth     int           // requests under way at once, at most 1023; 0: 128. A drive may allow less
	Timeout   time.Duration // of a request, and of its abort; 0: 10 s
	// AllowNoIOMMU takes a drive that no IOMMU keeps within this process' memory: an error here or in the drive can then overwrite any
	// memory of the machine. It takes root, and large pages.
	AllowNoIOMMU bool
}

// bus is how the drive is reached.
type bus interface {
	// registers is BAR 0.
	registers() []byte
	// memory returns n bytes of zeros, a multiple of chunkBytes, that the drive can reach.
	memory(n int) (*chunk, error)
	release(c *chunk)
	// cut keeps the drive from memory from now on.
	cut()
	// reset resets the drive's function by the bus, which takes some 100 ms, and says whether it did.
	reset() bool
	close()
}

// state of a slot.
const (
	slotFree  uint8 = iota
	slotHeld        // to be sent when the controller has been reset
	slotEnded       // its owner is to be told
	slotSent        // the drive has it, in this state and the next
	slotAborting
)

// slot is the place of a request under way.
type slot struct {
	r     *block.Request
	until int64 // when it is late
	at    uint64
	chunk *chunk
	list  *[512]uint64 // of PRPs, or the ranges of a Dataset Management
	where uint64       // its address on the bus
	id    uint16       // of the command: the slot, a count << slotBits
	state uint8
	late  bool
}

// Device is an NVMe namespace. It implements block.Device.
type Device struct {
	cfg   Config
	bus   bus
	regs  []byte
	mem   memory
	caps  caps
	ctrl  controller
	info  block.Info
	shift uint // log2 of BlockSize
	ready bool // info is known

	admin queue
	io    queue
	page  *[identifyBytes]byte // what Identify fills
	slots []slot
	free  []uint16
	ended *block.Request // by Next, those whose Err is known and Done is to be called
	tail  **block.Request
	stuck bool // the controller is to be reset

	phase   phase
	until   int64 // of the phase or the admin command
	pending bool  // an admin command is under way
	reason  error // why the phase is dead
	clock   *clock.Clock
	timeout int64
	checkAt int64 // when time limits are looked at next

	timer int // timerfd
	nap   int64
	moved bool // something ended since Arm
	stats Stats
}

// Stats counts what happened to a drive.
type Stats struct {
	Commands uint64 // that the drive was given, admin commands aside
	Errors   uint64 // completions with an error status
	Timeouts uint64
	Aborts   uint64
	Resets   uint64
	Faults   uint64 // completions that cannot be
	Status   uint16 // the last error status: type << 8 | code
}

// Open takes the drive and starts it, which may take as long as the drive says it may (CAP.TO, at most 128 s). Errors say what is wrong
// and what to do, and are: ENODEV there is no such drive or namespace, or it does not answer; EBUSY the kernel or another process has it;
// EPERM and EACCES the process may not, or there is no IOMMU; ENOTSUP what the driver cannot use; EPROTO what the drive says cannot be;
// EROFS; ENOMEM; EIO the drive does not start; EINVAL the configuration.
func Open(cfg Config) (*Device, error) {
	v, err := openVFIO(&cfg)
	if err != nil {
		return nil, err
	}
	return open(v, cfg)
}

// open starts the drive behind b, which it closes if that fails.
func open(b bus, cfg Config) (*Device, error) {
	d := &Device{cfg: cfg, bus: b, regs: b.registers(), mem: memory{bus: b}, clock: clock.New(), timer: -1, nap: minNap}
	d.tail = &d.ended
	d.timeout = int64(cfg.Timeout)
	if d.timeout <= 0 {
		d.timeout = int64(defaultTimeout)
	}
	err := d.prepare()
	if err == nil {
		d.begin(phaseSettle, d.caps.timeout)
		for d.phase != phaseRunning && d.phase != phaseDead {
			d.advance(d.clock.Now())
			rest(50 * time.Microsecond)
		}
		if d.phase == phaseDead {
			err = d.reason
		}
	}
	if err != nil {
		d.release()
		return nil, fmt.Errorf("NVMe drive %s: %w", cfg.Address, err)
	}
	return d, nil
}

// rest lets other processes run for a while.
func rest(t time.Duration) {
	ts := unix.NsecToTimespec(int64(t))
	_ = unix.Nanosleep(&ts, nil)
}

// prepare makes the queues.
func (d *Device) prepare() error {
	if d.cfg.Namespace == 0 || d.cfg.Namespace > 1<<32-2 || d.cfg.Depth < 0 || d.cfg.Depth > maxDepth {
		return fmt.Errorf("namespace %d, depth %d: %w", d.cfg.Namespace, d.cfg.Depth, unix.EINVAL)
	}
	if len(d.regs) < regDoorbell+4096 {
		return fmt.Errorf("%d bytes of registers: %w", len(d.regs), unix.EPROTO)
	}
	var err error
	if d.caps, err = parseCaps(d.load64(regCAP)); err != nil {
		return err
	}
	if regDoorbell+4*d.caps.stride > uint(len(d.regs)) {
		return fmt.Errorf("doorbells %d bytes apart: %w", d.caps.stride, unix.EPROTO)
	}
	if d.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return err
	}
	depth := d.cfg.Depth
	if depth == 0 {
		depth = defaultDepth
	}
	entries := 2
	for entries <= depth && 2*entries <= d.caps.entries {
		entries *= 2
	}
	depth = min(depth, entries-1)
	d.info.Depth = depth
	if !d.makeQueue(&d.admin, 0, 2) || !d.makeQueue(&d.io, 1, entries) || !d.makeSlots(depth) {
		return fmt.Errorf("no memory that the drive can reach (is `ulimit -l` large enough?): %w", unix.ENOMEM)
	}
	return nil
}

// makeQueue gives a queue its memory and doorbells. Each half lies in one piece on the bus, as controllers may ask for (CAP.CQR): a
// chunk is in one piece up to its first chunkBytes, and this is the first that is taken from it.
func (d *Device) makeQueue(q *queue, id uint, entries int) bool {
	sq, cq := d.mem.alloc(entries*int(unsafe.Sizeof(command{}))), d.mem.alloc(entries*int(unsafe.Sizeof(completion{})))
	if sq == nil || cq == nil {
		return false
	}
	q.sq = unsafe.Slice((*command)(unsafe.Pointer(&sq[0])), entries)
	q.cq = unsafe.Slice((*completion)(unsafe.Pointer(&cq[0])), entries)
	q.mask = uint16(entries - 1)
	q.tailBell = unsafe.Pointer(&d.regs[regDoorbell+2*id*d.caps.stride])
	q.headBell = unsafe.Pointer(&d.regs[regDoorbell+(2*id+1)*d.caps.stride])
	return true
}

// makeSlots makes the places of requests, and the page that Identify fills.
func (d *Device) makeSlots(depth int) bool {
	d.slots = make([]slot, depth)
	d.free = make([]uint16, depth)
	page := d.mem.alloc(identifyBytes)
	lists := d.mem.alloc(depth * hostPage)
	if page == nil || lists == nil {
		return false
	}
	d.page = (*[identifyBytes]byte)(page)
	for i := range d.slots {
		s := &d.slots[i]
		list := lists[i*hostPage : (i+1)*hostPage]
		s.id, s.list, s.where = uint16(i), (*[512]uint64)(unsafe.Pointer(&list[0])), d.mem.address(list)
		d.free[i] = uint16(depth - 1 - i)
	}
	return true
}

// Info implements block.Device.
func (d *Device) Info() block.Info { return d.info }

// Identity says which drive this is, for messages.
func (d *Device) Identity() Identity { return d.ctrl.Identity }

// Stats says what happened so far.
func (d *Device) Stats() Stats { return d.stats }

// Alloc implements block.Device.
func (d *Device) Alloc(n int) []byte { return d.mem.alloc(n) }

// Free implements block.Device.
func (d *Device) Free(buf []byte) { d.mem.free(buf) }

// Fd implements block.Device.
func (d *Device) Fd() int { return d.timer }

// Arm implements block.Device.
func (d *Device) Arm() {
	var spec unix.ItimerSpec
	if d.phase == phaseRunning {
		d.io.ring()
	}
	if d.moved {
		d.nap = minNap
	}
	switch {
	case d.ended != nil:
		spec.Value.Nsec = 1
	case len(d.free) < len(d.slots) || d.resetting():
		spec.Value = unix.NsecToTimespec(d.nap)
		d.nap = min(2*d.nap, maxNap)
	}
	d.moved = false
	_, _, _ = unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(d.timer), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
}

// Close implements block.Device. Then the drive is shut down (3.6.1), which takes as long as it says it takes, at most 30 s.
func (d *Device) Close() {
	for len(d.free) < len(d.slots) || d.resetting() {
		if d.Poll(); !d.moved {
			rest(20 * time.Microsecond)
		}
		d.moved = false
	}
	d.shutdown()
	d.release()
}

// release gives everything back.
func (d *Device) release() {
	d.phase = phaseDead
	d.bus.cut() // before the memory goes
	for _, c := range d.mem.chunks {
		d.bus.release(c)
	}
	d.mem.chunks, d.mem.last = nil, nil
	if d.timer >= 0 {
		_ = unix.Close(d.timer)
		d.timer = -1
	}
	d.bus.close()
}

var _ block.Device = (*Device)(nil)

// errGone is why a drive is given up that does not answer.
var errGone = fmt.Errorf("the drive has gone: %w", unix.ENODEV)

// errnoDead is what Submit and requests give once the drive has been given up.
const errnoDead abi.Errno = unix.ENODEV
