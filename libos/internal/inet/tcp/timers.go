package tcp

import (
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// schedule makes the timer expire at a time, or before.
func (c *Conn) schedule(at int64) {
	if at < c.timerAt {
		c.timerAt = at
		c.host.wheel.Set(&c.timer, at)
	}
}

// arm sets the timer for what is due next. Usually it is set for an earlier time already, and this costs a few
// comparisons.
func (c *Conn) arm(now int64) {
	c.resendAt = c.recovery.deadline()
	at := c.resendAt
	if c.flags&inDelayed == 0 {
		at = min(at, c.ackAt)
	}
	if c.resendAt != never {
		at = min(at, c.giveUpAt())
	}
	if c.flags&rareDeadline != 0 || c.resendAt == never && c.sndNxt.Before(c.queueEnd()) {
		at = c.armRare(at, now)
	}
	c.schedule(at)
}

// armRare is arm for the other deadlines, and begins to probe a window that has no room.
func (c *Conn) armRare(at, now int64) int64 {
	switch unsent := c.queueEnd().Since(c.sndNxt); {
	case c.resendAt != never || unsent <= 0: // RFC 9293, 3.8.6.1
		c.persistAt, c.persists = never, 0
	case c.persistAt == never:
		c.persistAt = now + c.persistDelay()
		c.progress = now
	}
	at = min(at, c.persistAt, c.retryAt, c.waitAt)
	if c.persistAt != never {
		at = min(at, c.giveUpAt())
	}
	if c.retryAt != never { // nothing can be sent before, so what is due has to wait, or it would be due for ever
		at = max(at, c.retryAt)
	}
	if c.flags |= rareDeadline; min(c.persistAt, c.retryAt, c.waitAt) == never {
		c.flags &^= rareDeadline
	}
	return at
}

// rare sets one of the deadlines that are set seldom.
func (c *Conn) rare(deadline *int64, at int64) {
	*deadline = at
	c.flags |= rareDeadline
}

// persistDelay is the time to the next probe of the window: the RTO, doubled each time (SHLD-29, SHLD-30).
func (c *Conn) persistDelay() int64 {
	return min(c.recovery.rtt.timeout()<<min(c.persists, 16), c.host.cfg.MaxRTO)
}

// giveUpAt is the user timeout: data has waited for long. A peer whose window is zero may live as long as it answers
// (MUST-37), unless nobody here would notice.
func (c *Conn) giveUpAt() int64 {
	if c.sndWnd > 0 || c.flags&orphan != 0 {
		return c.progress + c.opts.UserTimeout
	}
	if c.heard >= c.askedAt {
		return never
	}
	return c.askedAt + c.opts.UserTimeout
}

// asked notes that something leaves to which the peer has to say something.
func (c *Conn) asked(now int64) {
	if c.heard >= c.askedAt {
		c.askedAt = now
	}
}

// Expired implements timer.Owner.
func (c *Conn) Expired(_ *timer.Timer, now int64) {
	c.timerAt = never
	h := c.host
	h.Settle()
	if now > h.ip.Now() {
		h.ip.SetNow(now)
	}
	now = h.ip.Now()
	c.flags |= working
	if c.state < Established {
		c.synTimeout(now)
		c.finish()
		return
	}
	if c.limitMTU != 0 && c.limitEnd <= now {
		c.setLimit(0)
	}
	if c.ackAt <= now {
		c.flags |= ackNow
	}
	if c.retryAt <= now {
		c.retryAt = never
	}
	if c.waitAt <= now {
		c.waited(now)
	}
	if c.flags&listed != 0 && (c.resendAt != never || c.persistAt != never) && c.giveUpAt() <= now {
		h.Counters.Timeouts++
		c.fail(c.timeoutErrno())
	}
	if c.flags&listed != 0 && c.persistAt <= now {
		c.persist(now)
	}
	if c.flags&listed != 0 && c.resendAt <= now {
		c.resendTimeout(now)
	}
	c.flags |= wantOutput
	c.finish()
}

// synTimeout sends the SYN again (RFC 9293, 3.8.3; MUST-20, MUST-23).
func (c *Conn) synTimeout(now int64) {
	if c.resendAt > now {
		c.schedule(c.resendAt)
		return
	}
	if now-c.progress >= c.host.cfg.ConnectTimeout {
		c.host.Counters.Timeouts++
		c.fail(c.timeoutErrno())
		return
	}
	c.host.ip.Doubt(&c.path) // MUST-20
	c.synTries++
	c.resent++
	c.host.Counters.Retransmits++
	c.sendSyn(now)
	c.resendAt = min(c.resendAt, c.progress+c.host.cfg.ConnectTimeout)
	c.schedule(c.resendAt)
}

// resendTimeout does what the loss recovery wants when its time has come.
func (c *Conn) resendTimeout(now int64) {
	switch c.recovery.onTimeout(now) {
	case doProbe:
		c.host.Counters.Probes++
		c.sendProbe(now)
	case doRTO:
		c.host.Counters.RTOs++
		c.host.ip.Doubt(&c.path) // MUST-20
		c.asked(now)
		c.suspectPath(now)
	}
}

// sendProbe is the tail loss probe: new data if there is any, otherwise the last segment again (RFC 8985, 7.3).
func (c *Conn) sendProbe(now int64) {
	r := &c.recovery
	if unsent := c.queueEnd().Since(c.sndNxt); unsent > 0 && !r.full() {
		if n := c.segmentSize(unsent); n > 0 && c.sendNext(n, now) {
			r.onProbe(now, false)
			return
		}
	}
	if start, end, ok := r.lastSent(); ok && c.resend(start, end, now) {
		r.onProbe(now, true)
	}
}

// suspectPath is for a path that loses large packets and says nothing: after some timeouts smaller ones are tried
// (RFC 9293, 3.7.2; RFC 2923). It may have been chance, or the path may change: large ones are tried again later.
func (c *Conn) suspectPath(now int64) {
	switch c.recovery.rtt.backoff {
	case blackHoleTries:
		if c.limitMTU == 0 && c.mtu > blackHoleMTU {
			c.host.Counters.BlackHoles++
			c.limitEnd = now + blackHoleTime
			c.setLimit(blackHoleMTU)
		}
	case 2 * blackHoleTries:
		c.setLimit(0)
	}
}

func (c *Conn) setLimit(mtu int) {
	c.limitMTU, c.mtu = mtu, 0
	c.followMTU()
}

// persist probes a window that has no room: with what there is room for, or else with one byte beyond it (MUST-36).
func (c *Conn) persist(now int64) {
	c.persists = min(c.persists+1, 64)
	c.persistAt = now + c.persistDelay()
	room := c.sndWnd - c.sndNxt.Since(c.sndUna)
	if n := min(c.queueEnd().Since(c.sndNxt), room, c.mss); n > 0 { // RFC 9293, 3.8.6.2.1: the override timeout
		c.sendNext(n, now)
		return
	}
	c.host.Counters.WindowProbes++
	c.asked(now)
	if c.emit(c.sndNxt, 1, wire.ACK|wire.PSH, now) {
		c.flags |= probing
	}
}

// startKeepalive begins to wait for a silence, if the options ask for that.
func (c *Conn) startKeepalive() {
	c.probes, c.waitAt = 0, never
	if idle := c.opts.KeepIdle; idle > 0 {
		c.rare(&c.waitAt, c.heard+idle)
		c.schedule(c.waitAt)
	}
}

// waited is for a connection that waits for its peer: in FIN-WAIT-2 with nobody to read from it, or with keepalive
// (RFC 9293, 3.8.4).
func (c *Conn) waited(now int64) {
	o := c.opts
	if c.flags&orphan != 0 {
		if c.state == FinWait2 {
			c.destroy()
		}
		c.waitAt = never
		return
	}
	if c.heard >= c.probedAt {
		c.probes = 0
	}
	due := c.heard + o.KeepIdle + int64(c.probes)*o.KeepInterval
	step := now + min(o.KeepIdle, o.KeepInterval)
	if c.recovery.outstanding() {
		c.waitAt = step
		return
	}
	if c.waitAt = min(due, step); due > now {
		return
	}
	if int(c.probes) >= o.KeepProbes {
		c.host.Counters.Timeouts++
		c.fail(c.timeoutErrno())
		return
	}
	c.probes++
	c.probedAt = now
	c.host.Counters.KeepaliveProbes++
	c.waitAt = step
	c.emit(c.sndUna-1, 0, wire.ACK, now)
}
