package nvme

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// Submit implements block.Device.
func (d *Device) Submit(r *block.Request) abi.Errno {
	if d.phase == phaseDead {
		return errnoDead
	}
	n := len(d.free)
	if n == 0 {
		return unix.EAGAIN
	}
	i := d.free[n-1]
	s := &d.slots[i]
	if !d.valid(r, s) {
		return unix.EINVAL
	}
	d.free = d.free[:n-1]
	r.Slot, r.Err, r.Next = uint32(i), 0, nil
	s.r, s.late, s.state = r, false, slotHeld
	switch {
	case r.Op == block.Discard && !d.ctrl.discards:
		d.end(s, 0) // what is asked for is a favour; by Poll, since nothing may end here
	case d.phase == phaseRunning:
		d.send(s, d.clock.Now())
	}
	return 0
}

// valid says whether the drive can do what r asks, and notes in s where its memory is.
func (d *Device) valid(r *block.Request, s *slot) bool {
	switch r.Op {
	case block.Read, block.Write:
		n := uint64(len(r.Buf))
		if n == 0 || n > uint64(d.info.MaxTransfer) || n&(uint64(d.info.BlockSize)-1) != 0 {
			return false
		}
		if s.chunk, s.at = d.mem.find(r.Buf); s.chunk == nil || s.at&3 != 0 { // PRPs count in dwords
			return false
		}
		return r.Block < d.info.Blocks && n>>d.shift <= d.info.Blocks-r.Block
	case block.Discard:
		return r.Count > 0 && r.Count <= datasetRanges*maxRangeBlocks && r.Block < d.info.Blocks && r.Count <= d.info.Blocks-r.Block
	}
	return r.Op == block.Flush
}

// send writes the command for s into the submission queue. Durable writes ask for FUA, which a drive without a volatile cache ignores,
// as it does Flush (NVM Command Set Specification 1.0, 3.2.6; Base Specification, 7.1).
func (d *Device) send(s *slot, now int64) {
	r := s.r
	s.id += 1 << slotBits
	s.state, s.until = slotSent, now+d.timeout
	d.stats.Commands++
	c := d.io.next()
	*c = command{head: uint32(s.id) << 16, nsid: d.cfg.Namespace}
	switch r.Op {
	case block.Read, block.Write:
		n := uint64(len(r.Buf))
		c.head |= opRead
		c.dw12 = uint32(n>>d.shift - 1)
		if r.Op == block.Write {
			c.head ^= opRead ^ opWrite
			if r.Durable {
				c.dw12 |= forceUnit
			}
		}
		c.prp1, c.prp2 = s.chunk.prps(s.at, n, d.caps.pageShift, s.list, s.where)
		c.dw10, c.dw11 = uint32(r.Block), uint32(r.Block>>32)
	case block.Discard:
		c.head |= opDataset
		c.prp1 = s.where
		c.dw10, c.dw11 = uint32(ranges(s.list, r.Block, r.Count)-1), deallocate
	default:
		c.head |= opFlush
	}
}

// ranges writes the ranges of a Dataset Management and counts them (NVM Command Set Specification 1.0, 3.2.3): each is attributes,
// number of blocks, first block.
func ranges(list *[512]uint64, first, count uint64) int {
	n := 0
	for ; count > 0 && n < datasetRanges; n++ {
		part := min(count, maxRangeBlocks)
		list[2*n], list[2*n+1] = part<<32, first
		first, count = first+part, count-part
	}
	return n
}

// Poll implements block.Device.
func (d *Device) Poll() {
	if d.phase != phaseRunning {
		d.advance(d.clock.Now())
	} else if len(d.free) < len(d.slots) {
		d.io.ring()
		d.reap()
		if now := d.clock.Now(); now >= d.checkAt {
			d.check(now)
		}
		d.io.ring() // for what the owners have submitted meanwhile
		if d.stuck {
			d.restart()
		}
	}
	if d.ended != nil {
		d.report()
	}
}

// reap takes all completions there are.
func (d *Device) reap() {
	var c completion
	for range len(d.io.cq) {
		if !d.io.take(&c) {
			return
		}
		i := int(c.id()) & (1<<slotBits - 1)
		if i >= len(d.slots) || c.queue>>16 != 1 || uint16(c.queue) > d.io.mask {
			d.fault()
			return
		}
		s := &d.slots[i]
		if s.id != c.id() || s.state < slotSent {
			d.fault()
			return
		}
		errno := abi.Errno(0)
		if code := c.code(); code != 0 {
			errno = d.failed(s, code)
		}
		r := s.r
		d.vacate(s)
		r.Err = errno
		r.Owner.Done(r)
	}
}

// vacate makes a slot free again.
func (d *Device) vacate(s *slot) {
	s.r, s.chunk, s.state = nil, nil, slotFree
	d.free = append(d.free, s.id&(1<<slotBits-1))
	d.moved = true
}

// failed is the errno for an error status.
func (d *Device) failed(s *slot, code uint16) abi.Errno {
	d.stats.Errors++
	d.stats.Status = code
	switch {
	case code == statusAborted && s.state == slotAborting:
		return unix.ETIMEDOUT
	case s.r.Op == block.Discard && code == statusSizeExceeded:
		return 0 // the drive declines the favour
	}
	return errnoOf(code)
}

// fault notes that the drive has completed what it was not asked for. It cannot be trusted then with what is under way.
func (d *Device) fault() {
	d.stats.Faults++
	d.stuck = true
}

// end has the request of s end with errno, at the next report.
func (d *Device) end(s *slot, errno abi.Errno) {
	r := s.r
	r.Err, r.Next = errno, nil
	s.state = slotEnded
	*d.tail, d.tail = r, &r.Next
}

// report tells the owners what has ended outside of reap.
func (d *Device) report() {
	first := d.ended
	d.ended, d.tail = nil, &d.ended
	for r := first; r != nil; {
		next := r.Next
		r.Next = nil
		d.vacate(&d.slots[r.Slot])
		r.Owner.Done(r)
		r = next
	}
}

// restart ends what the drive has, once it has let go of it, and starts it anew.
func (d *Device) restart() {
	d.stuck = false
	d.stats.Resets++
	d.begin(phaseSettle, d.caps.timeout)
}

// check looks whether the drive is there and well, and at the limits of time. It reads a register, so it comes now and then only.
func (d *Device) check(now int64) {
	d.checkAt = now + max(min(d.timeout/16, 100e6), 1e6)
	if d.load32(regCSTS)&(cstsFatal|cstsReady) != cstsReady {
		d.stuck = true // or gone, which the reset finds out
	}
	var c completion
	if d.pending && d.admin.take(&c) {
		d.pending = false // of Abort; what became of the request, its own completion says
		d.admin.ring()
	}
	for i := range d.slots {
		s := &d.slots[i]
		if s.state < slotSent || now < s.until {
			continue
		}
		if !s.late {
			s.late = true
			d.stats.Timeouts++
		}
		switch {
		case s.state == slotAborting || d.pending && now >= d.until || now >= s.until+d.timeout:
			d.stuck = true
		case !d.pending:
			s.state, s.until = slotAborting, now+d.timeout
			d.stats.Aborts++
			d.command(&command{head: opAbort, dw10: uint32(s.id)<<16 | 1}, now)
		}
	}
}

// die gives the drive up, having made sure that it reaches memory no more.
func (d *Device) die(reason error) {
	d.bus.cut()
	d.phase, d.reason, d.stuck, d.pending = phaseDead, reason, false, false
	d.drop(true, errnoDead)
}

// drop ends the requests that the drive has, and with held those it does not have yet. The late ones of the former end with ETIMEDOUT.
func (d *Device) drop(held bool, errno abi.Errno) {
	for i := range d.slots {
		s := &d.slots[i]
		switch {
		case s.state >= slotSent && s.late:
			d.end(s, unix.ETIMEDOUT)
		case s.state >= slotSent, s.state == slotHeld && held:
			d.end(s, errno)
		}
	}
}

// command gives an admin command to the drive. There is one at a time.
func (d *Device) command(c *command, now int64) {
	*d.admin.next() = *c
	d.pending, d.until = true, now+d.timeout
	d.admin.ring()
}

func (d *Device) load32(at int) uint32 { return load32(unsafe.Pointer(&d.regs[at])) }

func (d *Device) store32(at int, v uint32) { store32(unsafe.Pointer(&d.regs[at]), v) }

// load64 reads a property of 64 bits, which may be read by halves (3.1.3).
func (d *Device) load64(at int) uint64 { return uint64(d.load32(at)) | uint64(d.load32(at+4))<<32 }

func (d *Device) store64(at int, v uint64) {
	d.store32(at, uint32(v))
	d.store32(at+4, uint32(v>>32))
}
