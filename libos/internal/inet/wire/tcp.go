package wire

import "encoding/binary"

// Seq is a sequence number of TCP, compared modulo 2^32 (RFC 9293, section 3.4).
type Seq uint32

// Before tells whether s comes before t.
func (s Seq) Before(t Seq) bool { return int32(s-t) < 0 }

// AtMost tells whether s comes before t or is t.
func (s Seq) AtMost(t Seq) bool { return int32(s-t) <= 0 }

// Since is how many bytes s is beyond t.
func (s Seq) Since(t Seq) int { return int(int32(s - t)) }

// TCPFlags are the control bits.
type TCPFlags uint8

// Control bits.
const (
	FIN TCPFlags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// MaxTCPOptions is the room for options in a header.
const MaxTCPOptions = 40

// TCP is a header of RFC 9293, with its options, and what follows.
type TCP []byte

// ParseTCP checks the data offset.
func ParseTCP(p []byte) (TCP, bool) {
	if len(p) < TCPLen {
		return nil, false
	}
	if h := int(p[12]>>4) * 4; h < TCPLen || h > len(p) {
		return nil, false
	}
	return TCP(p), true
}

// Accessors of the fields.
func (t TCP) SrcPort() uint16 { return binary.BigEndian.Uint16(t) }
func (t TCP) DstPort() uint16 { return binary.BigEndian.Uint16(t[2:]) }
func (t TCP) Seq() Seq        { return Seq(binary.BigEndian.Uint32(t[4:])) }
func (t TCP) Ack() Seq        { return Seq(binary.BigEndian.Uint32(t[8:])) }
func (t TCP) HeaderLen() int  { return int(t[12]>>4) * 4 }
func (t TCP) Flags() TCPFlags { return TCPFlags(t[13]) }
func (t TCP) Window() uint16  { return binary.BigEndian.Uint16(t[14:]) }
func (t TCP) Sum() uint16     { return binary.BigEndian.Uint16(t[16:]) }
func (t TCP) Urgent() uint16  { return binary.BigEndian.Uint16(t[18:]) }
func (t TCP) Options() []byte { return t[TCPLen:t.HeaderLen()] }
func (t TCP) Payload() []byte { return t[t.HeaderLen():] }

// Put writes a header of headerLen bytes, whose options are written by others, with no checksum and no urgent pointer.
func (t TCP) Put(src, dst uint16, seq, ack Seq, headerLen int, flags TCPFlags, window uint16) {
	binary.BigEndian.PutUint16(t, src)
	binary.BigEndian.PutUint16(t[2:], dst)
	binary.BigEndian.PutUint32(t[4:], uint32(seq))
	binary.BigEndian.PutUint32(t[8:], uint32(ack))
	t[12], t[13] = uint8(headerLen/4)<<4, uint8(flags)
	binary.BigEndian.PutUint16(t[14:], window)
	binary.BigEndian.PutUint32(t[16:], 0)
}
