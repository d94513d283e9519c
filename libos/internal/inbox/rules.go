package inbox

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
)

// State is how far a TCP socket has come.
type State uint8

// States of a TCP socket.
const (
	Fresh State = iota
	Listening
	Connecting
	Connected
)

// Usable tells why a socket is not for pushes and pops, or 0.
func (s *Stream) Usable() abi.Errno {
	switch s.State {
	case Listening:
		return unix.ENOTSUP
	case Fresh, Connecting:
		return unix.EINVAL
	}
	return 0
}

// BeginPush tells why an array cannot be pushed, or 0. A program that pushes before it has received anything sends messages.
func (s *Stream) BeginPush(sga *abi.SGArray) abi.Errno {
	if err := s.Usable(); err != 0 {
		return err
	}
	if sga.Len() > uint64(s.q.Pool.Config.Limits.MaxMessage) {
		return unix.EMSGSIZE
	}
	s.preferMessages()
	return 0
}

// MayConnect tells why a socket cannot be connected, or 0.
func (s *Stream) MayConnect() abi.Errno {
	switch s.State {
	case Listening:
		return unix.EINVAL
	case Connecting, Connected:
		return unix.EPERM
	}
	return 0
}

// SetFraming is for the program's choice.
func (s *Stream) SetFraming(f config.Framing) abi.Errno {
	if s.State == Connecting || s.State == Connected {
		return unix.EISCONN
	}
	s.Mode, s.own = f, true
	return 0
}

// At settles the framing of connections accepted at a port, unless the program has.
func (s *Stream) At(port uint16) {
	if !s.own {
		s.Mode = s.q.Pool.Config.FramingFor(port)
	}
}

// Toward is At for a connection made to a port.
func (s *Stream) Toward(port uint16) {
	s.At(port)
	s.preferMessages()
}

func (s *Stream) preferMessages() {
	if s.Mode == config.FramingAuto {
		s.Mode = config.FramingMessage
	}
}

// BeginPush tells why an array cannot be pushed from q, or 0.
func (d *Datagrams) BeginPush(q *Queue, sga *abi.SGArray, connected bool) abi.Errno {
	switch {
	case !connected && sga.Addr.Family != unix.AF_INET:
		return unix.EINVAL
	case sga.Len() > uint64(q.Pool.Config.Limits.MaxMessage):
		return unix.EMSGSIZE
	}
	return 0
}

// Toward settles the framing of a socket connected to a port, if the configuration has one for that.
func (d *Datagrams) Toward(q *Queue, port uint16) {
	if _, set := q.Pool.Config.Ports[port]; set {
		d.Mode = q.Pool.Config.FramingFor(port)
	}
}
