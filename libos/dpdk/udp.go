package dpdk

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/framing"
	"github.com/libdmtr/libdmtr/libos/internal/inbox"
	"github.com/libdmtr/libdmtr/libos/internal/inet/udp"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// udpSock is a UDP socket. Each datagram is one array.
type udpSock struct {
	inbox.Queue
	os        *LibOS
	socket    *udp.Socket
	in        inbox.Datagrams
	bound     bool
	connected bool
	held      bool      // on LibOS.held
	failed    abi.Errno // what ICMP has told, for the next operation
}

func newUDP(o *LibOS) *udpSock {
	u := o.udps.Get()
	u.os, u.Pool = o, &o.pool
	u.in.Mode = o.cfg.Framing
	u.socket = o.stack.UDP().Open(u)
	return u
}

// Bind implements engine.Socket.
func (u *udpSock) Bind(addr *abi.SockaddrIn) abi.Errno {
	if u.bound {
		return unix.EINVAL
	}
	if err := u.os.own(addr); err != 0 {
		return err
	}
	if err := u.socket.Bind(address(addr), addr.Number()); err != 0 {
		return err
	}
	u.bound = true
	_, p := u.socket.Local()
	u.in.Mode = u.os.cfg.FramingFor(p)
	return 0
}

// Name implements engine.Socket.
func (u *udpSock) Name() (abi.SockaddrIn, abi.Errno) { return sockaddr(u.socket.Local()), 0 }

// Listen implements engine.Socket.
func (u *udpSock) Listen(int) abi.Errno { return unix.ENOTSUP }

// Accept implements engine.Socket.
func (u *udpSock) Accept(*engine.Op) abi.Errno { return unix.ENOTSUP }

// Connect implements engine.Socket.
func (u *udpSock) Connect(op *engine.Op, addr *abi.SockaddrIn) abi.Errno {
	if u.connected {
		return unix.EPERM
	}
	err := abi.Errno(unix.EAFNOSUPPORT)
	if addr.Family == unix.AF_INET {
		err = u.socket.Connect(peer(addr), addr.Number())
	}
	if err == 0 {
		u.connected, u.bound = true, true
		u.in.Toward(&u.Queue, addr.Number())
	}
	op.Complete(err)
	return 0
}

// Push implements engine.Queue.
func (u *udpSock) Push(op *engine.Op) abi.Errno {
	if err := u.in.BeginPush(&u.Queue, op.SGA(), u.connected); err != 0 {
		return err
	}
	u.os.enter()
	if !u.Pushes.Empty() || !u.sendOut(op) {
		u.Pushes.Add(op)
		u.hold()
	}
	u.os.leave()
	return 0
}

// sendOut sends a push, unless the device has no room, and tells whether it is complete.
func (u *udpSock) sendOut(op *engine.Op) bool {
	sga := op.SGA()
	if sga.Len() == 0 {
		op.Complete(unix.ENOMSG)
		return true
	}
	if err := u.failed; err != 0 {
		u.failed = 0
		op.Complete(err)
		return true
	}
	var words []byte
	if u.in.Message() {
		words = u.os.words[:]
		framing.Encode(words, sga)
	}
	o := u.os
	n := o.iov.Gather(sga, words, 0)
	for i := range n {
		o.parts[i] = bytesOf(&o.iov[i])
	}
	var to wire.Addr
	var toPort uint16
	if !u.connected {
		to, toPort = peer(&sga.Addr), sga.Addr.Number()
	}
	err := u.socket.Send(to, toPort, o.parts[:n])
	clear(o.parts[:n]) // the memory is the program's, and may be gone when the garbage collector comes by
	if err == unix.EAGAIN {
		return false
	}
	u.bound = u.bound || err == 0 // sending binds, see udp(7)
	op.Complete(err)
	return true
}

func (u *udpSock) hold() {
	if !u.held {
		u.held = true
		u.os.held = append(u.os.held, u)
	}
}

// flush goes on with the pushes that wait.
func (u *udpSock) flush() {
	for op := u.Pushes.Head(); op != nil && u.sendOut(op); op = u.Pushes.Head() {
	}
}

// Pop implements engine.Queue.
func (u *udpSock) Pop(op *engine.Op) abi.Errno {
	if !u.bound {
		return unix.EINVAL
	}
	u.Pops.Add(op)
	for op := u.Pops.Head(); op != nil; op = u.Pops.Head() {
		if err := u.failed; err != 0 {
			u.failed = 0
			op.Complete(err)
			continue
		}
		p, from, fromPort, ok := u.socket.Next()
		if !ok {
			break
		}
		u.take(op, p, from, fromPort)
	}
	return 0
}

// Received implements udp.Handler.
func (u *udpSock) Received(p []byte, from wire.Addr, fromPort uint16) bool {
	op := u.Pops.Head()
	if op == nil {
		return false
	}
	u.take(op, p, from, fromPort)
	return true
}

func (u *udpSock) take(op *engine.Op, p []byte, from wire.Addr, fromPort uint16) {
	op.SGA().Addr = sockaddr(from, fromPort)
	if err := u.in.Take(&u.Queue, op, p); err != 0 {
		op.Complete(err)
	}
}

// Failed implements udp.Handler.
func (u *udpSock) Failed(err abi.Errno) {
	if op := u.Pops.Head(); op != nil {
		op.Complete(err)
	} else {
		u.failed = err
	}
}

// Cancel implements engine.Queue.
func (u *udpSock) Cancel(*engine.Op) {}

// Close implements engine.Queue.
func (u *udpSock) Close() {
	if i := slices.Index(u.os.held, u); i >= 0 {
		u.os.held = slices.Delete(u.os.held, i, i+1)
	}
	u.socket.Close()
}

// Recycle implements engine.Recycler.
func (u *udpSock) Recycle() { u.os.udps.Put(u) }
