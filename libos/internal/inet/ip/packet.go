package ip

import (
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// Protocol is a transport protocol.
type Protocol interface {
	// Input takes a packet for an address of this host.
	Input(p *Packet)
	// Failed tells that a packet of ours, or what claims to be one, did not arrive.
	Failed(f *Failure)
}

// Foresight is what TCP may implement as well.
type Foresight interface {
	// Foresee tells of a segment of the burst that is about to be handed over.
	Foresee(src, dst wire.Addr, srcPort, dstPort uint16)
	// Near has what the next of them needs fetched; there may be none left.
	Near()
}

// Packet is what has been received.
type Packet struct {
	Src, Dst wire.Addr
	Data     []byte // from the transport header on; valid during Input, and may be written to
	SumGood  bool   // the checksum of the transport protocol is known to be right
	TTL, TOS uint8
	Group    bool // came to a broadcast address, of the link or of IP

	proto  uint8
	header []byte // IPv4 header, that of the first fragment if there were several
}

// Failure is why a packet of ours was lost: an ICMP message, or nobody answers on the link.
type Failure struct {
	Errno         abi.Errno
	Local, Remote wire.Addr // of the lost packet
	Data          []byte    // the first bytes of its transport part, at least 8; valid during the call
	MTU           int       // of the next hop, if the packet was too big; see Host.TooBig
	Hard          bool      // will not go away by itself: protocol or port unreachable
	Here          bool      // found by this host, so it is true; otherwise anyone may have sent it: check Data
}
