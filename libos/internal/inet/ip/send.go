package ip

import (
	"encoding/binary"
	"syscall"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// maxPayload is the most that one packet, or its fragments, can carry.
const maxPayload = 65535 - wire.IPv4Len

// Buffer returns room for the transport part of a packet, as long as the MTU of the path permits, or nil if the device
// has none at present.
func (h *Host) Buffer(p *Path) []byte {
	if p.epoch != h.epoch || p.age != p.to.age {
		h.fill(p)
	}
	var b []byte
	if p.to == &h.arp.self {
		b = h.loop.buffer()
	} else {
		b = h.frame()
	}
	if b == nil {
		h.counters.NoBuffer++
		return nil
	}
	h.room = b
	return b[headLen : wire.EthernetLen+int(p.mtu)]
}

// frame is Device.Buffer, with a second try.
func (h *Host) frame() []byte {
	b := h.dev.Buffer()
	if b == nil {
		h.dev.Flush()
		b = h.dev.Buffer()
	}
	return b
}

// Send sends the first n bytes of what Buffer has returned. The checksum of the transport protocol is put at sumAt,
// over the pseudo-header as well; sumAt < 0: the packet has its checksum. If the neighbour is not known yet, the
// packet waits for that.
func (h *Host) Send(p *Path, n int, proto uint8, sumAt int) {
	var flags link.Flags
	if sumAt >= 0 {
		t := h.room[headLen : headLen+n]
		at := t[sumAt : sumAt+2]
		pseudo := wire.PseudoSum(p.Local, p.Remote, proto, n)
		switch {
		case p.to == &h.arp.self: // memory does not err; as when a device has checked, nobody looks
		case h.offloads&link.SumTransport != 0:
			binary.BigEndian.PutUint16(at, wire.Fold(pseudo))
			flags = link.SumTransport
		default:
			at[0], at[1] = 0, 0
			putSum(at, ^wire.Fold(wire.Sum(t, pseudo)), proto)
		}
	}
	if proto == wire.ProtoTCP && p.whole {
		h.emit(p, n, proto, wire.DontFragment, 0, flags) // RFC 6864: the identification of such a packet means nothing
		return
	}
	id := *p.id
	*p.id++
	h.emit(p, n, proto, 0, id, flags)
}

// putSum writes a checksum. RFC 768: a sum of 0 would mean that there is none.
func putSum(at []byte, sum uint16, proto uint8) {
	if sum == 0 && proto == wire.ProtoUDP {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(at, sum)
}

// emit writes the headers and passes the frame on. fragment has the flags and the offset.
func (h *Host) emit(p *Path, n int, proto uint8, fragment, id uint16, flags link.Flags) {
	b := h.room[:headLen+n]
	total := uint32(n + wire.IPv4Len)
	*(*[headLen]byte)(b) = p.head
	binary.BigEndian.PutUint16(b[16:], uint16(total))
	binary.BigEndian.PutUint32(b[18:], uint32(id)<<16|uint32(fragment))
	b[23] = proto
	sum := p.sum + total + uint32(id) + uint32(fragment) + uint32(proto)
	sum = sum>>16 + sum&0xffff
	sum += sum >> 16
	binary.BigEndian.PutUint16(b[24:], ^uint16(sum))
	h.counters.PacketsOut++
	switch to := p.to; {
	case to.state >= reachable:
		to.used = true
		h.dev.Send(len(b), flags)
	case to.state == self:
		h.counters.Looped++
		h.loop.add(n + wire.IPv4Len)
	default:
		to.keep(b, flags)
	}
}

// SendLarge sends data, in fragments if need be. It writes the checksum to data, like Send. EMSGSIZE: more than fits
// into one packet of IP; EAGAIN: the device has no room at present.
func (h *Host) SendLarge(p *Path, data []byte, proto uint8, sumAt int) abi.Errno {
	if len(data) > maxPayload {
		return syscall.EMSGSIZE
	}
	b := h.Buffer(p)
	if b == nil {
		return syscall.EAGAIN
	}
	if len(data) <= len(b) {
		copy(b, data)
		h.Send(p, len(data), proto, sumAt)
		return 0
	}
	if sumAt >= 0 {
		at := data[sumAt : sumAt+2]
		at[0], at[1] = 0, 0
		putSum(at, ^wire.Fold(wire.Sum(data, wire.PseudoSum(p.Local, p.Remote, proto, len(data)))), proto)
	}
	id := *p.id
	*p.id++
	for offset := 0; ; {
		rest := data[offset:]
		flags := uint16(offset / 8)
		if len(rest) > len(b) {
			rest = rest[:len(b)&^7]
			flags |= wire.MoreFragments
		}
		h.counters.FragmentsOut++
		n := copy(b, rest)
		h.emit(p, n, proto, flags, id, 0)
		if offset += n; offset == len(data) {
			return 0
		}
		if b = h.Buffer(p); b == nil {
			return 0 // the datagram is lost
		}
	}
}
