package udp

import (
	"syscall"

	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// Socket is a UDP socket.
type Socket struct {
	next       *Socket // in its bucket
	local      wire.Addr
	remote     wire.Addr
	port       uint16 // 0: not bound
	remotePort uint16
	connected  bool
	handler    Handler
	table      *Table // nil: closed
	path       ip.Path

	first, last *datagram // that wait for Next
	out         *datagram // that Next has given out
	count       int
	bytes       int
}

// Bind gives the socket its own address; 0 is any address, port 0 is chosen. Errors: EINVAL if it has one,
// EADDRNOTAVAIL, EADDRINUSE.
func (s *Socket) Bind(addr wire.Addr, port uint16) abi.Errno {
	switch {
	case s.table == nil:
		return syscall.EBADF
	case s.port != 0:
		return syscall.EINVAL
	case addr != 0 && !s.table.host.Local(addr):
		return syscall.EADDRNOTAVAIL
	case port == 0:
		if port = s.table.choose(addr); port == 0 {
			return syscall.EADDRINUSE
		}
	case s.table.taken(addr, port):
		return syscall.EADDRINUSE
	}
	s.local, s.port = addr, port
	s.table.add(s)
	return 0
}

// bound sees to it that the socket has a port.
func (s *Socket) bound() abi.Errno {
	if s.port == 0 && s.Bind(0, 0) != 0 {
		return syscall.EAGAIN
	}
	return 0
}

// Connect sets the peer: the socket receives from nobody else. It may be called again. As on Linux, 0.0.0.0 means this
// host. Errors: those of ip.Host.Path; EAGAIN if there is no port left.
func (s *Socket) Connect(addr wire.Addr, port uint16) abi.Errno {
	if s.table == nil {
		return syscall.EBADF
	}
	if addr == 0 {
		addr = 127<<24 | 1
	}
	if err := s.table.host.Path(&s.path, s.local, addr); err != 0 {
		return err
	}
	if err := s.bound(); err != 0 {
		return err
	}
	s.local, s.remote, s.remotePort, s.connected = s.path.Local, addr, port, true
	return 0
}

// Send sends the parts as one datagram; addr 0 is the peer. Errors: EDESTADDRREQ, EMSGSIZE, ENETUNREACH, EHOSTUNREACH,
// EINVAL for port 0, EAGAIN if the device has no room now.
func (s *Socket) Send(addr wire.Addr, port uint16, parts [][]byte) abi.Errno {
	t := s.table
	if t == nil {
		return syscall.EBADF
	}
	if addr == 0 {
		if !s.connected {
			return syscall.EDESTADDRREQ
		}
		addr, port = s.remote, s.remotePort
	}
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	switch {
	case n > MaxPayload:
		return syscall.EMSGSIZE
	case port == 0:
		return syscall.EINVAL
	}
	if err := s.bound(); err != 0 {
		return err
	}
	if addr != s.path.Remote {
		if err := t.host.Path(&s.path, s.local, addr); err != 0 {
			return err
		}
	}
	return s.transmit(port, parts, n)
}

func (s *Socket) transmit(port uint16, parts [][]byte, n int) abi.Errno {
	t := s.table
	var err abi.Errno
	if n > s.path.MTU()-wire.IPv4Len-wire.UDPLen {
		err = t.sendLarge(s, port, parts, n)
	} else if b := t.host.Buffer(&s.path); b == nil {
		err = syscall.EAGAIN
	} else {
		fill(b[:wire.UDPLen+n], s.port, port, parts)
		t.host.Send(&s.path, wire.UDPLen+n, wire.ProtoUDP, sumAt)
	}
	if err != 0 {
		t.counters.NoBuffer++
		return err
	}
	t.counters.Out++
	return 0
}

// SetClass chooses the class of what is sent from now on.
func (s *Socket) SetClass(c ip.Class) { s.path.SetClass(c) }

// Class is what SetClass has chosen, or that of the host.
func (s *Socket) Class() ip.Class {
	if s.path.Class == (ip.Class{}) && s.table != nil {
		return s.table.host.Class()
	}
	return s.path.Class
}

// Local is the socket's own address, zero as long as it is not bound.
func (s *Socket) Local() (wire.Addr, uint16) { return s.local, s.port }

// Remote is the peer, zero if there is none.
func (s *Socket) Remote() (wire.Addr, uint16) { return s.remote, s.remotePort }

// Close releases the socket, its port and what is queued. It is the last call on a Socket.
func (s *Socket) Close() {
	t := s.table
	if t == nil {
		return
	}
	if s.port != 0 {
		t.remove(s)
	}
	for _, _, _, ok := s.Next(); ok; _, _, _, ok = s.Next() {
	}
	s.table = nil
	t.spare = append(t.spare, s)
}
