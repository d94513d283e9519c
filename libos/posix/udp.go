package posix

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/framing"
	"github.com/libdmtr/libdmtr/libos/internal/inbox"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// udp is a UDP socket. Each datagram is one array.
type udp struct {
	sock
	connected bool
	peer      abi.SockaddrIn // if connected
	in        inbox.Datagrams
}

func newUDP(o *LibOS) (engine.Queue, abi.Errno) {
	u := o.udps.Get()
	if err := u.open(o, u, unix.SOCK_DGRAM); err != 0 {
		o.udps.Put(u)
		return nil, err
	}
	u.in.Mode, u.streaming = o.cfg.Framing, true
	return u, 0
}

// Bind implements engine.Socket.
func (u *udp) Bind(addr *abi.SockaddrIn) abi.Errno {
	if err := u.sock.Bind(addr); err != 0 {
		return err
	}
	if name, err := u.Name(); err == 0 {
		u.in.Mode = u.os.cfg.FramingFor(name.Number())
	}
	return 0
}

// Listen implements engine.Socket.
func (u *udp) Listen(int) abi.Errno { return unix.ENOTSUP }

// Accept implements engine.Socket.
func (u *udp) Accept(*engine.Op) abi.Errno { return unix.ENOTSUP }

// Connect implements engine.Socket.
func (u *udp) Connect(op *engine.Op, addr *abi.SockaddrIn) abi.Errno {
	if u.connected {
		return unix.EPERM
	}
	_, _, err := unix.RawSyscall(unix.SYS_CONNECT, uintptr(u.fd), uintptr(unsafe.Pointer(addr)), uintptr(abi.SizeofSockaddrIn))
	if err == 0 {
		u.connected, u.bound, u.peer = true, true, *addr
		u.in.Toward(&u.Queue, addr.Number())
		u.offer()
	}
	op.Complete(err)
	return 0
}

// Push implements engine.Queue.
func (u *udp) Push(op *engine.Op) abi.Errno {
	if err := u.in.BeginPush(&u.Queue, op.SGA(), u.connected); err != 0 {
		return err
	}
	u.push(op)
	return 0
}

// sendOut implements handler.
func (u *udp) sendOut(op *engine.Op) bool {
	sga := op.SGA()
	if sga.Len() == 0 {
		op.Complete(unix.ENOMSG)
		return true
	}
	to := &sga.Addr
	if u.connected {
		to = nil
	}
	message := u.in.Message()
	err := op.Failed
	if err == 0 {
		_, err = u.transmit(op, framing.Len(sga, message), message, to)
	}
	if err == unix.EAGAIN {
		return false
	}
	u.bound = u.bound || err == 0 // sending binds, see udp(7)
	op.Complete(err)
	return true
}

// Pop implements engine.Queue.
func (u *udp) Pop(op *engine.Op) abi.Errno {
	if !u.bound {
		return unix.EINVAL
	}
	u.Pops.Add(op)
	u.awaitData()
	return 0
}

// receive implements handler.
func (u *udp) receive() {
	for op := u.Pops.Head(); op != nil && u.mayRead(); op = u.Pops.Head() {
		sga := op.SGA()
		n, err := u.recvFrom(u.os.scratch, &sga.Addr)
		if err == unix.EAGAIN {
			u.readable = false
			return
		}
		u.hit()
		if err == 0 {
			err = u.in.Take(&u.Queue, op, u.os.scratch[:n])
		}
		if err != 0 {
			op.Complete(err)
		}
	}
}

func (u *udp) recvFrom(p []byte, from *abi.SockaddrIn) (int, abi.Errno) {
	if u.connected {
		*from = u.peer
		return u.recv(p)
	}
	size := abi.SizeofSockaddrIn
	for {
		n, _, err := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(u.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT,
			uintptr(unsafe.Pointer(from)), uintptr(unsafe.Pointer(&size)))
		if err != unix.EINTR {
			return int(n), err
		}
	}
}

// got implements handler.
func (u *udp) got(p []byte) {
	if op := u.Pops.Head(); op != nil {
		op.SGA().Addr = u.port.Address
		if err := u.in.Take(&u.Queue, op, p); err != 0 {
			op.Complete(err)
		}
	}
}

// failed implements handler. An error of 0 is an empty datagram.
func (u *udp) failed(err abi.Errno) {
	if err == 0 {
		u.got(nil)
	} else if op := u.Pops.Head(); op != nil {
		op.Complete(err)
	}
}

// plain implements handler. Where datagrams with and without headers mix, Go decides.
func (u *udp) plain(p *abi.Port) (serve, receive bool) {
	p.Flags = abi.PortDatagram
	if u.connected {
		p.Flags |= abi.PortConnected
		p.Address = u.peer
	}
	if u.in.Mode != config.FramingStream {
		p.Flags |= abi.PortMessage
	}
	plain := u.Pushes.Empty() && (u.in.Mode != config.FramingAuto || !u.in.Bare)
	return plain, plain
}

// ready implements pollable.
func (u *udp) ready(events uint32) {
	u.note(events)
	if u.writable {
		u.flush()
	}
	if u.readable {
		u.receive()
	}
}

// Cancel implements engine.Queue.
func (u *udp) Cancel(*engine.Op) {}

// Recycle implements engine.Recycler.
func (u *udp) Recycle() { u.os.udps.Put(u) }
