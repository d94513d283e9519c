package ip

import (
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// RFC 5227, section 1.1. Probes before an address is used are left out: nobody could use the stack for seconds.
const (
	announcements    = 2
	announceInterval = 2 * second
	defendInterval   = 10 * second
)

// announcer is the owner of the timer for announcements.
type announcer neighbours

// Expired implements timer.Owner.
func (r *announcer) Expired(_ *timer.Timer, now int64) {
	a := (*neighbours)(r)
	a.proclaim()
	if a.announcing--; a.announcing > 0 {
		a.host.timers.Set(&a.announce, now+announceInterval)
	}
}

// proclaim tells everybody the host's addresses.
func (a *neighbours) proclaim() {
	a.host.counters.ARPAnnouncements++
	a.send(wire.Broadcast, wire.ARPRequest, wire.MAC{}, a.host.addr)
}

// send sends an ARP packet. One that is lost for want of room is asked for again by whoever misses it.
func (a *neighbours) send(to wire.MAC, op uint16, dstMAC wire.MAC, dst wire.Addr) {
	h := a.host
	b := h.frame()
	if b == nil {
		h.counters.NoBuffer++
		return
	}
	wire.Ethernet(b).Put(to, h.own, wire.TypeARP)
	wire.ARP(b[wire.EthernetLen:]).Put(op, h.own, h.addr, dstMAC, dst)
	h.dev.Send(wire.EthernetLen+wire.ARPLen, 0)
}

// input handles an ARP packet (RFC 826, "Packet Reception"). Addresses are learned only from requests to this host and
// for entries that exist, so that a storm does not fill the cache.
func (a *neighbours) input(b []byte) {
	h := a.host
	h.counters.ARPIn++
	p, ok := wire.ParseARP(b)
	if !ok || p.SrcMAC().Group() || p.SrcMAC() == (wire.MAC{}) || (p.Op() != wire.ARPRequest && p.Op() != wire.ARPReply) {
		h.counters.ARPBad++
		return
	}
	src, toUs := p.Src(), p.Op() == wire.ARPRequest && p.Dst() == h.addr
	switch {
	case h.cfg.DisableARP || p.SrcMAC() == h.own:
		h.counters.ARPIgnored++
		return
	case src == h.addr:
		a.conflict()
		return
	case src == 0: // a probe (RFC 5227, section 2.1.1), from which there is nothing to learn
	case !unicast(src) || src.Loopback() || h.Broadcast(src):
		h.counters.ARPBad++
		return
	default:
		if !a.learn(src, p.SrcMAC(), toUs) && !toUs {
			h.counters.ARPIgnored++
		}
	}
	if toUs {
		h.counters.ARPRepliesOut++
		a.send(p.SrcMAC(), wire.ARPReply, p.SrcMAC(), src)
	}
}

func (a *neighbours) learn(src wire.Addr, mac wire.MAC, create bool) bool {
	n := a.find(src)
	if n == nil {
		hop, ok := a.host.nextHop(src)
		if !create || !ok || hop != src {
			return false
		}
		n = a.get(src)
		n.mac, n.state = mac, stale // confirmed when it is used
		n.age++
		return true
	}
	if n.state != fixed {
		n.confirmed(mac)
	}
	return true
}

// conflict defends our address against another host that claims it (RFC 5227, section 2.4, b), but not so often that two
// hosts would go on for ever.
func (a *neighbours) conflict() {
	a.host.counters.ARPConflicts++
	if a.host.now-a.defended >= defendInterval {
		a.defended = a.host.now
		a.proclaim()
	}
}
