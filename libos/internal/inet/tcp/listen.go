package tcp

import (
	"syscall"

	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// Listener accepts connections.
type Listener struct {
	host       *Host
	opts       *Options // of connections to come
	at         listenKey
	acceptor   Acceptor
	backlog    int
	head, tail *Conn // established, and not yet accepted
	waiting    int
	embryos    int
	cookieAt   int64 // when the last SYN cookie was sent; 0: never
	closed     bool
}

// listenKey is where a Listener listens: address 0 is all.
type listenKey struct {
	addr wire.Addr
	port uint16
}

// Listen accepts connections to a port; local 0 is any address. At most backlog connections wait for Accept.
func (h *Host) Listen(local wire.Addr, port uint16, backlog int, a Acceptor) (*Listener, abi.Errno) {
	if port == 0 {
		if port = h.freePort(local); port == 0 {
			return nil, syscall.EADDRINUSE
		}
	}
	if local != 0 && !h.ip.Local(local) {
		return nil, syscall.EADDRNOTAVAIL
	}
	if h.listenerIn(local, port) {
		return nil, syscall.EADDRINUSE
	}
	l := h.newListener()
	*l = Listener{host: h, opts: &h.opts, at: listenKey{local, port}, acceptor: a, backlog: max(1, min(backlog, h.cfg.MaxBacklog))}
	h.listeners[l.at] = l
	return l, 0
}

// listener finds who listens for an address and port.
func (h *Host) listener(addr wire.Addr, port uint16) *Listener {
	if l := h.listeners[listenKey{addr, port}]; l != nil {
		return l
	}
	return h.listeners[listenKey{0, port}]
}

// listenerIn tells whether a listener is in the way of another.
func (h *Host) listenerIn(local wire.Addr, port uint16) bool {
	if local != 0 {
		return h.listener(local, port) != nil
	}
	for k := range h.listeners {
		if k.port == port {
			return true
		}
	}
	return false
}

// freePort chooses an ephemeral port to listen on.
func (h *Host) freePort(local wire.Addr) uint16 {
	n := uint64(h.cfg.LastPort-h.cfg.FirstPort) + 1
	start := h.random() % n
	for i := range n {
		if p := h.cfg.FirstPort + uint16((start+i)%n); !h.listenerIn(local, p) {
			return p
		}
	}
	return 0
}

// Local is where it listens.
func (l *Listener) Local() Endpoint { return Endpoint{l.at.addr, l.at.port} }

// Accept returns the oldest connection that waits, or nil. It may have ended already, which Pull tells.
func (l *Listener) Accept() *Conn {
	c := l.head
	if c == nil {
		return nil
	}
	if l.head = c.queued; l.head == nil {
		l.tail = nil
	}
	l.waiting--
	c.queued, c.listener = nil, nil
	return c
}

// Close resets what waits, and listens no more. It is the last call on a Listener.
func (l *Listener) Close() {
	if l.closed {
		return
	}
	l.closed = true
	delete(l.host.listeners, l.at)
	for c := l.Accept(); c != nil; c = l.Accept() {
		c.Abort()
	}
	h := l.host
	for i := range h.embryos {
		for m := h.embryos[i].head; m != nil; {
			next := m.next
			if m.listener == l {
				h.dropMini(m)
			}
			m = next
		}
	}
	h.spareLstn = append(h.spareLstn, l)
}

// inputListen is for segments to no connection (RFC 9293, 3.10.7.1 and 3.10.7.2).
func (h *Host) inputListen(s *segment) {
	local := s.key.local()
	l := h.listener(local.Addr, local.Port)
	switch {
	case l == nil:
		h.answerReset(s)
	case s.flags&wire.RST != 0:
	case s.flags&wire.ACK != 0:
		if !h.acceptCookie(l, s) {
			h.answerReset(s)
		}
	case s.flags&wire.SYN != 0 && s.flags&wire.FIN == 0:
		h.inputSyn(l, s)
	}
}

// inputSyn begins a connection, as a small record until the handshake is complete. Data is not taken.
func (h *Host) inputSyn(l *Listener, s *segment) {
	if l.waiting >= l.backlog || h.conns.n >= h.cfg.MaxConnections {
		h.Counters.ListenOverflows++
		return
	}
	if l.embryos >= h.cfg.MaxEmbryos {
		if h.cfg.NoCookies {
			h.Counters.ListenOverflows++
			return
		}
		h.sendCookie(l, s)
		return
	}
	iss := h.isn(s.key)
	if old := h.table.find(s.key); old != nil && old.mini != nil { // TIME-WAIT that gives way: go beyond it
		if next := old.mini.sndNxt + 0x10001; iss.Before(next) {
			iss = next
		}
		h.dropMini(old.mini)
	}
	m := h.newMini(s.key, isEmbryo)
	m.listener, m.class = l, l.opts.Class
	m.sndNxt, m.rcvNxt = iss+1, s.seq+1
	m.opt = s.opt.Has & h.offered
	m.mss, m.scale, m.tsRecent = uint16(peerMSS(&s.opt)), s.opt.Scale, s.opt.TSVal
	m.offset = h.stampOffset(s.key)
	l.embryos++
	h.table.put(s.key, nil, m)
	h.queueEmbryo(m)
	h.sendSynAck(m)
}

// queueEmbryo sets the time of the next SYN-ACK. Each list has one delay, so its order is that of the times.
func (h *Host) queueEmbryo(m *mini) {
	m.at = h.ip.Now() + second<<m.tries
	h.embryos[m.tries].add(m)
	if m.at < h.embryoTmr.At() {
		h.wheel.Set(&h.embryoTmr, m.at)
	}
}

// embryosExpired sends SYN-ACKs again, and gives up.
func (h *Host) embryosExpired(now int64) {
	next := never
	for i := range h.embryos {
		list := &h.embryos[i]
		for m := list.head; m != nil && m.at <= now; m = list.head {
			if m.tries == maxSynTries {
				h.Counters.FailedOpens++
				h.dropMini(m)
				continue
			}
			list.remove(m)
			m.tries++
			h.queueEmbryo(m)
			h.Counters.Retransmits++
			h.sendSynAck(m)
		}
	}
	for i := range h.embryos {
		if m := h.embryos[i].head; m != nil {
			next = min(next, m.at)
		}
	}
	if next != never {
		h.wheel.Set(&h.embryoTmr, next)
	}
}

// announced is the MSS for a peer (MUST-14, MUST-67): as large as comes in at once.
func (h *Host) announced(p *ip.Path) uint16 {
	mss := p.MTU() - wire.IPv4Len - wire.TCPLen
	if h.cfg.MSS > 0 {
		mss = min(mss, h.cfg.MSS)
	}
	return uint16(max(minMSS, min(mss, 0xffff)))
}

// sendSynAck answers a SYN.
func (h *Host) sendSynAck(m *mini) {
	o := wire.Options{Has: m.opt, Scale: h.scale, TSVal: milliseconds(h.ip.Now()) + m.offset, TSEcr: m.tsRecent}
	h.sendHandshake(m.key, m.class, m.sndNxt-1, m.rcvNxt, &o)
}

// sendHandshake sends a SYN-ACK for what is no Conn.
func (h *Host) sendHandshake(k key, class ip.Class, iss, ack wire.Seq, o *wire.Options) {
	b := h.room(k, class)
	if b == nil {
		return
	}
	o.Has |= wire.HasMSS
	o.MSS = h.announced(&h.scratch)
	n := wire.TCPLen + o.PutSYN(b[wire.TCPLen:])
	h.send(k, b, n, iss, ack, wire.SYN|wire.ACK, h.synWindow())
}

// inputEmbryo is SYN-RECEIVED.
func (h *Host) inputEmbryo(m *mini, s *segment) {
	first := s.seq.Since(m.rcvNxt)
	bare := s.flags & (wire.RST | wire.SYN)
	switch {
	case bare == wire.SYN && first == -1 && s.flags&wire.ACK == 0: // the SYN again: our answer was lost
		h.sendSynAck(m)
	case m.stamped() && s.stamped() && bare&wire.RST == 0 && int32(s.opt.TSVal-m.tsRecent) < 0:
		h.Counters.PAWSDrops++
		h.challengeMini(m)
	case first < 0 || first > int(h.synWindow()):
		h.Counters.OutOfWindow++
		if bare&wire.RST == 0 {
			h.challengeMini(m)
		}
	case bare&wire.RST != 0:
		if first != 0 {
			h.challengeMini(m)
			return
		}
		h.Counters.ResetsReceived++
		h.Counters.FailedOpens++
		h.dropMini(m)
	case bare&wire.SYN != 0:
		h.challengeMini(m)
	case s.flags&wire.ACK == 0:
	case s.ack != m.sndNxt:
		h.Counters.BadACKs++
		h.answerReset(s)
	default:
		h.promote(m, s)
	}
}

// promote makes a connection of a record whose handshake is complete, and gives it the segment.
func (h *Host) promote(m *mini, s *segment) {
	l := m.listener
	if l.waiting >= l.backlog || h.conns.n >= h.cfg.MaxConnections {
		h.Counters.ListenOverflows++
		return
	}
	c := h.newConn()
	c.opts, c.key, c.listener = l.opts, m.key, l
	c.path.Class = l.opts.Class
	r := m.key.remote()
	if h.ip.Path(&c.path, m.key.local().Addr, r.Addr) != 0 {
		h.spare(c)
		return
	}
	now := h.ip.Now()
	c.agree(&wire.Options{Has: m.opt | wire.HasMSS, MSS: m.mss, Scale: m.scale, TSVal: m.tsRecent}, now)
	c.init()
	if m.tries == 0 && m.kind == isEmbryo {
		c.recovery.rtt.sample(now-(m.at-second), now)
	}
	c.iss = m.sndNxt - 1
	c.sndUna, c.sndNxt, c.rcvNxt = m.sndNxt, m.sndNxt, m.rcvNxt
	c.ackSent, c.rcvAdv = c.rcvNxt, c.rcvNxt+wire.Seq(h.synWindow())
	c.sndWnd, c.sndWl1, c.sndWl2 = int(s.wnd)<<c.sndScale, s.seq, s.ack
	c.maxWnd = c.sndWnd
	c.state = SynReceived
	c.enter() // frees m
	c.establish(now)
	h.Counters.PassiveOpens++
	c.flags |= working
	l.add(c)
	if c.flags&listed != 0 {
		c.inputSynchronized(s)
	}
	c.finish()
}

// add puts a connection at the end of the queue and tells the acceptor.
func (l *Listener) add(c *Conn) {
	if l.tail == nil {
		l.head = c
	} else {
		l.tail.queued = c
	}
	l.tail = c
	l.waiting++
	l.acceptor.Acceptable(l)
}
