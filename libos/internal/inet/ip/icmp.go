package ip

import (
	"encoding/binary"
	"syscall"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// unreachables are the errors by code. RFC 1122, section 4.2.3.9: only what the host itself says is final; RFC 1812 has
// the codes from 6 on.
var unreachables = [16]abi.Errno{
	syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENOPROTOOPT, syscall.ECONNREFUSED,
	syscall.EMSGSIZE, syscall.EOPNOTSUPP, syscall.ENETUNREACH, syscall.EHOSTDOWN,
	syscall.ENONET, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
	syscall.EHOSTUNREACH, syscall.EHOSTUNREACH, syscall.EHOSTUNREACH, syscall.EHOSTUNREACH,
}

// icmpInput handles an ICMP message.
func (h *Host) icmpInput(k *Packet) {
	h.counters.ICMPIn++
	m, ok := wire.ParseICMP(k.Data)
	if !ok || !m.SumGood() {
		h.counters.ICMPBad++
		return
	}
	switch m.Type() {
	case wire.ICMPEcho:
		if k.Group { // RFC 1122, section 3.2.2.6
			h.counters.ICMPIgnored++
			return
		}
		h.echo(k)
	case wire.ICMPUnreachable, wire.ICMPTimeExceeded, wire.ICMPBadParameter:
		h.icmpError(k, m)
	default: // redirects can be forged too easily, source quench is dead (RFC 6633)
		h.counters.ICMPIgnored++
	}
}

// echo answers a ping.
func (h *Host) echo(k *Packet) {
	if h.answerTo(k) != 0 {
		return
	}
	m := k.Data
	m[0] = wire.ICMPEchoReply
	sum := uint32(binary.BigEndian.Uint16(m[2:])) + uint32(wire.ICMPEcho)<<8 // RFC 1624
	binary.BigEndian.PutUint16(m[2:], uint16(sum+sum>>16))
	if h.SendLarge(&h.answer, m, wire.ProtoICMP, -1) == 0 {
		h.counters.EchoReplies++
	}
}

// answerTo makes the path back to the sender of k.
func (h *Host) answerTo(k *Packet) abi.Errno {
	if h.answer.host != nil && h.answer.Remote == k.Src && h.answer.Local == k.Dst {
		return 0
	}
	return h.Path(&h.answer, k.Dst, k.Src)
}

// icmpError passes an error on to the protocol whose packet it has.
func (h *Host) icmpError(k *Packet, m wire.ICMP) {
	p, data, ok := m.Original()
	if !ok || len(data) < 8 || k.Group || p.FragmentOffset() != 0 || p.Src() != k.Dst {
		h.counters.ICMPBad++
		return
	}
	proto := h.protocols[p.Proto()]
	if proto == nil {
		h.counters.ICMPIgnored++
		return
	}
	f := &h.failure
	*f = Failure{Local: p.Src(), Remote: p.Dst(), Data: data}
	switch code := m.Code(); {
	case m.Type() == wire.ICMPTimeExceeded:
		f.Errno = syscall.EHOSTUNREACH
	case m.Type() == wire.ICMPBadParameter:
		f.Errno = syscall.EPROTO
	case code >= uint8(len(unreachables)):
		h.counters.ICMPIgnored++
		return
	default:
		f.Errno = unreachables[code]
		f.Hard = code == wire.UnreachableProtocol || code == wire.UnreachablePort
		if code == wire.FragmentationNeeded {
			if f.MTU = int(m.MTU()); f.MTU == 0 {
				f.MTU = plateau(p.TotalLen())
			}
		}
	}
	h.counters.ICMPErrorsIn++
	proto.Failed(f)
}

// plateau guesses the MTU that was too small for n bytes, for routers that do not say it (RFC 1191, section 7.1).
func plateau(n int) int {
	for _, m := range [...]int{32000, 17914, 8166, 4352, 2002, 1492, 1006, 576, 508, 296} {
		if m < n {
			return m
		}
	}
	return minMTU
}

// Unreachable sends an ICMP message in answer to a packet, with a code of destination unreachable, if the rules
// permit.
func (h *Host) Unreachable(k *Packet, code uint8) {
	if h.sendError(k, wire.ICMPUnreachable, code) {
		h.counters.UnreachOut++
	}
}

// mostOfError is how long an error may be (RFC 1812, section 4.3.2.3).
const mostOfError = 576 - wire.IPv4Len

// sendError sends an ICMP error, with as much of the packet as fits. RFC 1122, section 3.2.2: never about broadcasts or
// ICMP errors; those about fragments but the first cannot come here, nor senders that are not one host.
func (h *Host) sendError(k *Packet, typ, code uint8) bool {
	if k.Group || (k.proto == wire.ProtoICMP && (len(k.Data) == 0 || wire.ICMP(k.Data).Error())) {
		return false
	}
	if !h.mayReport() {
		h.counters.ICMPLimited++
		return false
	}
	if h.answerTo(k) != 0 {
		return false
	}
	b := h.Buffer(&h.answer)
	if b == nil {
		return false
	}
	b = b[:min(len(b), mostOfError)]
	n := wire.ICMPLen + copy(b[wire.ICMPLen:], k.header)
	n += copy(b[n:], k.Data)
	wire.ICMP(b[:n]).Put(typ, code, 0)
	h.Send(&h.answer, n, wire.ProtoICMP, -1)
	return true
}

const errorBurst = 64

// mayReport limits the rate of errors. What one costs varies, so that nobody can find out by counting whether somebody
// else got an error (CVE-2020-25705).
func (h *Host) mayReport() bool {
	interval := second / int64(h.cfg.ICMPErrors)
	if h.nextError-h.now > errorBurst*interval {
		return false
	}
	h.nextError = max(h.nextError, h.now) + interval/2 + int64(h.Random())%interval
	return true
}
