package verbs

/*
#include "shim/shim.h"
*/
import "C"

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
)

// A look for events is a system call. So the time is read at every eighth poll, and events are looked for if so many nanoseconds have
// passed since the last look.
const (
	pollsPerClock = 8
	looksEvery    = 100_000
)

// shortPackets is how many packets a burst sends at most if it is short.
const shortPackets = 16

type counters struct {
	sends, reads, writes, recvs uint64 // posted
	completions, errors         uint64
	late                        uint64 // completions of IDs that were gone
	refused                     uint64
	inline                      uint64
	posts, events, arms         uint64
}

// Counters visits those of docs/counters.md.
func (d *device) Counters(visit func(name string, value uint64)) {
	n := &d.counters
	for _, c := range []struct {
		name  string
		value uint64
	}{
		{"sends", n.sends}, {"reads", n.reads}, {"writes", n.writes}, {"recvs", n.recvs}, {"inline", n.inline},
		{"completions", n.completions}, {"errors", n.errors}, {"late", n.late}, {"refused", n.refused},
		{"posts", n.posts}, {"events", n.events}, {"arms", n.arms},
		{"ids", uint64(d.conns.used)}, {"regions", uint64(d.mrs.used)}, {"address_handles", uint64(d.ahs.used)},
	} {
		visit("device."+c.name, c.value)
	}
}

func (d *device) PostSend(wr *SendWR) abi.Errno {
	conn := d.conn(wr.ID)
	if conn == nil || !conn.hasQP || int(wr.NumSGE) > conn.maxSGE {
		return unix.EINVAL
	}
	if conn.broken || !conn.datagrams && (conn.state < stateConnecting || conn.state > stateOver) {
		return unix.ENOTCONN
	}
	if wr.Op > OpWrite || conn.datagrams && wr.Op != OpSend || wr.Inline && wr.Op == OpRead {
		return unix.EINVAL
	}
	var ah unsafe.Pointer
	if conn.datagrams {
		var ok bool
		if ah, ok = d.ahs.get(wr.AH); !ok {
			return unix.EINVAL
		}
	}
	if conn.send.full() {
		return unix.ENOBUFS
	}
	if d.c.num_sends == C.DMTR_RDMA_SENDS {
		d.Flush()
	}
	s := &d.c.sends[d.c.num_sends]
	if !take(s, wr, conn.maxInline) {
		return unix.EINVAL
	}
	n := conn.send.add(request{wrid: wr.WRID, op: wr.Op})
	s.id, s.ah = conn.c, ah
	s.wr_id = C.uint64_t(wr.ID)<<32 | sendFlag | C.uint64_t(n)
	d.c.num_sends++
	d.packets++
	for i := range wr.SGEs[:wr.NumSGE] {
		d.packets += uint64(wr.SGEs[i].Len) / uint64(d.attr.PortMTU)
	}
	d.countSend(wr)
	return 0
}

func (d *device) countSend(wr *SendWR) {
	switch wr.Op {
	case OpSend:
		d.counters.sends++
	case OpRead:
		d.counters.reads++
	case OpWrite:
		d.counters.writes++
	}
	if wr.Inline {
		d.counters.inline++
	}
}

// take fills in all but whom it is for. It returns false if inline bytes are too many.
func take(s *cSend, wr *SendWR, maxInline int) bool {
	s.op, s.flags, s.num_sge = C.uint8_t(wr.Op), 0, C.uint8_t(wr.NumSGE)
	s.remote_addr, s.rkey = C.uint64_t(wr.RemoteAddr), C.uint32_t(wr.RKey)
	s.qpn, s.qkey = C.uint32_t(wr.QPN), C.uint32_t(wr.QKey)
	if wr.Signaled {
		s.flags = C.DMTR_RDMA_SIGNALED
	}
	if !wr.Inline {
		for i := range wr.SGEs[:wr.NumSGE] {
			g := &wr.SGEs[i]
			s.sge[i] = C.struct_dmtr_rdma_sge{addr: C.uint64_t(g.Addr), len: C.uint32_t(g.Len), lkey: C.uint32_t(g.LKey)}
		}
		return true
	}
	n := 0
	for i := range wr.SGEs[:wr.NumSGE] {
		g := &wr.SGEs[i]
		if uint64(g.Len) > uint64(maxInline-n) {
			return false
		}
		copy((*[MaxInline]byte)(unsafe.Pointer(&s.bytes))[n:], unsafe.Slice((*byte)(abi.Ptr(g.Addr).Pointer()), g.Len))
		n += int(g.Len)
	}
	s.flags |= C.DMTR_RDMA_INLINED
	s.num_sge = 1
	s.sge[0].len = C.uint32_t(n)
	return true
}

func (d *device) PostRecv(id ID, wrid uint64, sge SGE) abi.Errno {
	conn := d.conn(id)
	if conn == nil || !conn.hasQP || conn.datagrams && sge.Len < GRHBytes {
		return unix.EINVAL
	}
	if conn.broken {
		return unix.ENOTCONN
	}
	if conn.recv.full() {
		return unix.ENOBUFS
	}
	if d.c.num_recvs == C.DMTR_RDMA_RECVS {
		d.Flush()
	}
	n := conn.recv.add(request{wrid: wrid, addr: sge.Addr, op: OpRecv})
	r := &d.c.recvs[d.c.num_recvs]
	r.id = conn.c
	r.wr_id = C.uint64_t(id)<<32 | C.uint64_t(n)
	r.sge = C.struct_dmtr_rdma_sge{addr: C.uint64_t(sge.Addr), len: C.uint32_t(sge.Len), lkey: C.uint32_t(sge.LKey)}
	d.c.num_recvs++
	d.counters.recvs++
	return 0
}

func (d *device) Flush() {
	if !d.closed && d.c.num_sends|d.c.num_recvs != 0 {
		d.burst(0)
	}
}

// burst posts what was taken and fetches completions. With soft RoCE posting is a system call in which the kernel sends packets: some
// microseconds for a few, but milliseconds for large messages. The former is a shortcall, because a call by cgo as long as that may lose
// its place in Go's scheduler, which costs more; the latter is none, or the garbage collector might have to wait for it.
func (d *device) burst(wanted int) {
	c := d.c
	c.wanted = C.uint32_t(wanted)
	if d.packets <= shortPackets {
		d.caller.Call(d.shim.burst, uintptr(unsafe.Pointer(c)))
	} else {
		d.shim.longBurst(c)
	}
	d.packets = 0
	if c.num_sends|c.num_recvs == 0 {
		return
	}
	d.counters.posts++
	if c.refused != 0 {
		d.refuse()
	}
	c.num_sends, c.num_recvs = 0, 0
}

// refuse notes what the device has refused. That is the end of the QP, and no hot path.
func (d *device) refuse() {
	for i := range d.c.recvs[:d.c.num_recvs] {
		if r := &d.c.recvs[i]; r.refused != 0 {
			d.refuseOne(uint64(r.wr_id))
		}
	}
	for i := range d.c.sends[:d.c.num_sends] {
		if s := &d.c.sends[i]; s.refused != 0 {
			d.refuseOne(uint64(s.wr_id))
		}
	}
}

func (d *device) refuseOne(id uint64) {
	conn := d.conn(ID(id >> 32))
	if conn == nil {
		return
	}
	d.counters.refused++
	conn.broken = true
	queue := &conn.recv
	if id&sendFlag != 0 {
		queue = &conn.send
	}
	if r, _, ok := queue.at(uint32(id) & sequence); ok {
		d.refused = append(d.refused, Completion{WRID: r.wrid, ID: conn.id, Op: r.op, Status: StatusLocalQP})
	}
}

func (d *device) Poll(c []Completion, e []Event) (nc, ne int) {
	if d.closed {
		return 0, 0
	}
	look := d.armed || d.more
	if d.polls++; d.polls%pollsPerClock == 0 {
		now := d.clock.Now()
		look = look || now-d.looked >= looksEvery
		if look {
			d.looked = now
		}
	}
	d.armed = false
	wanted := min(len(c), C.DMTR_RDMA_COMPLETIONS)
	if len(d.refused)|int(d.heldEnd-d.held) != 0 {
		d.Flush()
		nc = d.older(c)
	} else {
		d.burst(wanted)
		nc = d.completions(c, 0, uint32(min(d.c.num_completions, C.uint32_t(wanted))))
	}
	if look {
		ne = d.events(e)
	}
	return nc, ne
}

// older gives what is known already.
func (d *device) older(c []Completion) int {
	n := copy(c, d.refused)
	d.refused = append(d.refused[:0], d.refused[n:]...)
	end := min(d.heldEnd, d.held+uint32(len(c)-n))
	n += d.completions(c[n:], d.held, end)
	d.held = end
	return n
}

// completions tells what those of the shim mean, from one index up to another.
func (d *device) completions(c []Completion, from, to uint32) int {
	n := 0
	for i := from; i < to; i++ {
		if d.completion(&d.c.completions[i%C.DMTR_RDMA_COMPLETIONS], &c[n]) {
			n++
		}
	}
	return n
}

func (d *device) completion(raw *cCompletion, c *Completion) bool {
	id := uint64(raw.wr_id)
	conn := d.conn(ID(id >> 32))
	if conn == nil {
		d.counters.late++
		return false
	}
	queue := &conn.recv
	if id&sendFlag != 0 {
		queue = &conn.send
	}
	r, ok := queue.done(uint32(id) & sequence)
	if !ok {
		d.counters.late++
		return false
	}
	d.counters.completions++
	*c = Completion{WRID: r.wrid, ID: conn.id, Op: r.op, Status: uint8(raw.status)}
	if c.Status != StatusSuccess {
		d.counters.errors++
		return true
	}
	c.Bytes = uint32(raw.bytes)
	if conn.datagrams && r.op == OpRecv {
		c.SrcQPN = uint32(raw.src_qpn)
		if raw.has_grh != 0 {
			c.setSource((*[GRHBytes]byte)(abi.Ptr(r.addr).Pointer()))
		}
	}
	return true
}

func (d *device) Fds() []int { return []int{int(d.c.completion_fd), int(d.c.event_fd), d.notice} }

// Arm also takes in what made the descriptors readable before.
func (d *device) Arm() {
	if d.closed {
		return
	}
	d.armed = true
	d.counters.arms++
	d.Flush()
	if d.held == d.heldEnd {
		d.shim.arm(d.c)
		d.held, d.heldEnd = 0, uint32(min(d.c.num_completions, C.DMTR_RDMA_COMPLETIONS))
	}
	d.notify(d.held != d.heldEnd || len(d.refused) != 0)
}

// notify makes a descriptor readable that tells of completions which were taken from the device already.
func (d *device) notify(readable bool) {
	count := uint64(1)
	switch {
	case readable && !d.noticed:
		_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(d.notice), uintptr(unsafe.Pointer(&count)), 8)
	case !readable && d.noticed:
		_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(d.notice), uintptr(unsafe.Pointer(&count)), 8)
	}
	d.noticed = readable
}
