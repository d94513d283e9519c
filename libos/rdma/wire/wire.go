// Package wire is what two RDMA libOSes say to each other: the private data of the connection manager, and the headers of messages.
// All numbers are big-endian.
//
// # Connections
//
// Both sides begin with a Hello, in the private data of the request and of the answer; who does not like the other's, rejects with a
// Reason. Then each message, one SEND, begins with a Header:
//
//	type | 0 | credits (16 bits) | length (32 bits)
//
// and continues with what its type says. Message types, and what length means:
//
//	Data     length bytes of the byte stream follow
//	Request  the rest of the message is of the byte stream, and the length bytes behind it are waiting to be written by RDMA
//	Grant    length of them may be written to an address of the receiver, with a key: both follow
//	Decline  length, all of them, are to come as Data
//	Wrote    length, those of the oldest grant, have been written; 0: they cannot be, and must be declined
//	Credit   nothing but the credits
//	Fin      the stream ends here
//
// credits are receive buffers of Data and Request messages that have become free. The others need no credit: how many of them can be
// under way follows from the protocol (Spare), so each side has that many more buffers.
//
// # Datagrams
//
// Each begins with the magic and the port of its sender.
package wire

import (
	"encoding/binary"
	"errors"
)

// Bounds.
const (
	Version     = 1
	MinBuffer   = 256
	MaxBuffer   = 1 << 20
	MinCredits  = 2
	MaxCredits  = 1 << 12
	MaxRequest  = 1 << 30
	MaxGrants   = 2 // under way at a time, in one direction
	HeaderLen   = 8
	GrantLen    = HeaderLen + 12
	HelloLen    = 12
	ReasonLen   = 6
	DatagramLen = 6

	// Spare is how many messages without a credit can be under way: two Credits, each for at least half of the buffers; Grants and
	// Declines; as many Wrotes; a Fin.
	Spare = 2 + MaxGrants + MaxGrants + 1

	magic         = 0x646d7472
	datagramMagic = 0x646d7475
)

// Errors of the parsers.
var (
	ErrMagic   = errors.New("not from a library of this kind")
	ErrVersion = errors.New("of another version")
	ErrRange   = errors.New("a number out of range")
	ErrLength  = errors.New("wrong length")
	ErrType    = errors.New("unknown type")
)

// Hello is how each side introduces itself.
type Hello struct {
	Credits uint16 // receive buffers for Data and Request
	Buffer  uint32 // bytes of each
}

// Put writes a Hello to p, which has room for HelloLen.
func (h *Hello) Put(p []byte) {
	binary.BigEndian.PutUint32(p, magic)
	p[4], p[5] = Version, 0
	binary.BigEndian.PutUint16(p[6:], h.Credits)
	binary.BigEndian.PutUint32(p[8:], h.Buffer)
}

// ParseHello reads a Hello. Bytes behind it do not matter, since the connection manager may add some.
func ParseHello(p []byte) (h Hello, err error) {
	if err = begins(p, HelloLen); err != nil {
		return h, err
	}
	h = Hello{binary.BigEndian.Uint16(p[6:]), binary.BigEndian.Uint32(p[8:])}
	if p[5] != 0 || h.Credits < MinCredits || h.Credits > MaxCredits || h.Buffer < MinBuffer || h.Buffer > MaxBuffer {
		return h, ErrRange
	}
	return h, nil
}

func begins(p []byte, n int) error {
	switch {
	case len(p) < n:
		return ErrLength
	case binary.BigEndian.Uint32(p) != magic:
		return ErrMagic
	case p[4] != Version:
		return ErrVersion
	}
	return nil
}

// Reason is why a connection was rejected.
type Reason uint8

// Reasons.
const (
	Closed   Reason = iota + 1 // nobody listens
	Busy                       // the backlog is full, or there is no memory
	Mismatch                   // the Hello is none, or of another version
)

// Put writes a Reason to p, which has room for ReasonLen.
func (r Reason) Put(p []byte) {
	binary.BigEndian.PutUint32(p, magic)
	p[4], p[5] = Version, byte(r)
}

// ParseReason reads a Reason. That of another version can be read, too, as it may be the reason.
func ParseReason(p []byte) (Reason, error) {
	switch {
	case len(p) < ReasonLen:
		return 0, ErrLength
	case binary.BigEndian.Uint32(p) != magic:
		return 0, ErrMagic
	}
	return Reason(p[5]), nil
}

// Type is the type of a message.
type Type uint8

// Types of messages.
const (
	Data Type = iota + 1
	Request
	Grant
	Decline
	Wrote
	Credit
	Fin
)

// Message is a header, and what follows it but for the bytes of the stream.
type Message struct {
	Type    Type
	Credits uint16
	Length  uint32
	Addr    uint64 // Grant
	Key     uint32 // Grant
}

// Put writes a message to p, which has room for GrantLen, and returns how many bytes it has: those of the stream are to follow.
func (m *Message) Put(p []byte) int {
	p[0], p[1] = byte(m.Type), 0
	binary.BigEndian.PutUint16(p[2:], m.Credits)
	binary.BigEndian.PutUint32(p[4:], m.Length)
	if m.Type != Grant {
		return HeaderLen
	}
	binary.BigEndian.PutUint64(p[8:], m.Addr)
	binary.BigEndian.PutUint32(p[16:], m.Key)
	return GrantLen
}

// Parse reads a message, all of which is p, to m, and returns the bytes of the stream in it.
func (m *Message) Parse(p []byte) (stream []byte, err error) {
	if len(p) < HeaderLen {
		return nil, ErrLength
	}
	*m = Message{Type: Type(p[0]), Credits: binary.BigEndian.Uint16(p[2:]), Length: binary.BigEndian.Uint32(p[4:])}
	if p[1] != 0 || m.Credits > MaxCredits || m.Length > MaxRequest {
		return nil, ErrRange
	}
	rest := p[HeaderLen:]
	switch m.Type {
	case Data:
		if m.Length == 0 || uint64(m.Length) != uint64(len(rest)) {
			return nil, ErrLength
		}
		return rest, nil
	case Request:
		if m.Length == 0 {
			return nil, ErrRange
		}
		return rest, nil
	case Grant:
		if len(p) != GrantLen {
			return nil, ErrLength
		}
		m.Addr, m.Key = binary.BigEndian.Uint64(p[8:]), binary.BigEndian.Uint32(p[16:])
		if m.Length == 0 || m.Addr+uint64(m.Length) < m.Addr {
			return nil, ErrRange
		}
		return nil, nil
	case Decline, Wrote, Credit, Fin:
		if len(rest) != 0 {
			return nil, ErrLength
		}
		if m.Type == Decline && m.Length == 0 || m.Type > Wrote && m.Length != 0 {
			return nil, ErrRange
		}
		return nil, nil
	}
	return nil, ErrType
}

// PutDatagram writes the header of a datagram to p, which has room for DatagramLen.
func PutDatagram(p []byte, port [2]byte) {
	binary.BigEndian.PutUint32(p, datagramMagic)
	p[4], p[5] = port[0], port[1]
}

// ParseDatagram reads the header of a datagram and returns what follows.
func ParseDatagram(p []byte) (port [2]byte, data []byte, err error) {
	switch {
	case len(p) < DatagramLen:
		return port, nil, ErrLength
	case binary.BigEndian.Uint32(p) != datagramMagic:
		return port, nil, ErrMagic
	}
	return [2]byte(p[4:6]), p[DatagramLen:], nil
}
