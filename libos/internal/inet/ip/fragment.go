package ip

import (
	"bytes"
	"math/bits"

	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// reassembly puts datagrams together from fragments (RFC 791, section 3.2; RFC 1122, section 3.3.2). Fragments that
// overlap have no honest cause, and what different hosts make of them is used for attacks: such a datagram is given up
// (RFC 5722 has this for IPv6). What is the same as before is a copy made by the network, and harmless.
//
// Memory is bounded by the number of datagrams: each has room for the longest one.
type reassembly struct {
	host  *Host
	open  []*assembly // oldest first
	idle  []*assembly
	rooms []*assemblyRoom
	timer timer.Timer
}

// assembly is one datagram under way.
type assembly struct {
	src, dst  wire.Addr
	id        uint16
	proto     uint8
	ttl, tos  uint8
	group     bool
	expires   int64
	got       int // bytes
	high      int // end of what is there
	total     int // 0: the last fragment is not there
	headerLen int // 0: the first one is not
	header    [60]byte
	room      *assemblyRoom // nil: given up, and there to swallow the rest
}

const blocks = 65536 / 8

type assemblyRoom struct {
	seen [blocks / 64]uint64 // which blocks of 8 bytes are there
	data [65536]byte
}

func (r *reassembly) init(h *Host) { r.host, r.timer.Owner = h, r }

// input takes a fragment, and delivers the datagram when it is complete.
func (r *reassembly) input(k *Packet, p wire.IPv4) {
	c := &r.host.counters
	offset, more := p.FragmentOffset(), p.Flags()&wire.MoreFragments != 0
	end := offset + len(k.Data)
	a := r.find(k, p.ID())
	switch {
	case len(k.Data) == 0 || (more && len(k.Data)%8 != 0):
		c.FragmentsBad++
		return
	case end > maxPayload:
		c.FragmentsBad++
		if a != nil {
			r.giveUp(a)
		}
		return
	case a == nil:
		a = r.begin(k, p.ID())
	case a.room == nil:
		c.FragmentsLate++
		return
	}
	if !a.add(k, offset, end, more) {
		c.Overlaps++
		r.giveUp(a)
		return
	}
	if a.total != 0 && a.got == a.total {
		c.Reassembled++
		k.Data, k.SumGood = a.room.data[:a.total], false
		k.TTL, k.TOS, k.Group, k.header = a.ttl, a.tos, a.group, a.header[:a.headerLen]
		r.host.deliver(k)
		r.end(a)
	}
}

// add notes a fragment. It is false if that contradicts another one.
func (a *assembly) add(k *Packet, offset, end int, more bool) bool {
	if more {
		if a.total != 0 && end > a.total {
			return false
		}
	} else {
		if (a.total != 0 && a.total != end) || a.high > end {
			return false
		}
		a.total = end
	}
	from, to := offset/8, (end+7)/8
	if have := a.room.count(from, to); have > 0 {
		return have == to-from && bytes.Equal(a.room.data[offset:end], k.Data)
	}
	a.room.mark(from, to)
	copy(a.room.data[offset:], k.Data)
	a.got += len(k.Data)
	a.high = max(a.high, end)
	a.group = a.group || k.Group
	if offset == 0 {
		a.ttl, a.tos = k.TTL, k.TOS
		a.headerLen = copy(a.header[:], k.header)
	}
	return true
}

// count is how many of some blocks are there.
func (m *assemblyRoom) count(from, to int) (n int) {
	for from < to {
		mask, next := wordMask(from, to)
		n += bits.OnesCount64(m.seen[from/64] & mask)
		from = next
	}
	return n
}

func (m *assemblyRoom) mark(from, to int) {
	for from < to {
		mask, next := wordMask(from, to)
		m.seen[from/64] |= mask
		from = next
	}
}

// wordMask has the bits from..to-1 as far as they are in one word, and where the next word begins.
func wordMask(from, to int) (mask uint64, next int) {
	next = min(to, from&^63+64)
	return ^uint64(0) >> (64 - (next - from)) << (from & 63), next
}

func (r *reassembly) find(k *Packet, id uint16) *assembly {
	for _, a := range r.open {
		if a.id == id && a.src == k.Src && a.dst == k.Dst && a.proto == k.proto {
			return a
		}
	}
	return nil
}

// begin makes room for a datagram, if need be at the cost of an older one.
func (r *reassembly) begin(k *Packet, id uint16) *assembly {
	h := r.host
	var oldest *assembly // of this sender
	from := 0
	for _, a := range r.open {
		if a.src == k.Src {
			if oldest == nil {
				oldest = a
			}
			from++
		}
	}
	switch {
	case from >= h.cfg.DatagramsFrom:
		h.counters.Crowded++
		r.end(oldest)
	case len(r.open) >= h.cfg.Datagrams:
		h.counters.Crowded++
		r.end(r.open[0])
	}
	var a *assembly
	if n := len(r.idle); n > 0 {
		a, r.idle = r.idle[n-1], r.idle[:n-1]
	} else {
		a = &assembly{}
	}
	*a = assembly{src: k.Src, dst: k.Dst, id: id, proto: k.proto, expires: h.now + h.cfg.FragmentTime}
	if n := len(r.rooms); n > 0 {
		a.room, r.rooms = r.rooms[n-1], r.rooms[:n-1]
		clear(a.room.seen[:])
	} else {
		a.room = &assemblyRoom{}
	}
	r.open = append(r.open, a)
	if !r.timer.Armed() {
		h.timers.Set(&r.timer, a.expires)
	}
	return a
}

// giveUp keeps a only to know what belongs to it.
func (r *reassembly) giveUp(a *assembly) {
	if a.room != nil {
		r.rooms = append(r.rooms, a.room)
		a.room = nil
	}
}

// end forgets a.
func (r *reassembly) end(a *assembly) {
	r.giveUp(a)
	for i := range r.open {
		if r.open[i] == a {
			copy(r.open[i:], r.open[i+1:])
			r.open = r.open[:len(r.open)-1]
			break
		}
	}
	r.idle = append(r.idle, a)
	if len(r.open) == 0 {
		r.host.timers.Stop(&r.timer)
	}
}

// Expired implements timer.Owner.
func (r *reassembly) Expired(_ *timer.Timer, now int64) {
	for len(r.open) > 0 && r.open[0].expires <= now {
		a := r.open[0]
		if a.room != nil {
			r.host.counters.Timeouts++
			r.report(a)
		}
		r.end(a)
	}
	if len(r.open) > 0 {
		r.host.timers.Set(&r.timer, r.open[0].expires)
	}
}

// report tells the sender (RFC 1122, section 3.3.2), if what he needs to know it by has come.
func (r *reassembly) report(a *assembly) {
	if a.headerLen == 0 {
		return
	}
	k := Packet{Src: a.src, Dst: a.dst, Data: a.room.data[:8], Group: a.group, proto: a.proto, header: a.header[:a.headerLen]}
	if r.host.sendError(&k, wire.ICMPTimeExceeded, wire.ExceededReassembly) {
		r.host.counters.TimeoutsOut++
	}
}
