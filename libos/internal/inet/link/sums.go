package link

import (
	"encoding/binary"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// sumPlace finds the checksum of TCP or UDP in a frame: where the segment begins and ends, and where in it the sum
// is. ok is false for anything else, and for fragments.
func sumPlace(frame []byte) (start, end, field int, ok bool) {
	if len(frame) < wire.EthernetLen || wire.Ethernet(frame).Type() != wire.TypeIPv4 {
		return 0, 0, 0, false
	}
	p, ok := wire.ParseIPv4(frame[wire.EthernetLen:])
	if !ok || p.Fragment() {
		return 0, 0, 0, false
	}
	start, end = wire.EthernetLen+p.HeaderLen(), wire.EthernetLen+len(p)
	switch {
	case p.Proto() == wire.ProtoTCP && end-start >= wire.TCPLen:
		return start, end, 16, true
	case p.Proto() == wire.ProtoUDP && end-start >= wire.UDPLen:
		return start, end, 6, true
	}
	return 0, 0, 0, false
}

// fillSums does in software what flags ask a device for.
func fillSums(frame []byte, flags Flags) {
	if flags&SumTransport != 0 {
		if start, end, field, ok := sumPlace(frame); ok {
			sum := ^wire.Fold(wire.Sum(frame[start:end], 0))
			if sum == 0 { // RFC 768: 0 means none
				sum = 0xffff
			}
			binary.BigEndian.PutUint16(frame[start+field:], sum)
		}
	}
	if flags&SumIPv4 != 0 && len(frame) >= wire.EthernetLen+wire.IPv4Len && wire.Ethernet(frame).Type() == wire.TypeIPv4 {
		if p, ok := wire.ParseIPv4(frame[wire.EthernetLen:]); ok {
			binary.BigEndian.PutUint16(p[10:], 0)
			binary.BigEndian.PutUint16(p[10:], ^wire.Fold(wire.Sum(p[:p.HeaderLen()], 0)))
		}
	}
}

// unfinished makes a frame that came with SumsGood, and whose sums need therefore not be filled in, ready to be sent.
// It returns what has still to be done.
func unfinished(frame []byte) Flags {
	start, end, field, ok := sumPlace(frame)
	if !ok {
		return SumIPv4
	}
	p := wire.IPv4(frame[wire.EthernetLen:])
	binary.BigEndian.PutUint16(frame[start+field:], wire.Fold(wire.PseudoSum(p.Src(), p.Dst(), p.Proto(), end-start)))
	return SumIPv4 | SumTransport
}

// trusted says which flags a frame deserves whose transport checksum the kernel has verified, or left open because
// the sender is on this machine. It never means the header of IPv4, and fragments have no checksum.
func trusted(frame []byte) Flags {
	if len(frame) < wire.EthernetLen || wire.Ethernet(frame).Type() != wire.TypeIPv4 {
		return 0
	}
	if p, ok := wire.ParseIPv4(frame[wire.EthernetLen:]); !ok || p.Fragment() || !p.SumGood() {
		return 0
	}
	return SumsGood
}
