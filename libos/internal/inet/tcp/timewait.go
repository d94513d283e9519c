package tcp

import (
	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// mini is a connection that needs little: not yet complete, or in TIME-WAIT.
type mini struct {
	key            key
	prev, next     *mini
	list           *miniList
	listener       *Listener // of an embryo
	at             int64     // when an embryo's SYN-ACK is sent again; since when a TIME-WAIT lasts
	sndNxt, rcvNxt wire.Seq
	tsRecent       uint32
	offset         uint32 // of the own timestamps
	challenges     limiter
	wnd            uint16 // of the last ACK, as in the header
	mss            uint16
	kind           miniKind
	class          ip.Class
	scale, tries   uint8
	opt            wire.OptionSet // agreed on
}

func (m *mini) stamped() bool { return m.opt&wire.HasTimestamps != 0 }

type miniKind uint8

const (
	isFree miniKind = iota
	isEmbryo
	isTimeWait
)

// miniList is in the order of what is due first.
type miniList struct {
	head, tail *mini
	n          int
}

func (l *miniList) add(m *mini) {
	m.list, m.prev, m.next = l, l.tail, nil
	if l.tail == nil {
		l.head = m
	} else {
		l.tail.next = m
	}
	l.tail = m
	l.n++
}

func (l *miniList) remove(m *mini) {
	if m.prev == nil {
		l.head = m.next
	} else {
		m.prev.next = m.next
	}
	if m.next == nil {
		l.tail = m.prev
	} else {
		m.next.prev = m.prev
	}
	m.list, m.prev, m.next = nil, nil, nil
	l.n--
}

// newMini returns a record. Used ones come back to it, since a flood of SYNs must not make garbage.
func (h *Host) newMini(k key, kind miniKind) *mini {
	m := h.spareMini
	if m == nil {
		m = &mini{}
	} else {
		h.spareMini = m.next
	}
	*m = mini{key: k, kind: kind}
	return m
}

// dropMini takes a record out of everything and frees it.
func (h *Host) dropMini(m *mini) {
	if m.kind == isEmbryo {
		m.listener.embryos--
	} else {
		h.Counters.TimeWaits--
	}
	if m.list != nil {
		m.list.remove(m)
	}
	h.table.remove(m.key)
	*m = mini{next: h.spareMini}
	h.spareMini = m
	if h.timeWaits.n == 0 {
		h.wheel.Stop(&h.waitTmr)
	}
	for i := range h.embryos {
		if h.embryos[i].n > 0 {
			return
		}
	}
	h.wheel.Stop(&h.embryoTmr)
}

// enterTimeWait leaves a small record in the place of the connection.
func (c *Conn) enterTimeWait() {
	if c.flags&listed == 0 {
		return
	}
	h, now := c.host, c.host.ip.Now()
	k := c.key
	wnd := c.window()
	if c.flags&ackNow != 0 {
		c.emit(c.sndNxt, 0, wire.ACK, now)
	}
	m := h.newMini(k, isTimeWait)
	m.sndNxt, m.rcvNxt, m.wnd = c.sndNxt, c.rcvNxt, wnd
	m.class, m.opt, m.tsRecent, m.offset = c.opts.Class, c.agreed, c.tsRecent, c.tsOffset
	m.at = now
	c.leave()
	if c.flags&orphan != 0 {
		c.destroy()
	}
	if h.timeWaits.n >= h.cfg.MaxTimeWait {
		h.Counters.TimeWaitsDropped++
		h.dropMini(h.timeWaits.head)
	}
	h.table.put(k, nil, m)
	h.Counters.TimeWaits++
	h.startTimeWait(m)
}

// startTimeWait begins the 2 MSL, or begins them anew.
func (h *Host) startTimeWait(m *mini) {
	m.at = h.ip.Now()
	h.timeWaits.add(m)
	if at := h.timeWaits.head.at + h.cfg.TimeWait; !h.waitTmr.Armed() {
		h.wheel.Set(&h.waitTmr, at)
	}
}

// inputTimeWait is TIME-WAIT (RFC 9293, 3.10.7.4; MUST-13). It returns true if the segment is a SYN that may begin
// a new connection (MAY-2 of RFC 9293, RFC 6191): the record is still there, then.
func (h *Host) inputTimeWait(m *mini, s *segment) bool {
	first, n := s.seq.Since(m.rcvNxt), s.length()
	stale := m.stamped() && s.stamped() && int32(s.opt.TSVal-m.tsRecent) < 0
	switch {
	case s.flags&(wire.SYN|wire.RST|wire.ACK|wire.FIN) == wire.SYN:
		if m.stamped() && s.stamped() && int32(s.opt.TSVal-m.tsRecent) > 0 || !stale && first > 0 {
			l := m.key.local()
			if h.listener(l.Addr, l.Port) != nil {
				h.Counters.TimeWaitsReused++
				return true
			}
		}
		h.challengeMini(m)
	case s.flags&wire.RST != 0: // RFC 1337: old segments must stay away from the next connection (fix F1)
	case stale:
		h.Counters.PAWSDrops++
		h.challengeMini(m)
	case s.flags&wire.FIN != 0 && first+n <= 0 && first+n > -0x10000: // our ACK was lost
		h.timeWaits.remove(m)
		h.startTimeWait(m)
		h.ackMini(m)
	case n > 0 || first != 0 || s.flags&wire.SYN != 0:
		h.Counters.OutOfWindow++
		h.challengeMini(m)
	}
	return false
}

// challengeMini is Conn.challenge for a record.
func (h *Host) challengeMini(m *mini) {
	if !m.challenges.allow(h.ip.Now(), challengePeriod, maxChallenges) {
		h.Counters.ChallengesHeld++
		return
	}
	h.Counters.ChallengeACKs++
	h.ackMini(m)
}

func (h *Host) ackMini(m *mini) {
	wnd := m.wnd
	if m.kind == isEmbryo {
		wnd = h.synWindow()
	}
	stamp, echo := uint32(0), uint32(0)
	if m.stamped() {
		stamp, echo = milliseconds(h.ip.Now())+m.offset, m.tsRecent
	}
	h.sendBare(m.key, m.class, m.sndNxt, m.rcvNxt, wire.ACK, wnd, stamp, echo)
}

// Expired implements timer.Owner, for the records.
func (h *Host) Expired(t *timer.Timer, now int64) {
	if now > h.ip.Now() {
		h.ip.SetNow(now)
	}
	if t == &h.embryoTmr {
		h.embryosExpired(now)
		return
	}
	for m := h.timeWaits.head; m != nil; m = h.timeWaits.head {
		if end := m.at + h.cfg.TimeWait; end > now {
			h.wheel.Set(t, end)
			return
		}
		h.dropMini(m)
	}
}
