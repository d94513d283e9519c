package wire

import "encoding/binary"

// Types of ICMP messages (RFC 792).
const (
	ICMPEchoReply    uint8 = 0
	ICMPUnreachable  uint8 = 3
	ICMPSourceQuench uint8 = 4
	ICMPRedirect     uint8 = 5
	ICMPEcho         uint8 = 8
	ICMPTimeExceeded uint8 = 11
	ICMPBadParameter uint8 = 12
)

// Codes of ICMPUnreachable.
const (
	UnreachableNet      uint8 = 0
	UnreachableHost     uint8 = 1
	UnreachableProtocol uint8 = 2
	UnreachablePort     uint8 = 3
	FragmentationNeeded uint8 = 4
	SourceRouteFailed   uint8 = 5
)

// Codes of ICMPTimeExceeded.
const (
	ExceededTTL        uint8 = 0
	ExceededReassembly uint8 = 1
)

// ICMP is a message of RFC 792.
type ICMP []byte

// ParseICMP checks the length, not the checksum.
func ParseICMP(p []byte) (ICMP, bool) {
	if len(p) < ICMPLen {
		return nil, false
	}
	return ICMP(p), true
}

// Accessors of the fields. ID and Seq are those of echo messages; MTU, of the next hop, is that of
// FragmentationNeeded (RFC 1191), 0 in messages of old routers; Payload is the data of an echo, or the packet that
// an error is about.
func (m ICMP) Type() uint8     { return m[0] }
func (m ICMP) Code() uint8     { return m[1] }
func (m ICMP) SumGood() bool   { return Fold(Sum(m, 0)) == 0xffff }
func (m ICMP) ID() uint16      { return binary.BigEndian.Uint16(m[4:]) }
func (m ICMP) Seq() uint16     { return binary.BigEndian.Uint16(m[6:]) }
func (m ICMP) MTU() uint16     { return binary.BigEndian.Uint16(m[6:]) }
func (m ICMP) Payload() []byte { return m[ICMPLen:] }

// Error tells whether the message is about a packet, or is of a type not known, which must not be answered with
// another error (RFC 1122, 3.2.2).
func (m ICMP) Error() bool {
	switch m[0] {
	case ICMPUnreachable, ICMPSourceQuench, ICMPRedirect, ICMPTimeExceeded, ICMPBadParameter:
		return true
	}
	return m[0] > 18
}

// Original is the packet that an error is about: its header, whose checks are those of ParseIPv4 but for the total
// length, and as much of its payload as the message has.
func (m ICMP) Original() (header IPv4, payload []byte, ok bool) {
	p := m.Payload()
	if len(p) < IPv4Len || p[0]>>4 != 4 {
		return nil, nil, false
	}
	h := int(p[0]&15) * 4
	total := int(binary.BigEndian.Uint16(p[2:]))
	if h < IPv4Len || h > len(p) || total < h {
		return nil, nil, false
	}
	if total < len(p) {
		p = p[:total]
	}
	return IPv4(p[:h]), p[h:], true
}

// Put writes the header of a message whose payload is in place; rest are the last four bytes of the header.
func (m ICMP) Put(typ, code uint8, rest uint32) {
	m[0], m[1], m[2], m[3] = typ, code, 0, 0
	binary.BigEndian.PutUint32(m[4:], rest)
	binary.BigEndian.PutUint16(m[2:], ^Fold(Sum(m, 0)))
}
