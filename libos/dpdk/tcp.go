package dpdk

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inbox"
	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// tcpSock is a TCP socket. How it receives is in tcp_recv.go, how it sends in tcp_send.go.
type tcpSock struct {
	inbox.Queue
	os       *LibOS
	bound    bool // to a port of LibOS.ports
	in       inbox.Stream
	name     tcp.Endpoint
	conn     *tcp.Conn     // connecting or connected
	listener *tcp.Listener // listening
	broken   abi.Errno     // why nothing more can be sent
	opts     tcp.Options   // for conn or listener to be
	chosen   bool          // opts count, not the defaults
}

func newTCP(o *LibOS) *tcpSock {
	t := o.tcps.Get()
	t.os, t.Pool = o, &o.pool
	t.in.Begin(&t.Queue, o.cfg.Framing)
	return t
}

// Bind implements engine.Socket.
func (t *tcpSock) Bind(addr *abi.SockaddrIn) abi.Errno {
	if t.in.State != inbox.Fresh || t.bound {
		return unix.EINVAL
	}
	if err := t.os.own(addr); err != 0 {
		return err
	}
	port, err := t.os.ports.take(address(addr), addr.Number())
	if err != 0 {
		return err
	}
	t.bound, t.name = true, tcp.Endpoint{Addr: address(addr), Port: port}
	return 0
}

// Name implements engine.Socket.
func (t *tcpSock) Name() (abi.SockaddrIn, abi.Errno) { return sockaddr(t.name.Addr, t.name.Port), 0 }

// Listen implements engine.Socket.
func (t *tcpSock) Listen(backlog int) abi.Errno {
	switch {
	case t.in.State == inbox.Listening:
		return 0
	case t.in.State != inbox.Fresh, !t.bound:
		return unix.EINVAL
	}
	if limit := t.os.cfg.TCP.Backlog; backlog < 0 || backlog > limit { // as Linux has it
		backlog = limit
	}
	l, err := t.os.stack.TCP().Listen(t.name.Addr, t.name.Port, backlog, t)
	if err != 0 {
		return err
	}
	l.SetOptions(t.options())
	t.in.State, t.listener = inbox.Listening, l
	t.in.At(t.name.Port)
	return 0
}

// Accept implements engine.Socket.
func (t *tcpSock) Accept(op *engine.Op) abi.Errno {
	if t.in.State != inbox.Listening {
		return unix.EINVAL
	}
	t.Pops.Add(op)
	t.accept()
	return 0
}

// Acceptable implements tcp.Acceptor.
func (t *tcpSock) Acceptable(*tcp.Listener) { t.accept() }

// accept completes accepts as long as there are connections.
func (t *tcpSock) accept() {
	for op := t.Pops.Head(); op != nil; op = t.Pops.Head() {
		if !t.os.eng.Room() {
			op.Complete(unix.EMFILE)
			continue
		}
		c := t.listener.Accept()
		if c == nil {
			return
		}
		s := newTCP(t.os)
		s.in.Mode = t.in.Mode
		s.in.State, s.conn, s.name = inbox.Connected, c, c.Local()
		c.SetHandler(s)
		r := c.Remote()
		from := sockaddr(r.Addr, r.Port)
		op.Accepted(s, &from)
	}
}

// Connect implements engine.Socket.
func (t *tcpSock) Connect(op *engine.Op, addr *abi.SockaddrIn) abi.Errno {
	if err := t.in.MayConnect(); err != 0 {
		return err
	}
	if addr.Family != unix.AF_INET {
		op.Complete(unix.EAFNOSUPPORT)
		return 0
	}
	t.in.Toward(addr.Number())
	t.os.enter()
	var local tcp.Endpoint
	if t.bound {
		local = t.name
	}
	c, err := t.os.stack.TCP().ConnectWith(t.options(), local.Addr, local.Port, peer(addr), addr.Number(), t)
	if err != 0 {
		op.Complete(err)
		return 0
	}
	t.in.State, t.conn = inbox.Connecting, c
	t.Pushes.Add(op)
	t.os.leave()
	return 0
}

// Connected implements tcp.Handler. After a failure the socket is as new.
func (t *tcpSock) Connected(c *tcp.Conn, err abi.Errno) {
	if err == 0 {
		t.in.State, t.name = inbox.Connected, c.Local()
	} else {
		t.unconnect()
	}
	if op := t.Pushes.Head(); op != nil {
		op.Complete(err)
	}
}

// unconnect undoes a connect that has failed or was given up.
func (t *tcpSock) unconnect() {
	t.conn.Abort()
	t.in.State, t.conn = inbox.Fresh, nil
}

// Ended implements tcp.Handler.
func (t *tcpSock) Ended(_ *tcp.Conn, err abi.Errno) {
	if err == 0 {
		t.in.Finish()
		t.in.Wants()
		return
	}
	if t.in.Ended == 0 {
		t.in.End(err)
	}
	t.in.Wants()
	t.Fail(&t.Pushes, err)
	if t.broken = unix.EPIPE; err == unix.ECONNRESET {
		t.broken = err
	}
}

// Cancel implements engine.Queue. A message that is partly sent must be sent to its end.
func (t *tcpSock) Cancel(op *engine.Op) {
	t.os.enter()
	switch {
	case op.Opcode() == abi.OpConnect:
		t.unconnect()
	case op.Opcode() == abi.OpPush && op.Sent > 0 && op.Detach() == nil:
		t.conn.Abort()
		t.conn, t.broken = nil, unix.EPIPE
		if t.in.Ended == 0 {
			t.in.End(unix.ECONNABORTED)
		}
		t.in.Wants()
	}
	t.os.leave()
}

// Close implements engine.Queue.
func (t *tcpSock) Close() {
	t.os.enter()
	switch {
	case t.listener != nil:
		t.listener.Close()
	case t.in.State == inbox.Connecting:
		t.conn.Abort()
	case t.conn != nil:
		t.conn.Close()
	}
	t.conn, t.listener = nil, nil
	if t.bound {
		t.os.ports.release(t.name.Port)
		t.bound = false
	}
	t.in.Drop()
	t.os.leave()
}

// Recycle implements engine.Recycler.
func (t *tcpSock) Recycle() { t.os.tcps.Put(t) }
