package ip

import (
	"encoding/binary"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

const allMACs = 0xffffffffffff

// longestFrame has the longest IPv4 packet. The MTU is the limit for what is sent; some devices put segments together.
const longestFrame = wire.EthernetLen + 65535

// receive handles one frame from the device.
func (h *Host) receive(f *link.Frame) {
	b := f.Data
	if len(b) < wire.EthernetLen+wire.IPv4Len {
		h.counters.FramesShort++
		return
	}
	if len(b) > longestFrame {
		h.counters.FramesLong++
		return
	}
	dst := binary.BigEndian.Uint64(b) >> 16
	if dst != h.mac && dst != allMACs {
		if b[0]&1 != 0 {
			h.counters.FramesMulticast++
		} else {
			h.counters.FramesForeign++
		}
		return
	}
	if b[6]&1 != 0 {
		h.counters.FramesSource++
		return
	}
	switch binary.BigEndian.Uint16(b[12:]) {
	case wire.TypeIPv4:
		h.input(b[wire.EthernetLen:], f.Flags&link.SumsGood != 0, dst == allMACs, false)
	case wire.TypeARP:
		h.arp.input(b[wire.EthernetLen:])
	default:
		h.counters.FramesType++
	}
}

// foresee tells TCP what will come in a burst. Nothing is checked yet but lengths: whoever lies gains nothing.
func (h *Host) foresee(n int) {
	for i := range h.frames[:n] {
		b := h.frames[i].Data
		if len(b) < headLen+wire.TCPLen || b[14] != 0x45 || b[23] != wire.ProtoTCP {
			continue
		}
		p, t := wire.IPv4(b[wire.EthernetLen:]), wire.TCP(b[headLen:])
		h.foresight.Foresee(p.Src(), p.Dst(), t.SrcPort(), t.DstPort())
	}
	for range lead {
		h.foresight.Near()
	}
}

// input handles an IPv4 packet, which came from the link or, looped, from this host.
func (h *Host) input(b []byte, sumsGood, linkGroup, looped bool) {
	h.counters.PacketsIn++
	p, ok := wire.ParseIPv4(b)
	if !ok {
		h.counters.BadHeader++
		return
	}
	if p[0] != 0x45 && !h.optionsGood(p) {
		return
	}
	if !sumsGood && !headerSumGood(p) {
		h.counters.BadSum++
		return
	}
	dst, src := p.Dst(), p.Src()
	group := false
	if dst != h.addr {
		if group = h.Broadcast(dst); !group && !(looped && dst.Loopback()) {
			h.counters.NotForUs++
			return
		}
	} else if linkGroup { // RFC 1122, section 3.3.6
		h.counters.BadBroadcast++
		return
	}
	if !looped && h.badSource(src) {
		h.counters.BadSource++
		return
	}
	k := &h.packet
	k.Src, k.Dst, k.Data, k.SumGood = src, dst, p.Payload(), sumsGood
	k.TTL, k.TOS, k.Group = p.TTL(), p.TOS(), group
	k.proto, k.header = p.Proto(), p[:p.HeaderLen()]
	if p.Fragment() {
		h.counters.FragmentsIn++
		h.fragments.input(k, p)
		return
	}
	h.deliver(k)
}

// deliver hands a whole packet to its protocol.
func (h *Host) deliver(k *Packet) {
	if proto := h.protocols[k.proto]; proto != nil {
		proto.Input(k)
		return
	}
	if k.proto == wire.ProtoICMP {
		h.icmpInput(k)
		return
	}
	h.counters.UnknownProto++
	h.Unreachable(k, wire.UnreachableProtocol)
}

// badSource tells whether a packet from outside cannot have come from src (RFC 1122, section 3.2.1.3).
func (h *Host) badSource(src wire.Addr) bool {
	if src == h.addr || !unicast(src) || src.Loopback() {
		return true
	}
	return h.directed != 0 && (src == h.directed || src == h.addr&h.mask)
}

// headerSumGood is IPv4.SumGood with a shorter way for headers without options.
func headerSumGood(p wire.IPv4) bool {
	if p[0] != 0x45 {
		return p.SumGood()
	}
	a, b, c := binary.BigEndian.Uint64(p), binary.BigEndian.Uint64(p[8:]), binary.BigEndian.Uint32(p[16:])
	return wire.Fold(a>>32+a&0xffffffff+b>>32+b&0xffffffff+uint64(c)) == 0xffff
}

// Options of IPv4.
const (
	optEnd         = 0
	optNop         = 1
	optLooseRoute  = 0x83
	optStrictRoute = 0x89
)

// optionsGood walks the options, of which none is heeded. Source routes would lead replies elsewhere, and nobody
// honest uses them.
func (h *Host) optionsGood(p wire.IPv4) bool {
	o := p[wire.IPv4Len:p.HeaderLen()]
	for len(o) > 0 && o[0] != optEnd {
		if o[0] == optNop {
			o = o[1:]
			continue
		}
		if o[0] == optLooseRoute || o[0] == optStrictRoute {
			h.counters.SourceRouted++
			return false
		}
		if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
			h.counters.BadOptions++
			return false
		}
		o = o[o[1]:]
	}
	return true
}
