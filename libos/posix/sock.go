package posix

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inbox"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// sock is what TCP and UDP sockets have in common.
type sock struct {
	inbox.Queue
	os        *LibOS
	h         handler
	fd        int
	place     int32     // in LibOS.watched, while armed
	armed     bool      // in the epoll set
	port      *abi.Port // while hot
	bound     bool
	streaming bool // receives data, so being hot may pay
	// While armed: what epoll has reported and no EAGAIN has taken back; writable only if outArmed, too.
	readable, writable bool
	outArmed           bool
	hup                bool // the kernel has an end or an error to report
}

// handler is the part of a socket that differs by protocol.
type handler interface {
	pollable
	socket() *sock
	// sendOut sends as much of a push as the kernel takes, and tells whether it is complete; if not, it must wait for room.
	sendOut(op *engine.Op) bool
	// receive completes pops as long as the kernel has something for them.
	receive()
	// got completes pops with bytes that C has received, failed with what it met instead; 0 is the end of the stream.
	got(p []byte)
	failed(err abi.Errno)
	// plain fills in how C may serve the socket, and whether it may receive; it returns false if C must not at all.
	plain(p *abi.Port) (serve, receive bool)
}

func (s *sock) socket() *sock { return s }

func (s *sock) open(o *LibOS, h handler, typ int) abi.Errno {
	fd, err := unix.Socket(unix.AF_INET, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return errnoOf(err)
	}
	s.os, s.Pool, s.h, s.fd = o, &o.pool, h, fd
	return 0
}

// Bind implements engine.Socket.
func (s *sock) Bind(addr *abi.SockaddrIn) abi.Errno {
	if s.bound {
		return unix.EINVAL
	}
	_, _, err := unix.RawSyscall(unix.SYS_BIND, uintptr(s.fd), uintptr(unsafe.Pointer(addr)), uintptr(abi.SizeofSockaddrIn))
	s.bound = err == 0
	return err
}

// Name implements engine.Socket.
func (s *sock) Name() (name abi.SockaddrIn, err abi.Errno) {
	size := abi.SizeofSockaddrIn
	_, _, err = unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(s.fd), uintptr(unsafe.Pointer(&name)), uintptr(unsafe.Pointer(&size)))
	return name, err
}

// Close implements engine.Queue.
func (s *sock) Close() {
	s.cool()
	s.disarm()
	if l := s.lane(); l != nil {
		*l = abi.Lane{}
	}
	if s.os.eng.Control().Forked != 0 {
		_ = unix.Shutdown(s.fd, unix.SHUT_RDWR) // for the peer's sake: a child process may still have the socket
	}
	_ = unix.Close(s.fd)
}

// arm puts the socket into the epoll set; what it is ready for already will be reported, too. If that fails, so do
// the operations that would have to wait.
func (s *sock) arm() {
	s.cool()
	if !s.armed {
		s.enter()
	}
}

func (s *sock) enter() {
	events := uint32(unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET)
	if s.outArmed = !s.Pushes.Empty(); s.outArmed {
		events |= unix.EPOLLOUT
	}
	place, err := s.os.watch(s.fd, s.h, events)
	if err != 0 {
		s.Fail(&s.Pops, err)
		s.Fail(&s.Pushes, err)
		return
	}
	s.armed, s.place = true, place
	s.readable, s.writable = false, false
	if s.streaming {
		s.os.streams++
		s.os.keepOrder()
	}
}

func (s *sock) disarm() {
	if s.armed {
		s.shutLane()
		s.os.unwatch(s.fd, s.place)
		s.armed = false
		if s.streaming {
			s.os.streams--
			s.os.keepOrder()
		}
	}
}

// heat makes the socket hot, unless another is.
func (s *sock) heat() bool {
	if s.os.hot != nil {
		return false
	}
	s.shutLane()
	s.port, s.os.hot = &s.os.eng.Control().Port, s
	s.port.Misses = 0
	s.os.keepOrder()
	s.offer()
	return true
}

// warm is heat for a socket that is armed. One that has to wait for room to send stays so.
func (s *sock) warm() {
	if s.port == nil && s.streaming && s.Pushes.Empty() {
		s.heat()
	}
}

// cool undoes heat. The socket leaves the epoll set, too, which may have reported what nobody has looked at.
func (s *sock) cool() {
	if s.port != nil {
		s.Settle()
		*s.port = abi.Port{Pop: abi.None}
		s.os.hot, s.port = nil, nil
		s.disarm()
		s.os.keepOrder()
	}
}

// poll is a hot socket's part of LibOS.Poll.
func (s *sock) poll() {
	s.Settle()
	s.port.Misses++
	switch {
	case s.port.Misses > unusedMisses && s.Pops.Empty():
		s.cool()
	case s.port.Misses > hotMisses:
		s.arm()
	default:
		if s.os.ordered() {
			s.h.receive()
		}
		s.offer()
	}
}

// offer lets C serve the socket, if it is hot and its state is simple enough.
func (s *sock) offer() {
	p := s.port
	if p == nil {
		return
	}
	serve, receive := s.h.plain(p)
	if !serve {
		p.QD = 0
		return
	}
	p.QD, p.FD = s.QD(), int32(s.fd)
	if receive && p.Pop == abi.None && !s.Pops.Empty() {
		p.Want = s.Pool.Limit(s.Pops.Head())
		if p.Want <= abi.ScratchLen || p.Flags&(abi.PortMessage|abi.PortDatagram) != 0 {
			p.Pop = s.Pops.Take().Index()
		}
	}
	if receive && s.Pops.Empty() && !s.Returned() {
		p.Flags |= abi.PortPop
	}
}

// Settle implements engine.Settler: it takes back the pop that C may complete.
func (s *sock) Settle() {
	s.shutLane()
	if s.port == nil {
		return
	}
	s.port.Flags &^= abi.PortPop
	if s.port.Pop != abi.None {
		s.Pops.AddFirst(s.os.eng.Op(s.port.Pop))
		s.port.Pop = abi.None
	}
}

// awaitData sees to it that data for a pop that has just been queued is noticed.
func (s *sock) awaitData() {
	switch {
	case s.port != nil:
		s.offer()
	case s.armed && s.readable:
		s.h.receive()
	case !s.armed && !s.heat():
		s.arm()
	}
}

// mayRead tells whether the kernel is worth asking for data.
func (s *sock) mayRead() bool { return s.port != nil || !s.armed || s.readable }

// mayWrite tells whether the kernel is worth asking to take data.
func (s *sock) mayWrite() bool { return !s.armed || !s.outArmed || s.writable }

// push sends op now, or after those that wait.
func (s *sock) push(op *engine.Op) {
	waits := !s.Pushes.Empty() || !s.mayWrite()
	if !waits && s.h.sendOut(op) {
		return
	}
	s.Pushes.Add(op)
	if !waits {
		s.blockedWrite()
	}
}

// flush goes on with the pushes that wait.
func (s *sock) flush() {
	for op := s.Pushes.Head(); op != nil; op = s.Pushes.Head() {
		if !s.h.sendOut(op) {
			s.blockedWrite()
			return
		}
	}
}

// blockedWrite is called when the kernel takes no more data, with the push that must wait on its list.
func (s *sock) blockedWrite() {
	s.writable = false
	s.cool()
	if s.armed && !s.outArmed {
		s.disarm()
	}
	s.arm()
}

// note keeps what an event says.
func (s *sock) note(events uint32) {
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.readable = true
	}
	if events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.writable = true
	}
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.hup = true
	}
}

// hit notes that a receive has brought something.
func (s *sock) hit() {
	if s.port != nil {
		s.port.Misses = 0
	}
}

// took is called after a receive that brought n of the bytes that there was room for. A stream that brought less
// is drained, unless it has ended, too.
func (s *sock) took(n, room int) {
	s.hit()
	if n < room && !s.hup {
		s.readable = false
	}
}

// recv receives into p; EAGAIN if there is nothing.
func (s *sock) recv(p []byte) (int, abi.Errno) {
	for {
		r, _, err := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
		switch err {
		case 0:
			return int(r), 0
		case unix.EINTR:
		case unix.EAGAIN:
			s.readable = false
			return 0, err
		default:
			return 0, err
		}
	}
}
