package ip

import (
	"maps"
	"slices"
	"syscall"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// States of a neighbour. From reachable on, the Ethernet address may be used.
const (
	unknown    uint8 = iota // nothing under way
	incomplete              // being asked for
	self                    // not a neighbour, but the way back
	reachable               // confirmed not long ago
	stale                   // not confirmed lately, nor used
	probing                 // not confirmed lately, and being asked again
	fixed                   // configured
)

// ARP is patient: as many requests, at this distance (RFC 1122, section 2.3.2.1: at most one per second).
const (
	requests        = 3
	requestInterval = second
)

// Limits for packets that wait for an Ethernet address.
const (
	maxWaiting    = 64 // for one: enough for the fragments of a large datagram
	maxAllWaiting = 256
)

// neighbour is an entry of the ARP cache. Entries are not moved or freed, so a Path may point to one; age tells
// whether it is still what it was.
type neighbour struct {
	addr  wire.Addr
	age   uint32 // counts the changes that paths must know of
	state uint8
	used  bool // sent to, since somebody looked
	tries uint8
	mac   wire.MAC
	asked int64 // time of the last request

	host        *Host
	next        *neighbour // with the same hash
	first, last *waiting   // packets
	count       int
	timer       timer.Timer
}

// waiting is a frame whose destination is not known yet.
type waiting struct {
	next  *waiting
	n     int
	flags link.Flags
	data  []byte
}

// neighbours is the ARP cache.
type neighbours struct {
	host       *Host
	self       neighbour // for the host's own addresses
	everybody  neighbour // for broadcast
	all        []*neighbour
	limit      int
	fixed      int
	hand       int // where the search for an entry to evict goes on
	table      []*neighbour
	idle       *waiting
	frames     int // that have been made
	defended   int64
	announcing int
	announce   timer.Timer
}

func (a *neighbours) init(h *Host) abi.Errno {
	a.host, a.limit = h, h.cfg.Neighbours+len(h.cfg.Known)
	a.self.state, a.everybody.state, a.everybody.mac = self, fixed, wire.Broadcast
	size := 16
	for size < a.limit {
		size *= 2
	}
	a.table = make([]*neighbour, size)
	for _, addr := range slices.Sorted(maps.Keys(h.cfg.Known)) { // always the same order, for runs that are repeated
		mac := h.cfg.Known[addr]
		if !unicast(addr) || mac.Group() {
			return syscall.EINVAL
		}
		n := a.get(addr)
		n.mac, n.state = mac, fixed
		a.fixed++
	}
	a.defended = h.now - defendInterval
	a.announce.Owner = (*announcer)(a)
	if !h.cfg.DisableARP {
		a.announcing = announcements
		h.timers.Set(&a.announce, h.now)
	}
	return 0
}

func (a *neighbours) bucket(addr wire.Addr) **neighbour {
	return &a.table[a.host.hash(uint64(addr))&uint32(len(a.table)-1)]
}

// find returns the entry of an address, or nil.
func (a *neighbours) find(addr wire.Addr) *neighbour {
	n := *a.bucket(addr)
	for n != nil && n.addr != addr {
		n = n.next
	}
	return n
}

// get returns the entry of an address, if need be a new one.
func (a *neighbours) get(addr wire.Addr) *neighbour {
	if n := a.find(addr); n != nil {
		return n
	}
	var n *neighbour
	if len(a.all) < a.limit {
		n = &neighbour{host: a.host}
		n.timer.Owner = n
		a.all = append(a.all, n)
	} else {
		n = a.evict()
	}
	n.addr, n.state, n.asked = addr, unknown, a.host.now-requestInterval
	b := a.bucket(addr)
	n.next, *b = *b, n
	return n
}

// evict empties an entry for another address. Those that no conversation rests on go first, so that a storm of
// requests, or of packets with invented senders, takes the room of its own kind.
func (a *neighbours) evict() *neighbour {
	n := a.choose()
	a.host.counters.ARPEvicted++
	b := a.bucket(n.addr)
	for *b != n {
		b = &(*b).next
	}
	*b = n.next
	n.drop()
	a.host.timers.Stop(&n.timer)
	n.mac, n.used, n.age = wire.MAC{}, false, n.age+1
	return n
}

func (a *neighbours) choose() *neighbour {
	for range min(64, len(a.all)) {
		if n := a.turn(); n.state < reachable || (n.state == stale && !n.used) {
			return n
		}
	}
	for { // there are more entries than fixed ones, and the second time round none is marked as used
		if n := a.turn(); n.state != fixed {
			if !n.used {
				return n
			}
			n.used = false
		}
	}
}

func (a *neighbours) turn() *neighbour {
	a.hand++
	if a.hand >= len(a.all) {
		a.hand = 0
	}
	return a.all[a.hand]
}

// wanted is called when a path is made ready. What has not been confirmed lately is asked again, and used meanwhile.
func (n *neighbour) wanted() {
	if n.state == stale {
		n.state, n.tries = probing, 0
		n.ask()
	}
}

// Doubt is the advice of a protocol that its packets do not seem to arrive: the neighbour may have another Ethernet address
// now, and is asked (RFC 1122, sections 2.3.2.1 and 3.3.1.4).
func (h *Host) Doubt(p *Path) {
	if n := p.to; n != nil && n.state == reachable && n.age == p.age {
		n.state, n.tries = probing, 0
		n.ask()
	}
}

// confirmed notes that the neighbour has been heard from, with its Ethernet address.
func (n *neighbour) confirmed(mac wire.MAC) {
	h := n.host
	if n.state >= reachable && n.mac != mac {
		h.counters.ARPChanged++
	}
	if n.state < reachable || n.mac != mac {
		n.mac = mac
		n.age++
	}
	n.state, n.tries = reachable, 0
	h.timers.Set(&n.timer, h.now+h.cfg.ARPAge)
	n.release()
}

// Expired implements timer.Owner.
func (n *neighbour) Expired(*timer.Timer, int64) {
	switch {
	case n.state == reachable && !n.used: // without a timer from now on
		n.state = stale
		n.age++
	case n.state == reachable:
		n.state, n.tries, n.used = probing, 0, false
		n.ask()
	case n.state == probing && n.tries >= requests: // is it elsewhere now?
		n.state, n.tries = incomplete, 0
		n.ask()
	case n.state == incomplete && n.tries >= requests:
		n.failed()
	case n.state == incomplete || n.state == probing:
		n.ask()
	}
}

// ask sends a request now, or as soon as the rate permits.
func (n *neighbour) ask() {
	h := n.host
	if at := n.asked + requestInterval; h.now < at {
		h.timers.Set(&n.timer, at)
		return
	}
	n.tries++
	n.asked = h.now
	to := wire.Broadcast
	if n.state == probing && n.tries == 1 { // RFC 1122, section 2.3.2.1: unicast poll
		to = n.mac
	}
	h.counters.ARPRequestsOut++
	h.arp.send(to, wire.ARPRequest, wire.MAC{}, n.addr)
	h.timers.Set(&n.timer, h.now+requestInterval)
}

// keep stores a frame that Send could not send, and sees to it that the address is being asked for.
func (n *neighbour) keep(b []byte, flags link.Flags) {
	a := &n.host.arp
	var w *waiting
	switch {
	case n.count >= maxWaiting: // RFC 1122, section 2.3.2.2: the latest must be saved
		w = n.take()
		n.host.counters.ARPQueueDropped++
	case a.idle != nil:
		w = a.idle
		a.idle = w.next
	case a.frames < maxAllWaiting:
		w = &waiting{data: make([]byte, wire.EthernetLen+n.host.mtu)}
		a.frames++
	default:
		n.host.counters.ARPQueueDropped++
	}
	if w != nil {
		w.next, w.n, w.flags = nil, copy(w.data, b), flags
		if n.last == nil {
			n.first = w
		} else {
			n.last.next = w
		}
		n.last = w
		n.count++
	}
	if n.state == unknown {
		n.state, n.tries = incomplete, 0
		n.ask()
	}
}

func (n *neighbour) take() *waiting {
	w := n.first
	if w != nil {
		if n.first = w.next; n.first == nil {
			n.last = nil
		}
		n.count--
	}
	return w
}

func (a *neighbours) free(w *waiting) { w.next, a.idle = a.idle, w }

// release sends what has waited.
func (n *neighbour) release() {
	h := n.host
	for w := n.take(); w != nil; w = n.take() {
		if b := h.frame(); b == nil {
			h.counters.NoBuffer++
		} else {
			copy(b, n.mac[:])
			copy(b[len(n.mac):], w.data[len(n.mac):w.n])
			n.used = true
			h.dev.Send(w.n, w.flags)
		}
		h.arp.free(w)
	}
}

// drop forgets what has waited.
func (n *neighbour) drop() {
	for w := n.take(); w != nil; w = n.take() {
		n.host.counters.ARPQueueDropped++
		n.host.arp.free(w)
	}
}

// failed gives up asking, and reports all that has waited.
func (n *neighbour) failed() {
	h := n.host
	h.counters.ARPFailed++
	n.state = unknown
	age := n.age
	for left := n.count; left > 0 && n.age == age; left-- { // protocols may send, and so may evict n
		w := n.take()
		h.counters.ARPQueueDropped++
		h.lost(wire.IPv4(w.data[wire.EthernetLen:w.n]))
		h.arp.free(w)
	}
}

// lost tells a protocol that a packet of its could not be sent for want of a neighbour.
func (h *Host) lost(p wire.IPv4) {
	proto := h.protocols[p.Proto()]
	if proto == nil || p.FragmentOffset() != 0 {
		return
	}
	h.failure = Failure{Errno: syscall.EHOSTUNREACH, Local: p.Src(), Remote: p.Dst(), Data: p.Payload(), Here: true}
	proto.Failed(&h.failure)
}
