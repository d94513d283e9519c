// Package wire reads and writes the headers of Ethernet, ARP, IPv4, ICMP, UDP and TCP.
//
// A header is a []byte with accessors. The Parse functions check all lengths; the accessors do not, and are for what
// has been checked or is being built. All values are in host order, except in the bytes.
package wire

import (
	"encoding/binary"
	"fmt"
)

// Sizes of headers without options.
const (
	EthernetLen = 14
	ARPLen      = 28
	IPv4Len     = 20
	ICMPLen     = 8
	UDPLen      = 8
	TCPLen      = 20
)

// EtherTypes.
const (
	TypeIPv4 uint16 = 0x0800
	TypeARP  uint16 = 0x0806
)

// MAC is an Ethernet address.
type MAC [6]byte

// Broadcast is the Ethernet address of all.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// Group tells whether the address is broadcast or multicast.
func (m MAC) Group() bool { return m[0]&1 != 0 }

func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Addr is an IPv4 address in host order: 10.0.0.1 is 0x0a000001.
type Addr uint32

// AddrFrom makes an address of its four bytes.
func AddrFrom(b [4]byte) Addr { return Addr(binary.BigEndian.Uint32(b[:])) }

// Bytes are the four bytes as they are on the wire.
func (a Addr) Bytes() (b [4]byte) {
	binary.BigEndian.PutUint32(b[:], uint32(a))
	return b
}

// Multicast tells whether the address is of class D.
func (a Addr) Multicast() bool { return a>>28 == 14 }

// Loopback tells whether the address is of 127.0.0.0/8.
func (a Addr) Loopback() bool { return a>>24 == 127 }

func (a Addr) String() string {
	b := a.Bytes()
	return fmt.Sprintf("%d.%d.%d.%d", b[0], b[1], b[2], b[3])
}

// Ethernet is an Ethernet header and what follows.
type Ethernet []byte

// Dst, Src and Type read the header.
func (e Ethernet) Dst() MAC     { return MAC(e[0:6]) }
func (e Ethernet) Src() MAC     { return MAC(e[6:12]) }
func (e Ethernet) Type() uint16 { return binary.BigEndian.Uint16(e[12:]) }

// Put writes the header.
func (e Ethernet) Put(dst, src MAC, typ uint16) {
	copy(e[0:6], dst[:])
	copy(e[6:12], src[:])
	binary.BigEndian.PutUint16(e[12:], typ)
}
