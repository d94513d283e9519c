package ip

import (
	"encoding/binary"
	"syscall"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// headLen is what Send writes before the transport part: Ethernet and IPv4 header.
const headLen = wire.EthernetLen + wire.IPv4Len

// Path is the way to a peer, made ready by Host.Path and kept by whoever sends there more than once. What it has
// copied from elsewhere is looked up again when a counter tells that it may have changed.
type Path struct {
	Local, Remote wire.Addr
	Class         Class // chosen before Host.Path, later by SetClass

	host  *Host
	to    *neighbour
	id    *uint16 // next identification
	epoch uint32  // of host
	age   uint32  // of to
	mtu   uint16
	whole bool   // packets of TCP must not be fragmented on their way (RFC 1191)
	sum   uint32 // over the words of the IPv4 header that do not change
	head  [headLen]byte
}

// Class is what the packets of a socket ask of the routers: time to live, and Differentiated Services codepoint
// (RFC 2474). The zero Class stands for that of the Host.
type Class struct{ TTL, DSCP uint8 }

// Class is that of sockets which choose none.
func (h *Host) Class() Class { return Class{uint8(h.cfg.TTL), uint8(h.cfg.DSCP)} }

// SetClass changes the class of what is sent from now on.
func (p *Path) SetClass(c Class) {
	if p.Class = c; p.host != nil {
		p.host.fill(p)
	}
}

// MTU is how many bytes a packet may have at present, IPv4 header included. It follows path MTU discovery.
func (p *Path) MTU() int {
	if p.epoch != p.host.epoch {
		p.host.fill(p)
	}
	return int(p.mtu)
}

// Path fills in p. If local is 0, the address that fits remote is taken. EADDRNOTAVAIL: local is not ours;
// ENETUNREACH: there is no route; EHOSTUNREACH: not a known neighbour, and ARP is disabled; EINVAL: from 127.0.0.0/8
// to another host.
func (h *Host) Path(p *Path, local, remote wire.Addr) abi.Errno {
	inside := h.Local(remote)
	switch {
	case local != 0 && !h.Local(local):
		return syscall.EADDRNOTAVAIL
	case !unicast(remote) && !h.Broadcast(remote):
		return syscall.ENETUNREACH
	case local.Loopback() && !inside:
		return syscall.EINVAL
	case local == 0 && remote.Loopback():
		local = 127<<24 | 1
	case local == 0:
		local = h.addr
	}
	if !inside && !h.Broadcast(remote) {
		hop, ok := h.nextHop(remote)
		if !ok {
			return syscall.ENETUNREACH
		}
		if h.cfg.DisableARP && h.arp.find(hop) == nil {
			return syscall.EHOSTUNREACH
		}
	}
	p.Local, p.Remote, p.host = local, remote, h
	h.fill(p)
	return 0
}

// nextHop is the address on the link to which packets for a go.
func (h *Host) nextHop(a wire.Addr) (wire.Addr, bool) {
	if h.arp.fixed > 0 {
		if n := h.arp.find(a); n != nil && n.state == fixed {
			return a, true
		}
	}
	for i := range h.routes {
		r := &h.routes[i]
		if a&maskOf(r.Prefix) == r.Net {
			if r.Gateway != 0 {
				return r.Gateway, true
			}
			return a, true
		}
	}
	return 0, false
}

// fill makes the template of p.
func (h *Host) fill(p *Path) {
	h.counters.PathsFilled++
	p.epoch = h.epoch
	p.mtu, p.whole = uint16(h.mtu), true
	switch {
	case h.Local(p.Remote):
		p.to = &h.arp.self
	case h.Broadcast(p.Remote):
		p.to = &h.arp.everybody
	default:
		p.mtu, p.whole = h.mtus.get(p.Remote)
		hop, _ := h.nextHop(p.Remote) // Path has found that there is one
		p.to = h.arp.get(hop)
		p.to.wanted()
	}
	p.age = p.to.age
	p.id = &h.ids[uint8(h.hash(uint64(p.Remote)))]
	e := wire.Ethernet(p.head[:])
	e.Put(p.to.mac, h.own, wire.TypeIPv4)
	q := wire.IPv4(p.head[wire.EthernetLen:])
	class := p.Class
	if class == (Class{}) {
		class = h.Class()
	}
	q.Put(0, 0, 0, class.TTL, 0, p.Local, p.Remote)
	q[1] = class.DSCP << 2
	binary.BigEndian.PutUint16(q[10:], 0)
	p.sum = uint32(wire.Fold(wire.Sum(q, 0)))
}
