package wire

import "encoding/binary"

// ARP operations.
const (
	ARPRequest uint16 = 1
	ARPReply   uint16 = 2
)

// ARP is a packet of RFC 826 for Ethernet and IPv4.
type ARP []byte

// ParseARP checks that p is such a packet.
func ParseARP(p []byte) (ARP, bool) {
	if len(p) < ARPLen || binary.BigEndian.Uint64(p)>>16 != 0x000108000604 {
		return nil, false
	}
	return ARP(p[:ARPLen]), true
}

// Op, SrcMAC, Src, DstMAC and Dst read the packet.
func (a ARP) Op() uint16  { return binary.BigEndian.Uint16(a[6:]) }
func (a ARP) SrcMAC() MAC { return MAC(a[8:14]) }
func (a ARP) Src() Addr   { return Addr(binary.BigEndian.Uint32(a[14:])) }
func (a ARP) DstMAC() MAC { return MAC(a[18:24]) }
func (a ARP) Dst() Addr   { return Addr(binary.BigEndian.Uint32(a[24:])) }

// Put writes the packet.
func (a ARP) Put(op uint16, srcMAC MAC, src Addr, dstMAC MAC, dst Addr) {
	binary.BigEndian.PutUint64(a, 0x0001080006040000|uint64(op))
	copy(a[8:14], srcMAC[:])
	binary.BigEndian.PutUint32(a[14:], uint32(src))
	copy(a[18:24], dstMAC[:])
	binary.BigEndian.PutUint32(a[24:], uint32(dst))
}
