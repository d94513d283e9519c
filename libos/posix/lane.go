package posix

import (
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
)

// A lane (abi.Lane) lets C send on a connection, and start the pop that then waits for an event of the epoll set. It is opened
// behind what Go does for the socket, as far as its state allows, and closed before Go does anything with the pops.

// openLane lets C do what the state of the connection allows.
func (t *tcp) openLane() {
	l := t.lane()
	if l == nil || t.in.Mode == config.FramingAuto {
		return
	}
	l.QD, l.FD, l.Flags = t.QD(), int32(t.fd), 0
	if t.in.Mode == config.FramingMessage {
		l.Flags |= abi.LaneMessage
	}
	if t.Pushes.Empty() {
		l.Flags |= abi.LanePush
	}
	if t.port == nil && t.armed && !t.readable && t.Pops.Empty() && !t.Returned() && t.in.Plain() {
		l.Flags |= abi.LanePop
	}
}

// lane is the socket's place in the table that C sees; nil if it has none.
func (s *sock) lane() *abi.Lane {
	if s.QD() == 0 {
		return nil
	}
	return &s.os.eng.Control().Lanes[s.QD()&(abi.MaxQueues-1)]
}

// shutLane takes back the pop that C has started, and lets it start no more.
func (s *sock) shutLane() {
	l := s.lane()
	if l == nil || l.QD != s.QD() {
		return
	}
	l.Flags &^= abi.LanePop
	if l.Pop != 0 {
		s.Pops.AddFirst(s.os.eng.Op(l.Pop - 1))
		l.Pop = 0
	}
}
