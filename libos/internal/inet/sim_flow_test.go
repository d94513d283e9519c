package inet

import (
	"bytes"
	"fmt"
	"syscall"

	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// simFlow is one connection and the program at each end: ends[0] opens it.
type simFlow struct {
	sim      *sim
	id       int
	kind     simKind
	port     uint16
	at       int64 // when it begins
	ends     [2]simEnd
	listener *tcp.Listener
	local    uint16 // port of the end that opens; 0: any
	again    int    // how often the same follows, from the same port
	late     int64  // up to which a connection waits for accept
}

// simKind is how a flow goes.
type simKind uint8

const (
	flowOrderly      simKind = iota // both send all and shut down
	flowClose                       // an end closes early
	flowAbort                       // an end aborts
	flowRefused                     // nobody listens
	flowSimultaneous                // both open
)

// simEnd is the program at one end.
type simEnd struct {
	flow *simFlow
	host *simHost
	peer *simEnd
	conn *tcp.Conn
	at   int64 // when it does something by itself

	key     int   // where its data begins in the table
	total   int   // bytes to send
	sent    int   // written so far
	chunk   int   // bytes for each write, at most
	think   int64 // between writes
	stopAt  int   // close or abort after so many bytes sent, -1: not
	echo    bool  // sends no more than it has received
	got     int   // bytes received
	slow    bool  // reads parts only
	rest    int64 // and then pauses up to this
	resting bool

	connected, shut, ended, done bool
	err                          abi.Errno
}

func (s *sim) newFlow(id int) *simFlow {
	f := &simFlow{sim: s, id: id, port: uint16(5000 + id), at: s.now + int64(s.rnd.IntN(2))*int64(s.upTo(int(simSecond)))}
	switch n := s.rnd.IntN(20); {
	case n < 3 && s.alive:
		f.kind = flowClose
	case n < 6 && s.alive:
		f.kind = flowAbort
	case n == 6:
		f.kind = flowRefused
	case n == 7:
		f.kind = flowSimultaneous
	}
	if s.chance(0.2) {
		f.late = int64(s.upTo(int(10 * simSecond)))
	}
	if s.chance(0.2) && f.kind != flowSimultaneous && f.kind != flowRefused {
		f.local = uint16(20_000 + id)
		if f.kind == flowOrderly {
			f.again = s.rnd.IntN(4)
		}
	}
	most := 200_000
	if s.chance(0.03) {
		most = 4 << 20
	}
	swap := s.rnd.IntN(2)
	for i := range f.ends {
		f.ends[i] = s.newEnd(f, i, &s.hosts[i^swap], most)
	}
	for i := range f.ends { // those that hardly read are not sent much, or it would take days
		if f.ends[1-i].rest > simSecond {
			f.ends[i].total = min(f.ends[i].total, 20_000)
		}
	}
	if b := &f.ends[1]; s.chance(0.3) {
		b.echo, b.total = true, f.ends[0].total
		b.chunk = max(b.chunk, b.total/2000) // of the other size it would take long with Nagle
	}
	if f.kind == flowClose || f.kind == flowAbort {
		e := &f.ends[s.rnd.IntN(2)]
		e.stopAt = s.rnd.IntN(e.total + 1)
	}
	if f.kind != flowRefused && f.kind != flowSimultaneous {
		l, err := f.ends[1].host.stack.TCP().Listen(0, f.port, 1+s.rnd.IntN(4), f)
		if err != 0 {
			s.failf("flow %d: listen: %v", id, err)
		}
		f.listener = l
	}
	return f
}

func (s *sim) newEnd(f *simFlow, i int, h *simHost, most int) simEnd {
	e := simEnd{flow: f, host: h, peer: &f.ends[1-i], at: timer.Never, key: s.rnd.IntN(simTable), stopAt: -1}
	if s.chance(0.7) {
		e.total = s.upTo(most)
	}
	e.chunk = max(s.upTo(64<<10), e.total/2000)
	if s.chance(0.3) {
		e.think = int64(s.upTo(int(20 * simMillisecond)))
		e.chunk = max(e.chunk, e.total/200)
	}
	if s.chance(0.3) {
		e.slow, e.rest = true, int64(s.upTo(int(100*simMillisecond)))
		if s.chance(0.1) { // for long enough that the window is probed
			e.rest = 10 * simSecond
		}
	}
	return e
}

func (f *simFlow) String() string {
	return fmt.Sprintf("flow %d (kind %d): %s | %s", f.id, f.kind, f.ends[0].String(), f.ends[1].String())
}

func (e *simEnd) String() string {
	state := "none"
	if e.conn != nil {
		var i tcp.Info
		e.conn.Info(&i)
		state = fmt.Sprintf("%+v", i)
	}
	return fmt.Sprintf("%s sent %d of %d, got %d of %d, connected %v shut %v ended %v done %v err %v, %s", e.host.name, e.sent, e.total, e.got,
		e.peer.total, e.connected, e.shut, e.ended, e.done, e.err, state)
}

// start opens the connection.
func (f *simFlow) start() {
	n := 1
	if f.kind == flowSimultaneous {
		n = 2
	}
	for i := range n {
		e := &f.ends[i]
		local, remote := f.local, f.port
		if f.kind == flowSimultaneous {
			local, remote = f.port+uint16(1000*i), f.port+uint16(1000*(1-i))
		}
		e.host.stack.SetNow(f.sim.now)
		c, err := e.host.stack.TCP().Connect(0, local, e.peer.host.addr, remote, e)
		if err == syscall.EADDRINUSE && f.local != 0 { // the last connection is still ending
			f.at = f.sim.now + simSecond
			return
		}
		if err != 0 {
			f.sim.failf("flow %d: connect: %v", f.id, err)
		}
		e.conn = c
		e.host.stack.Flush()
	}
}

// Acceptable implements tcp.Acceptor.
func (f *simFlow) Acceptable(l *tcp.Listener) {
	f.ends[1].at = f.sim.now
	if f.late > 0 {
		f.ends[1].at += f.sim.rnd.Int64N(f.late)
	}
}

// accept takes the connection that waits.
func (e *simEnd) accept() {
	f := e.flow
	c := f.listener.Accept()
	if c == nil { // reset in the meantime
		return
	}
	e.conn, e.connected = c, true
	c.SetHandler(e)
	f.sim.logf("flow %d accepted by %s", f.id, e.host.name)
}

// Connected implements tcp.Handler.
func (e *simEnd) Connected(c *tcp.Conn, err abi.Errno) {
	e.flow.sim.logf("flow %d of %s connected: %v", e.flow.id, e.host.name, err)
	if e.connected || e.done {
		e.flow.sim.failf("flow %d: connected twice", e.flow.id)
	}
	if e.err = err; err != 0 {
		e.done = true
		return
	}
	e.connected = true
	e.at = e.flow.sim.now
}

// act writes, shuts down, or reads on.
func (e *simEnd) act() {
	s := e.flow.sim
	if e.conn == nil {
		e.accept()
	}
	if e.done || e.conn == nil {
		return
	}
	e.resting = false
	e.conn.Pull()
	if e.done {
		return
	}
	e.write()
	if e.sent == e.stopAt {
		e.stop()
		return
	}
	if (e.sent == e.total || e.echo && e.ended && e.sent == e.got) && !e.shut {
		e.shut = true
		s.logf("flow %d: %s shuts down", e.flow.id, e.host.name)
		e.conn.Shutdown()
	}
	e.closeIfOver()
}

func (e *simEnd) write() {
	s := e.flow.sim
	end := e.total
	if e.stopAt >= 0 {
		end = min(end, e.stopAt)
	}
	if e.echo {
		end = min(end, e.got)
	}
	for e.sent < end {
		n := min(end-e.sent, 1+s.rnd.IntN(e.chunk))
		from := (e.key + e.sent) % simTable
		n = min(n, 2*simTable-from)
		k := e.conn.Write(s.data[from : from+n])
		if k < 0 || k > n {
			s.failf("flow %d: wrote %d of %d", e.flow.id, k, n)
		}
		e.sent += k
		if s.chance(0.5) {
			e.conn.Push()
		}
		if k < n {
			break
		}
		if e.think > 0 {
			e.at = s.now + s.rnd.Int64N(e.think)
			break
		}
	}
	e.conn.Push()
}

// stop ends the connection before its time.
func (e *simEnd) stop() {
	s := e.flow.sim
	e.done = true
	if e.flow.kind == flowAbort {
		s.logf("flow %d: %s aborts", e.flow.id, e.host.name)
		e.conn.Abort()
		return
	}
	s.logf("flow %d: %s closes early", e.flow.id, e.host.name)
	e.conn.Close()
}

// Received implements tcp.Handler.
func (e *simEnd) Received(c *tcp.Conn, p []byte) int {
	s := e.flow.sim
	if c != e.conn || e.done || e.ended || len(p) == 0 {
		s.failf("flow %d: %d bytes received after the end", e.flow.id, len(p))
	}
	if e.resting {
		return 0
	}
	n := len(p)
	if e.slow {
		n = min(n, s.rnd.IntN(20_000)) // also 0
		e.resting = true
		e.at = min(e.at, s.now+1+s.rnd.Int64N(e.rest))
	}
	for q := p[:n]; len(q) > 0; {
		from := (e.peer.key + e.got) % simTable
		k := min(len(q), 2*simTable-from)
		if e.got+k > e.peer.sent || !bytes.Equal(q[:k], s.data[from:from+k]) {
			s.failf("flow %d: %s: wrong bytes at %d..%d of %d", e.flow.id, e.host.name, e.got, e.got+k, e.peer.sent)
		}
		e.got += k
		q = q[k:]
	}
	s.note(s.now, int64(e.got))
	if e.echo {
		e.write()
		e.at = s.now // for the end
	}
	return n
}

// Writable implements tcp.Handler.
func (e *simEnd) Writable(c *tcp.Conn) {
	if e.done {
		e.flow.sim.failf("flow %d: writable after the end", e.flow.id)
	}
	e.at = e.flow.sim.now
}

// Ended implements tcp.Handler.
func (e *simEnd) Ended(c *tcp.Conn, err abi.Errno) {
	s := e.flow.sim
	s.logf("flow %d of %s ended: %v", e.flow.id, e.host.name, err)
	if c != e.conn || e.done || e.ended && err == 0 {
		s.failf("flow %d: %s: ended (%v) after the end", e.flow.id, e.host.name, err)
	}
	if err != 0 {
		e.err, e.done = err, true
		return
	}
	if e.ended = true; e.flow.kind != flowAbort && e.got != e.peer.sent {
		s.failf("flow %d: %s: end after %d of %d bytes", e.flow.id, e.host.name, e.got, e.peer.sent)
	}
	e.at = s.now
}

// closeIfOver closes a connection whose both directions have ended.
func (e *simEnd) closeIfOver() {
	if e.ended && e.shut && !e.done {
		e.done = true
		e.flow.sim.logf("flow %d: %s closes", e.flow.id, e.host.name)
		e.conn.Close()
	}
}

// finished tells that the programs have nothing left to do.
func (f *simFlow) finished() bool {
	if f.at != timer.Never {
		return false
	}
	a, b := &f.ends[0], &f.ends[1]
	if f.kind == flowRefused {
		return a.done
	}
	if (f.kind == flowAbort || f.kind == flowClose) && b.conn == nil && b.at == timer.Never { // too short to be accepted
		return a.done
	}
	return a.done && b.done
}

// repeat begins anew if the flow is to.
func (f *simFlow) repeat() {
	if f.again == 0 || !f.finished() {
		return
	}
	f.check()
	f.again--
	// Not at once: a RST ends TIME-WAIT (RFC 1337), which then keeps nothing old away from the next connection.
	f.at = f.sim.now + 3*simSecond + int64(f.sim.upTo(int(10*simSecond)))
	for i := range f.ends {
		e := &f.ends[i]
		e.sent, e.got, e.conn, e.err, e.at = 0, 0, nil, 0, timer.Never
		e.connected, e.shut, e.ended, e.done, e.resting = false, false, false, false, false
	}
}

// check compares how the flow ended with what it is.
func (f *simFlow) check() {
	a, b := &f.ends[0], &f.ends[1]
	switch f.kind {
	case flowOrderly, flowSimultaneous:
		for _, e := range []*simEnd{a, b} {
			if e.err != 0 || e.got != e.peer.sent || e.sent != e.total || !e.ended {
				f.sim.failf("not in order: %s", f)
			}
		}
	case flowRefused:
		if a.err != syscall.ECONNREFUSED {
			f.sim.failf("not refused: %s", f)
		}
	case flowClose, flowAbort:
		for _, e := range []*simEnd{a, b} {
			switch e.err {
			case 0, syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.EPIPE, syscall.ECONNREFUSED:
			default:
				f.sim.failf("strange error: %s", f)
			}
		}
	}
}

func (f *simFlow) close() {
	if f.listener != nil {
		f.listener.Close()
	}
}
