package rdma

import (
	"slices"
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
	maxAsking     = 1024 // requests beyond the backlog
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
	asking  []*request
}

// request is one for which the backlog has no room yet: the peer waits, as with TCP.
type request struct {
	s     *sock
	id    verbs.ID
	hello [wire.HelloLen]byte
}

// event implements happening: whatever it is, the peer does not wait any more.
func (r *request) event(*verbs.Event) {
	i := slices.Index(r.s.asking, r)
	r.s.asking = slices.Delete(r.s.asking, i, i+1)
	delete(r.s.os.byID, r.id)
	r.s.os.dev.Destroy(r.id)
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
	s.admit()
	return 0
}

// event implements happening, for requests to connect.
func (s *sock) event(e *verbs.Event) {
	if e.Type != verbs.EventConnectRequest {
		return
	}
	hello := e.Private[:e.PrivateLen]
	_, err := wire.ParseHello(hello)
	switch {
	case s.in.State != inbox.Listening:
		s.reject(e.ID, wire.Closed)
	case err != nil:
		s.os.stats.BadHellos++
		s.reject(e.ID, wire.Mismatch)
	case s.full() && len(s.asking) == maxAsking:
		s.reject(e.ID, wire.Busy)
	case s.full():
		r := &request{s: s, id: e.ID, hello: [wire.HelloLen]byte(hello)}
		s.asking = append(s.asking, r)
		s.os.byID[e.ID] = r
	default:
		s.answer(e.ID, hello)
	}
}

func (s *sock) full() bool { return s.half+len(s.ready) >= s.backlog }

// admit answers requests for which there is room now.
func (s *sock) admit() {
	for len(s.asking) > 0 && !s.full() {
		r := s.asking[0]
		s.asking = slices.Delete(s.asking, 0, 1)
		delete(s.os.byID, r.id)
		s.answer(r.id, r.hello[:])
	}
}

func (s *sock) reject(id verbs.ID, reason wire.Reason) {
	s.os.stats.Rejected++
	p := s.os.scratch[:wire.ReasonLen]
	reason.Put(p)
	_ = s.os.dev.Reject(id, p)
}

// answer agrees to a request, if there is what that takes.
func (s *sock) answer(id verbs.ID, hello []byte) {
	o := s.os
	c := &conn{os: o, listener: s, ident: id, state: greeting, limit: wire.MaxCredits}
	c.slot = o.join(c)
	if c.setUp() != 0 || c.met(hello) != nil || o.dev.Accept(id, c.greet()) != 0 {
		o.leave(c.slot)
		s.reject(id, wire.Busy)
		c.giveBack()
		return
	}
	o.byID[id] = c
	s.half++
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
		s.admit()
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
	for _, r := range s.asking {
		delete(s.os.byID, r.id)
		s.reject(r.id, wire.Closed)
	}
	s.asking = nil
	for _, e := range s.os.ends {
		if c, ok := e.(*conn); ok && c.listener == s {
			c.destroy()
		}
	}
}

// ptr is where a slice begins.
func ptr(p []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(p)) }
