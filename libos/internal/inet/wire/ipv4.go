package wire

import "encoding/binary"

// Protocol numbers.
const (
	ProtoICMP uint8 = 1
	ProtoTCP  uint8 = 6
	ProtoUDP  uint8 = 17
)

// Bits of the word with flags and fragment offset.
const (
	DontFragment  uint16 = 0x4000
	MoreFragments uint16 = 0x2000
	offsetMask    uint16 = 0x1fff
)

// IPv4 is a header of RFC 791, with its options, and what follows.
type IPv4 []byte

// ParseIPv4 checks version and lengths (not the checksum), and cuts off what the link has padded.
func ParseIPv4(p []byte) (IPv4, bool) {
	if len(p) < IPv4Len || p[0]>>4 != 4 {
		return nil, false
	}
	h, n := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
	if h < IPv4Len || n < h || n > len(p) {
		return nil, false
	}
	return IPv4(p[:n]), true
}

// Accessors of the fields.
func (p IPv4) HeaderLen() int      { return int(p[0]&15) * 4 }
func (p IPv4) TOS() uint8          { return p[1] }
func (p IPv4) TotalLen() int       { return int(binary.BigEndian.Uint16(p[2:])) }
func (p IPv4) ID() uint16          { return binary.BigEndian.Uint16(p[4:]) }
func (p IPv4) Flags() uint16       { return binary.BigEndian.Uint16(p[6:]) &^ offsetMask }
func (p IPv4) FragmentOffset() int { return int(binary.BigEndian.Uint16(p[6:])&offsetMask) * 8 }
func (p IPv4) Fragment() bool      { return binary.BigEndian.Uint16(p[6:])&(offsetMask|MoreFragments) != 0 }
func (p IPv4) TTL() uint8          { return p[8] }
func (p IPv4) Proto() uint8        { return p[9] }
func (p IPv4) Sum() uint16         { return binary.BigEndian.Uint16(p[10:]) }
func (p IPv4) Src() Addr           { return Addr(binary.BigEndian.Uint32(p[12:])) }
func (p IPv4) Dst() Addr           { return Addr(binary.BigEndian.Uint32(p[16:])) }
func (p IPv4) Payload() []byte     { return p[p.HeaderLen():] }
func (p IPv4) SumGood() bool       { return Fold(Sum(p[:p.HeaderLen()], 0)) == 0xffff }

// Put writes a header without options, and its checksum. total is the length of the packet, flags has the offset
// in units of 8 bytes, too.
func (p IPv4) Put(total int, id, flags uint16, ttl, proto uint8, src, dst Addr) {
	p[0], p[1] = 0x45, 0
	binary.BigEndian.PutUint16(p[2:], uint16(total))
	binary.BigEndian.PutUint16(p[4:], id)
	binary.BigEndian.PutUint16(p[6:], flags)
	p[8], p[9] = ttl, proto
	binary.BigEndian.PutUint16(p[10:], 0)
	binary.BigEndian.PutUint32(p[12:], uint32(src))
	binary.BigEndian.PutUint32(p[16:], uint32(dst))
	binary.BigEndian.PutUint16(p[10:], ^Fold(Sum(p[:IPv4Len], 0)))
}
