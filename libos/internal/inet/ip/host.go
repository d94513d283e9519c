// Package ip is the network layer of one interface: ARP, IPv4 with fragments, routes, ICMP and the way back to own
// addresses.
//
// # Call order
//
// New, then Register for each transport protocol, then Poll and the timers of the wheel in turn, with Flush of the
// device after both. A transport gets a Path to a peer once, and for each packet asks for a Buffer, writes its part
// there, and calls Send. Nothing else may be called between Buffer and Send.
//
// # Threading
//
// A Host, its device and its wheel belong to one thread at a time. Protocol.Input and Failed are called from Poll and
// from timers; they may send, but must not call Poll.
package ip

import (
	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// Route sends what is for a network by way of a gateway.
type Route struct {
	Net     wire.Addr
	Prefix  int
	Gateway wire.Addr // 0: the network is on the link
}

// Config of a Host.
type Config struct {
	Addr       wire.Addr
	Prefix     int       // of the network on the link
	Gateway    wire.Addr // 0: none
	Routes     []Route   // the longest prefix wins
	Known      map[wire.Addr]wire.MAC
	DisableARP bool // neither ask nor answer: Known is all there is
	MTU        int  // 0: that of the device
	Secret     [16]byte
}

// Protocol is a transport protocol.
type Protocol interface {
	// Input takes a packet for an address of this host.
	Input(p *Packet)
	// Failed tells that a packet of ours, or what claims to be one, did not arrive.
	Failed(f *Failure)
}

// Packet is what has been received.
type Packet struct {
	Src, Dst wire.Addr
	Data     []byte // from the transport header on; valid during Input, and may be written to
	SumGood  bool   // the checksum of the transport protocol is known to be right
	TTL, TOS uint8
	Group    bool // came to a broadcast address, of the link or of IP

	header []byte // IPv4 header, before Data in memory unless the packet was in fragments
}

// Failure is why a packet of ours was lost: an ICMP message, or nobody answers on the link.
type Failure struct {
	Errno         abi.Errno
	Local, Remote wire.Addr // of the lost packet
	Data          []byte    // the first bytes of its transport part, at least 8
	MTU           int       // of the next hop, if the packet was too big; see Host.TooBig
	Hard          bool      // will not go away by itself: protocol or port unreachable
	Here          bool      // found by this host, so it is true; otherwise anyone may have sent it: check Data
}

// Path is the way to a peer, made ready by Host.Path and kept by whoever sends there more than once.
type Path struct {
	Local, Remote wire.Addr

	host *Host
	mtu  int
}

// MTU is how many bytes a packet may have at present, IPv4 header included. It follows path MTU discovery.
func (p *Path) MTU() int { return p.mtu }

// Host is the network layer.
type Host struct {
	dev    link.Device
	timers *timer.Wheel
	now    int64
}

// New makes a Host. Its announcement on the link goes out with the first run of the timers.
func New(dev link.Device, timers *timer.Wheel, cfg *Config, now int64) (*Host, abi.Errno) {
	return &Host{dev: dev, timers: timers, now: now}, 0
}

// Register has packets of a protocol handed to p.
func (h *Host) Register(proto uint8, p Protocol) {}

// Now is the time of the current Poll, or what SetNow has told.
func (h *Host) Now() int64 { return h.now }

// SetNow tells the time before calls from outside Poll.
func (h *Host) SetNow(now int64) { h.now = now }

// Poll receives what the device has, up to one burst, and what the host has sent to itself. It tells whether
// there may be more.
func (h *Host) Poll(now int64) (busy bool) {
	h.now = now
	return false
}

// Local tells whether a is an address of this host.
func (h *Host) Local(a wire.Addr) bool { return false }

// Path fills in p. If local is 0, the address that fits remote is taken.
func (h *Host) Path(p *Path, local, remote wire.Addr) abi.Errno { return 0 }

// Buffer returns room for the transport part of a packet, as long as the MTU of the path permits, or nil if the device
// has none at present.
func (h *Host) Buffer(p *Path) []byte { return nil }

// Send sends the first n bytes of what Buffer has returned. The checksum of the transport protocol is put at sumAt,
// over the pseudo-header as well; sumAt < 0: the packet has its checksum. If the neighbour is not known yet, the packet waits for that.
func (h *Host) Send(p *Path, n int, proto uint8, sumAt int) {}

// SendLarge sends data, in fragments if need be. It writes the checksum to data, like Send.
func (h *Host) SendLarge(p *Path, data []byte, proto uint8, sumAt int) abi.Errno { return 0 }

// TooBig accepts what a Failure says about the MTU: the protocol has checked that it is about a packet of ours.
func (h *Host) TooBig(f *Failure) {}

// Unreachable sends an ICMP message in answer to a packet, with a code of destination unreachable, if the rules
// permit.
func (h *Host) Unreachable(p *Packet, code uint8) {}
