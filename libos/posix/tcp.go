package posix

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inbox"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// tcp is a TCP socket. How it receives is in tcp_recv.go, how it sends in tcp_send.go.
type tcp struct {
	sock
	in inbox.Stream // of a listener: its Mode is that of the connections it accepts
}

func newTCP(o *LibOS) (engine.Queue, abi.Errno) {
	t := o.tcps.Get()
	if err := t.open(o, t, unix.SOCK_STREAM); err != 0 {
		o.tcps.Put(t)
		return nil, err
	}
	_ = t.set(tcpOptions[abi.OptNoDelay], 1)
	t.in.Begin(&t.Queue, o.cfg.Framing)
	return t, 0
}

// Bind implements engine.Socket. A server may take its port again while old connections linger, as servers expect.
func (t *tcp) Bind(addr *abi.SockaddrIn) abi.Errno {
	if t.in.State != inbox.Fresh {
		return unix.EINVAL
	}
	if err := unix.SetsockoptInt(t.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return errnoOf(err)
	}
	return t.sock.Bind(addr)
}

// Listen implements engine.Socket. Accepted sockets inherit the options.
func (t *tcp) Listen(backlog int) abi.Errno {
	if t.in.State == inbox.Connecting || t.in.State == inbox.Connected || !t.bound {
		return unix.EINVAL
	}
	if err := unix.Listen(t.fd, backlog); err != nil {
		return errnoOf(err)
	}
	t.in.State = inbox.Listening
	if name, err := t.Name(); err == 0 {
		t.in.At(name.Number())
	}
	t.arm()
	return 0
}

// Accept implements engine.Socket.
func (t *tcp) Accept(op *engine.Op) abi.Errno {
	if t.in.State != inbox.Listening {
		return unix.EINVAL
	}
	t.Pops.Add(op)
	if !t.armed {
		t.arm()
	} else if t.readable {
		t.accept()
	}
	return 0
}

// accept completes accepts as long as there are connections.
func (t *tcp) accept() {
	for op := t.Pops.Head(); op != nil; op = t.Pops.Head() {
		if !t.os.eng.Room() {
			op.Complete(unix.EMFILE)
			continue
		}
		var peer abi.SockaddrIn
		size := abi.SizeofSockaddrIn
		fd, _, err := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(t.fd), uintptr(unsafe.Pointer(&peer)), uintptr(unsafe.Pointer(&size)),
			unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch err {
		case 0:
			op.Accepted(t.accepted(int(fd)), &peer)
		case unix.EAGAIN:
			t.readable = false
			return
		case unix.EINTR, unix.ECONNABORTED, unix.EPROTO, unix.ENETDOWN, unix.ENOPROTOOPT, unix.EHOSTDOWN, unix.ENONET, unix.EHOSTUNREACH, unix.ENETUNREACH:
			// A connection that failed before it was accepted, or a signal: the next one, please (accept(2)).
		default:
			op.Complete(err)
		}
	}
}

func (t *tcp) accepted(fd int) *tcp {
	c := t.os.tcps.Get()
	c.os, c.Pool, c.h, c.fd, c.bound, c.streaming = t.os, t.Pool, c, fd, true, true
	c.in.Begin(&c.Queue, t.in.Mode)
	c.in.State = inbox.Connected
	return c
}

// Connect implements engine.Socket.
func (t *tcp) Connect(op *engine.Op, addr *abi.SockaddrIn) abi.Errno {
	if err := t.in.MayConnect(); err != 0 {
		return err
	}
	t.in.Toward(addr.Number())
	_, _, err := unix.RawSyscall(unix.SYS_CONNECT, uintptr(t.fd), uintptr(unsafe.Pointer(addr)), uintptr(abi.SizeofSockaddrIn))
	t.in.State = inbox.Connecting
	t.Pushes.Add(op)
	if err == unix.EINPROGRESS || err == unix.EINTR {
		t.arm()
		return 0
	}
	t.connected(err)
	return 0
}

// connected ends a connect. After a failure the socket is as new.
func (t *tcp) connected(err abi.Errno) {
	if err == 0 {
		t.disarm()
		t.in.State, t.bound, t.streaming = inbox.Connected, true, true
	} else {
		t.unconnect()
	}
	if op := t.Pushes.Head(); op != nil {
		op.Complete(err)
	}
}

// unconnect undoes a connect that has failed or was given up. Linux would answer the next one with ECONNABORTED otherwise.
func (t *tcp) unconnect() {
	var none abi.SockaddrIn
	t.disarm()
	t.in.State = inbox.Fresh
	_, _, _ = unix.RawSyscall(unix.SYS_CONNECT, uintptr(t.fd), uintptr(unsafe.Pointer(&none)), uintptr(abi.SizeofSockaddrIn))
}

// ready implements pollable.
func (t *tcp) ready(events uint32) {
	t.note(events)
	switch t.in.State {
	case inbox.Listening:
		t.accept()
	case inbox.Connecting:
		if t.writable {
			e, err := unix.GetsockoptInt(t.fd, unix.SOL_SOCKET, unix.SO_ERROR)
			if err != nil {
				e = int(errnoOf(err))
			}
			t.connected(abi.Errno(e))
		}
	case inbox.Connected:
		t.shutLane()
		if t.writable {
			t.flush()
		}
		if t.readable {
			t.receive()
		}
		t.openLane()
	}
}

// Cancel implements engine.Queue. A message that is partly sent must be sent to its end.
func (t *tcp) Cancel(op *engine.Op) {
	switch {
	case op.Opcode() == abi.OpConnect:
		t.unconnect()
	case op.Opcode() == abi.OpPush && op.Sent > 0:
		if op.Detach() == nil {
			_ = unix.Shutdown(t.fd, unix.SHUT_RDWR)
		}
	}
}

// Close implements engine.Queue.
func (t *tcp) Close() {
	t.sock.Close()
	t.in.Drop()
}

// Recycle implements engine.Recycler.
func (t *tcp) Recycle() { t.os.tcps.Put(t) }
