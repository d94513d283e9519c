package rdma

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inbox"
	"github.com/libdmtr/libdmtr/libos/rdma/verbs"
	"github.com/libdmtr/libdmtr/libos/rdma/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

const (
	deviceBacklog = 1024 // requests that wait for a Poll
	maxBacklog    = 4096
)

// sock is a stream socket.
type sock struct {
	inbox.Queue
	os   *LibOS
	in   inbox.Stream
	name abi.SockaddrIn
	conn *conn     // connecting or connected
	gone abi.Errno // why nothing more can be sent

	place   verbs.ID // bound: what has the port. Requests that come before Listen are rejected.
	backlog int
	half    int     // connections agreed to and not established
	ready   []*conn // to be accepted
}

func newSock(o *LibOS) *sock {
	s := &sock{os: o, name: abi.SockaddrIn{Family: unix.AF_INET}}
	s.Pool = &o.pool
	s.in.Begin(&s.Queue, o.cfg.Framing)
	return s
}

// Bind implements engine.Socket.
func (s *sock) Bind(addr *abi.SockaddrIn) abi.Errno {
	if s.in.State != inbox.Fresh || s.place != 0 {
		return unix.EINVAL
	}
	if addr.Family != unix.AF_INET {
		return unix.EAFNOSUPPORT
	}
	id, err := s.os.dev.Listen(addr, deviceBacklog)
	if err != 0 {
		return err
	}
	s.place = id
	s.os.byID[id] = s
	s.name, _ = s.os.dev.Name(id)
	return 0
}

func (s *sock) unbind() {
	if s.place != 0 {
		delete(s.os.byID, s.place)
		s.os.dev.Destroy(s.place)
		s.place = 0
	}
}

// Name implements engine.Socket.
func (s *sock) Name() (abi.SockaddrIn, abi.Errno) { return s.name, 0 }

// Listen implements engine.Socket.
func (s *sock) Listen(backlog int) abi.Errno {
	switch {
	case s.in.State == inbox.Listening:
	case s.in.State != inbox.Fresh, s.place == 0:
		return unix.EINVAL
	}
	if backlog < 0 || backlog > maxBacklog { // as Linux has it
		backlog = maxBacklog
	}
	s.backlog = max(backlog, 1)
	s.in.State = inbox.Listening
	s.in.At(s.name.Number())
	return 0
}

// event implements happening, for requests to connect.
func (s *sock) event(e *verbs.Event) {
	if e.Type != verbs.EventConnectRequest {
		return
	}
	o := s.os
	c := &conn{os: o, listener: s, ident: e.ID, state: greeting, limit: wire.MaxCredits}
	reason := wire.Closed
	switch {
	case s.in.State != inbox.Listening:
	case s.half+len(s.ready) >= s.backlog:
		reason = wire.Busy
	case c.answer(e):
		s.half++
		return
	default:
		reason = wire.Mismatch
		if c.bufs != nil {
			reason = wire.Busy
		}
	}
	o.stats.Rejected++
	p := o.scratch[:wire.ReasonLen]
	reason.Put(p)
	_ = o.dev.Reject(e.ID, p)
	c.giveBack()
}

// answer agrees to a request; false: it has to be rejected.
func (c *conn) answer(e *verbs.Event) bool {
	o := c.os
	if _, err := wire.ParseHello(e.Private[:e.PrivateLen]); err != nil {
		o.stats.BadHellos++
		return false
	}
	c.slot = o.join(c)
	c.bufs = []uint32{}
	if c.setUp() != 0 || c.met(e.Private[:e.PrivateLen]) != nil || o.dev.Accept(c.ident, c.greet()) != 0 {
		o.leave(c.slot)
		return false
	}
	o.byID[c.ident] = c
	return true
}

// giveBack releases the buffers of a connection that has come to nothing.
func (c *conn) giveBack() {
	for _, b := range c.bufs {
		c.os.bufs.put(b)
	}
	c.bufs = nil
}

// Accept implements engine.Socket.
func (s *sock) Accept(op *engine.Op) abi.Errno {
	if s.in.State != inbox.Listening {
		return unix.EINVAL
	}
	s.Pops.Add(op)
	s.accept()
	return 0
}

// accept completes accepts as long as there are connections.
func (s *sock) accept() {
	for op := s.Pops.Head(); op != nil; op = s.Pops.Head() {
		if !s.os.eng.Room() {
			op.Complete(unix.EMFILE)
			continue
		}
		if len(s.ready) == 0 {
			return
		}
		c := s.ready[0]
		s.ready = s.ready[:copy(s.ready, s.ready[1:])]
		a := newSock(s.os)
		a.name, a.conn, c.sock = c.local, c, a
		a.in.State, a.in.Mode = inbox.Connected, s.in.Mode
		if c.state == dead {
			a.lost()
		}
		op.Accepted(a, &c.peer)
	}
}

// Connect implements engine.Socket.
func (s *sock) Connect(op *engine.Op, addr *abi.SockaddrIn) abi.Errno {
	if err := s.in.MayConnect(); err != 0 {
		return err
	}
	if addr.Family != unix.AF_INET {
		op.Complete(unix.EAFNOSUPPORT)
		return 0
	}
	o := s.os
	var local *abi.SockaddrIn
	if s.place != 0 {
		s.unbind()
		local = &s.name
	}
	id, err := o.dev.Dial(addr, local)
	if err != 0 {
		op.Complete(err)
		return 0
	}
	s.in.Toward(addr.Number())
	c := &conn{os: o, sock: s, ident: id}
	c.slot = o.join(c)
	o.byID[id] = c
	s.in.State, s.conn = inbox.Connecting, c
	s.Pushes.Add(op)
	return 0
}

// connectEnded is the outcome of a connect. After a failure the socket is as new.
func (s *sock) connectEnded(err abi.Errno) {
	if err == 0 {
		s.in.State, s.name = inbox.Connected, s.conn.local
	} else {
		s.unconnect()
	}
	if op := s.Pushes.Head(); op != nil {
		op.Complete(err)
	}
}

func (s *sock) unconnect() {
	s.conn.destroy()
	s.in.State, s.conn = inbox.Fresh, nil
}

// Push implements engine.Queue.
func (s *sock) Push(op *engine.Op) abi.Errno {
	if err := s.in.BeginPush(op.SGA()); err != 0 {
		return err
	}
	switch {
	case !s.Pushes.Empty():
		s.Pushes.Add(op)
	case op.SGA().Len() == 0:
		op.Complete(unix.ENOMSG)
	case s.gone != 0:
		op.Complete(s.gone)
	case !s.conn.push(op):
		s.Pushes.Add(op)
	}
	s.os.flush()
	return 0
}

// Pop implements engine.Queue.
func (s *sock) Pop(op *engine.Op) abi.Errno {
	if err := s.in.Usable(); err != 0 {
		return err
	}
	s.Pops.Add(op)
	s.conn.serve()
	s.os.flush()
	return 0
}

// lost is called when the connection is no more. Pushes hear of it now, pops when they have had what came before.
func (s *sock) lost() {
	s.gone = unix.EPIPE
	if !s.conn.fin && s.conn.err != 0 {
		s.gone = s.conn.err
	}
	s.Fail(&s.Pushes, s.gone)
}

// Reclaim implements engine.Lender.
func (s *sock) Reclaim(op *engine.Op) {
	if c := s.conn; c != nil && c.writing > 0 && s.Pushes.Head() == op {
		c.reclaim()
	}
}

// Cancel implements engine.Queue. A message that is partly sent must be sent to its end.
func (s *sock) Cancel(op *engine.Op) {
	switch op.Opcode() {
	case abi.OpConnect:
		s.unconnect()
	case abi.OpPush:
		s.Reclaim(op)
		if op.Pending() && op.Sent > 0 && op.Detach() == nil {
			s.conn.broken(unix.ENOMEM)
		}
	}
}

// Close implements engine.Queue.
func (s *sock) Close() {
	for _, c := range s.ready {
		c.destroy()
		c.drop()
	}
	s.ready = nil
	if s.in.State == inbox.Listening {
		s.closeHalf()
	}
	s.unbind()
	if s.conn != nil {
		s.conn.close()
	}
	if s.conn == nil || s.conn.block == nil {
		s.in.Drop()
	}
	s.os.flush()
}

// closeHalf ends the connections that have not come as far as to be accepted.
func (s *sock) closeHalf() {
	for _, e := range s.os.ends {
		if c, ok := e.(*conn); ok && c.listener == s {
			c.destroy()
		}
	}
}

// ptr is where a slice begins.
func ptr(p []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(p)) }
