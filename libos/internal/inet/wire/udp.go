package wire

import "encoding/binary"

// UDP is a header of RFC 768 and what follows.
type UDP []byte

// ParseUDP checks the length, and cuts off what is behind it.
func ParseUDP(p []byte) (UDP, bool) {
	if len(p) < UDPLen {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(p[4:]))
	if n < UDPLen || n > len(p) {
		return nil, false
	}
	return UDP(p[:n]), true
}

// Accessors of the fields.
func (u UDP) SrcPort() uint16 { return binary.BigEndian.Uint16(u) }
func (u UDP) DstPort() uint16 { return binary.BigEndian.Uint16(u[2:]) }
func (u UDP) Sum() uint16     { return binary.BigEndian.Uint16(u[6:]) }
func (u UDP) Payload() []byte { return u[UDPLen:] }

// Put writes the header for n bytes, header included, with no checksum.
func (u UDP) Put(src, dst uint16, n int) {
	binary.BigEndian.PutUint16(u, src)
	binary.BigEndian.PutUint16(u[2:], dst)
	binary.BigEndian.PutUint16(u[4:], uint16(n))
	binary.BigEndian.PutUint16(u[6:], 0)
}
