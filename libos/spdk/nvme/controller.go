package nvme

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
)

// phase is where a controller is on its way to I/O (3.5.1). Each is left by advance when what it waits for has come.
type phase uint8

const (
	phaseSettle  phase = iota // CSTS.RDY is to become what CC.EN says, before CC.EN may be cleared (3.1.3.5)
	phaseDisable              // CC.EN is 0, CSTS.RDY is to follow
	phaseReset                // the same, after a reset by the bus
	phaseEnable               // CC.EN is 1, CSTS.RDY is to follow
	phaseController
	phaseActive
	phaseNamespace
	phaseQueues
	phaseCQ
	phaseSQ
	phaseRunning
	phaseDead
)

// resetting says whether the controller is on its way.
func (d *Device) resetting() bool { return d.phase < phaseRunning }

// begin enters a phase that may last for some nanoseconds.
func (d *Device) begin(p phase, limit int64) {
	d.phase, d.until = p, d.clock.Now()+limit
}

// advance goes on with the way to I/O as far as that goes without waiting.
func (d *Device) advance(now int64) {
	if d.phase >= phaseRunning {
		return
	}
	status := d.load32(regCSTS)
	if status == gone {
		d.die(errGone)
		return
	}
	late := now >= d.until
	switch d.phase {
	case phaseSettle:
		enabled, ready := d.load32(regCC)&ccEnable != 0, status&cstsReady != 0
		if enabled == ready || status&cstsFatal != 0 || late {
			d.store32(regCC, d.load32(regCC)&^(ccEnable|ccShutdownMask))
			d.begin(phaseDisable, d.caps.timeout)
		}
	case phaseDisable, phaseReset:
		d.disabled(status&cstsReady == 0, late)
	case phaseEnable:
		switch {
		case status&cstsFatal != 0:
			d.die(fmt.Errorf("the drive reports a fatal error: %w", unix.EIO))
		case status&cstsReady != 0:
			d.ask(phaseController, now)
		case late:
			d.die(fmt.Errorf("the drive does not start: %w", unix.EIO))
		}
	default:
		d.answered(now, late)
	}
}

// disabled goes on when CC.EN is 0: once the drive says that it has stopped, it has no commands and reaches no memory any more (3.7.2).
func (d *Device) disabled(stopped, late bool) {
	switch {
	case stopped:
		d.drop(false, unix.EIO)
		d.enable()
	case !late:
	case d.phase == phaseDisable && d.bus.reset():
		d.begin(phaseReset, d.caps.timeout)
	default:
		d.die(fmt.Errorf("the drive does not stop: %w", unix.EIO))
	}
}

// enable sets the admin queue and CC.
func (d *Device) enable() {
	d.admin.start()
	d.io.start()
	d.pending = false
	entries := uint32(len(d.admin.sq) - 1)
	d.store32(regAQA, entries<<16|entries)
	d.store64(regASQ, d.addressOf(unsafe.Pointer(&d.admin.sq[0])))
	d.store64(regACQ, d.addressOf(unsafe.Pointer(&d.admin.cq[0])))
	d.store32(regCC, ccEntrySizes|uint32(d.caps.pageShift-12)<<ccPageShift|ccEnable)
	d.begin(phaseEnable, d.caps.timeout)
}

// addressOf is where the drive finds what lies in our memory.
func (d *Device) addressOf(p unsafe.Pointer) uint64 {
	return d.mem.address(unsafe.Slice((*byte)(p), 1))
}

// ask sends the admin command of a phase.
func (d *Device) ask(p phase, now int64) {
	c := command{head: opIdentify, prp1: d.addressOf(unsafe.Pointer(d.page))}
	size := uint32(len(d.io.sq)-1) << 16
	switch p {
	case phaseController:
		c.dw10 = cnsController
	case phaseActive:
		c.dw10, c.nsid = cnsActive, d.cfg.Namespace-1
	case phaseNamespace:
		c.dw10, c.nsid = cnsNamespace, d.cfg.Namespace
	case phaseQueues: // one of each; the field counts from 0
		c = command{head: opSetFeatures, dw10: featureQueues}
	case phaseCQ: // without interrupts
		c = command{head: opCreateCQ, prp1: d.addressOf(unsafe.Pointer(&d.io.cq[0])), dw10: size | 1, dw11: contiguous}
	case phaseSQ:
		c = command{head: opCreateSQ, prp1: d.addressOf(unsafe.Pointer(&d.io.sq[0])), dw10: size | 1, dw11: 1<<16 | contiguous}
	}
	c.head |= uint32(p) << 16
	d.phase = p
	d.command(&c, now)
}

// answered takes the completion of a phase's admin command.
func (d *Device) answered(now int64, late bool) {
	var c completion
	if !d.admin.take(&c) {
		if late {
			d.die(fmt.Errorf("the drive does not answer: %w", unix.EIO))
		}
		return
	}
	d.admin.ring()
	d.pending = false
	if c.id() != uint16(d.phase) || c.queue>>16 != 0 || uint16(c.queue) > d.admin.mask {
		d.stats.Faults++
		d.die(fmt.Errorf("the drive completes what it was not asked for: %w", unix.EPROTO))
		return
	}
	if code := c.code(); code != 0 {
		d.stats.Status = code
		d.die(fmt.Errorf("the drive refuses step %d of its start with status %#03x: %w", d.phase, code, unix.EIO))
		return
	}
	if err := d.learn(); err != nil {
		d.die(err)
		return
	}
	if d.phase != phaseSQ {
		d.ask(d.phase+1, now)
		return
	}
	d.phase, d.ready = phaseRunning, true
	d.checkAt = now
	for i := range d.slots {
		if s := &d.slots[i]; s.state == slotHeld {
			d.send(s, now)
		}
	}
	d.io.ring()
}

// learn takes in what Identify has given. What was known before a reset must be true after it.
func (d *Device) learn() (err error) {
	switch d.phase {
	case phaseController:
		var c controller
		if c, err = parseController(d.page, d.caps); err == nil {
			d.ctrl = c
		}
	case phaseActive:
		if !hasNamespace(d.page, d.cfg.Namespace) {
			return fmt.Errorf("there is no namespace %d: %w", d.cfg.Namespace, unix.ENODEV)
		}
	case phaseNamespace:
		var info block.Info
		if info, err = parseNamespace(d.page, &d.ctrl); err != nil {
			return err
		}
		info.Depth = d.info.Depth
		if d.ready && info != d.info {
			return fmt.Errorf("the namespace has changed: %w", unix.ENODEV)
		}
		d.info = info
		for d.shift = 0; 1<<d.shift < info.BlockSize; {
			d.shift++
		}
	}
	return err
}

// shutdown has the drive store what it holds (3.6.1) and stops it.
func (d *Device) shutdown() {
	if d.phase != phaseRunning {
		return
	}
	limit := maxShutdown
	if d.ctrl.shutdown > 0 {
		limit = min(limit, max(d.ctrl.shutdown, int64(1e9)))
	}
	d.store32(regCC, d.load32(regCC)&^ccShutdownMask|ccShutdown)
	if d.await(cstsShutdownMask, cstsShutdownDone, limit) {
		d.store32(regCC, 0)
		d.await(cstsReady, 0, d.caps.timeout)
	}
}

// await waits until CSTS has some bits, for so many nanoseconds.
func (d *Device) await(mask, want uint32, limit int64) bool {
	for end := d.clock.Now() + limit; ; rest(50e3) {
		status := d.load32(regCSTS)
		if status == gone {
			return false
		}
		if status&mask == want {
			return true
		}
		if d.clock.Now() >= end {
			return false
		}
	}
}
