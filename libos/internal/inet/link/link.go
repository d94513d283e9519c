// Package link holds the Ethernet-like devices that the TCP/IP stack can sit on, and what can be put between.
//
// # Call order
//
// Receive hands out frames that stay valid until the next Receive. Buffer gives room for one frame to be sent, Send
// queues it, Flush passes the queue on. Close comes last.
//
// # Threading
//
// A device belongs to one thread at a time and starts no goroutine that touches its state.
package link

import "github.com/libdmtr/libdmtr/libos/internal/inet/wire"

// Frame is an Ethernet frame that was received, from the destination address on and without the check sequence.
type Frame struct {
	Data  []byte
	Flags Flags
}

// Flags say what a device has found out about a frame, or is to do with one.
type Flags uint32

const (
	// SumsGood: the checksum of the IPv4 header and that of TCP or UDP have been verified, or need not be, since the
	// frame has not left the machine; what is in the fields may then be unfinished. Never set on fragments.
	SumsGood Flags = 1 << iota
	// SumIPv4 asks the device to fill in the checksum of the IPv4 header; only if Info.Offloads has it.
	SumIPv4
	// SumTransport asks it to fill in that of TCP or UDP, whose field holds the folded sum of the pseudo-header.
	SumTransport
)

// Info describes a device. It does not change.
type Info struct {
	Name     string
	MAC      wire.MAC
	MTU      int   // bytes of an IP packet
	Offloads Flags // SumIPv4, SumTransport: what Send can be asked for
	FD       int   // readable when Receive has something, once it has returned 0; -1: the device has to be polled
}

// Device is an Ethernet-like device. No method blocks or allocates.
type Device interface {
	Info() Info
	// Receive fills in as many frames as are there and returns their number. The stack may write to their bytes; they
	// are valid until the next call of Receive or Close. Frames may be longer than the MTU, where the sender's kernel
	// leaves it to others to cut them.
	Receive(frames []Frame) int
	// Buffer returns room for a frame of up to MTU + wire.EthernetLen bytes, of any content, or nil if there is none
	// at present. It is the same one until Send takes it.
	Buffer() []byte
	// Send queues the first n bytes of the buffer that Buffer returned last, or sends them at once. If they are less
	// than a header or more than the buffer, they are lost, and counted in TxDropped.
	Send(n int, flags Flags)
	// Flush passes on what Send has queued. What the link has no room for is lost, and counted.
	Flush()
	Counters() *Counters
	Close()
}

// Counters of a device.
type Counters struct {
	RxFrames, RxBytes uint64
	TxFrames, TxBytes uint64
	RxDropped         uint64 // lost before Receive, as far as the device tells
	TxDropped         uint64 // lost in Send or Flush, for want of room
	RxErrors          uint64 // too short, too long, or marked bad by the device
}
