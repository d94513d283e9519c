package tcp

import (
	"syscall"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

const controlFlags = wire.FIN | wire.SYN | wire.RST | wire.URG | wire.ACK

// input handles a segment for the connection.
func (c *Conn) input(t wire.TCP) {
	if c.late != 0 {
		if c.settle(); c.flags&listed == 0 { // the handler has ended it
			return
		}
	}
	c.segsRcvd++
	c.flags |= working
	if c.state != Established || t.Flags()&controlFlags != wire.ACK || !c.predicted(t) {
		s := &c.host.seg
		s.take(t)
		if c.state == SynSent {
			c.inputSynSent(s)
		} else {
			c.inputSynchronized(s)
		}
	}
	c.finish()
}

// finish is the end of the work on a segment or a timer: what has become possible is done.
func (c *Conn) finish() {
	if c.flags&wantRoom != 0 {
		c.tellRoom()
	}
	c.flags &^= working
	if c.state == TimeWait {
		c.enterTimeWait()
		return
	}
	if c.flags&(wantOutput|ackNow) != 0 {
		c.output()
	}
	if c.flags&(ackSoon|inBurst) == ackSoon {
		c.flushLater()
	}
}

// flushLater has Flush look at the connection.
func (c *Conn) flushLater() {
	h := c.host
	c.flags |= inBurst
	c.nextBurst, h.burst = h.burst, c
}

// Flush sends the ACKs that the segments handled since the last call ask for: one for all of a connection (MUST-59).
// It also tries again where the device had no room. The stack calls it when it has handled a burst.
func (h *Host) Flush() {
	c := h.burst
	h.burst = nil
	for c != nil {
		next := c.nextBurst
		c.nextBurst = nil
		c.flags &^= inBurst
		if c.flags&ackSoon != 0 {
			c.flags |= ackNow | wantOutput
		}
		if c.flags&wantOutput != 0 {
			c.output()
		}
		c = next
	}
	if h.dead != nil {
		h.exhume()
	}
}

// predicted handles a segment if it is what an established connection gets most: the next data, an ACK, or both.
func (c *Conn) predicted(t wire.TCP) bool {
	data := t.Payload()
	stamp, echo := uint32(0), uint32(0)
	if c.flags&hasStamps != 0 {
		var ok bool
		if stamp, echo, ok = t.Timestamps(); !ok || int32(stamp-c.tsRecent) < 0 {
			return false
		}
	} else if t[12]>>4 != wire.TCPLen/4 {
		return false
	}
	seq, ack, wnd := t.Seq(), t.Ack(), int(t.Window())<<c.sndScale
	if seq != c.rcvNxt || ack.Before(c.sndUna) || c.sndNxt.Before(ack) || len(data) > c.rcvAdv.Since(seq) ||
		c.flags&(gaps|peerFin|probing) != 0 {
		return false
	}
	now := c.host.ip.Now()
	c.heard = now
	if c.flags&hasStamps != 0 && seq == c.ackSent {
		c.tsRecent = stamp
	}
	if ack != c.sndUna || wnd != c.sndWnd || len(data) == 0 {
		l := lateACK{conn: c, seq: seq, ack: ack, wnd: wnd, echo: echo, at: now, data: len(data) > 0}
		if !l.data || !c.canWait() || !c.host.late.add(&l) {
			l.take()
		}
	}
	if len(data) > 0 {
		c.inOrder(data, now)
	}
	return true
}

// acked takes in an ACK with SND.UNA <= ack <= SND.NXT. The event has the options.
func (c *Conn) acked(seq, ack wire.Seq, wnd int, data bool, now int64) {
	e := &c.host.event
	e.Now, e.Ack, e.Data = now, ack, data || wnd != c.sndWnd
	if ack == c.sndUna && !e.Data && c.recovery.outstanding() {
		c.dupAcks++
		c.host.Counters.DuplicateACKs++
	}
	before := c.recovery.state
	c.recovery.onAck(e)
	if c.recovery.state == stateRecovery && before != stateRecovery {
		c.host.Counters.FastRetransmits++
	}
	if n := ack.Since(c.sndUna); n > 0 {
		if have := c.snd.len(); n > have {
			c.flags |= finAcked
			n = have
		}
		if n > 0 {
			c.snd.discard(&c.host.blocks, n, false)
			c.bytesAcked += uint64(n)
		}
		c.sndUna = ack
		c.progress = now
	}
	if c.sndWl1.Before(seq) || c.sndWl1 == seq && c.sndWl2.AtMost(ack) {
		c.sndWnd, c.sndWl1, c.sndWl2 = wnd, seq, ack
		c.maxWnd = max(c.maxWnd, wnd)
	}
	if c.allSent() {
		c.arm(now)
	} else {
		c.flags |= wantOutput
	}
}

// allSent tells whether there is nothing that an ACK could let leave.
func (c *Conn) allSent() bool {
	r := &c.recovery
	return c.sndNxt == c.queueEnd() && r.state == stateOpen && r.board.lostSegs == 0 && c.flags&closing == 0
}

// tellRoom calls Writable if there is room for a good part of the buffer.
func (c *Conn) tellRoom() {
	if c.handler == nil || c.state < Established || c.flags&rareDeadline != 0 && c.retryAt != never || c.snd.len() > c.host.cfg.SendBuffer*3/4 {
		return // what retryAt waits for is memory, or room in the device
	}
	c.flags &^= wantRoom
	c.handler.Writable(c)
}

// inputSynSent is RFC 9293, 3.10.7.3. Data with a SYN is not taken, so the peer sends it again.
func (c *Conn) inputSynSent(s *segment) {
	s.key = c.key
	ackOK := s.flags&wire.ACK != 0 && s.ack == c.sndNxt
	switch {
	case s.flags&wire.ACK != 0 && !ackOK:
		c.host.Counters.BadACKs++
		c.host.answerReset(s)
		return
	case s.flags&wire.RST != 0:
		if ackOK {
			c.host.Counters.ResetsReceived++
			c.fail(syscall.ECONNREFUSED)
		}
		return
	case s.flags&wire.SYN == 0:
		return
	}
	now := c.host.ip.Now()
	c.synReceived(s, now)
	if !ackOK { // simultaneous open (MUST-10)
		c.state = SynReceived
		c.synTries = 0
		c.sendSyn(now)
		return
	}
	if c.synTries == 0 {
		c.recovery.rtt.sample(now-c.progress, now)
	}
	c.sndUna = s.ack
	c.sndWl2 = s.ack
	c.establish(now)
	c.flags |= ackNow
	c.connected()
}

// synReceived takes what the peer's SYN says.
func (c *Conn) synReceived(s *segment, now int64) {
	h := c.host
	c.rcvNxt = s.seq + 1
	c.ackSent = c.rcvNxt
	c.rcvAdv = c.rcvNxt + wire.Seq(h.synWindow())
	c.agree(&s.opt, now)
	c.sndWnd, c.sndWl1, c.sndWl2 = int(s.wnd), s.seq, c.iss
	c.maxWnd = c.sndWnd
	c.heard = now
}

// agree settles the options: those that both sides have.
func (c *Conn) agree(o *wire.Options, now int64) {
	h := c.host
	c.agreed = h.offered&o.Has | wire.HasMSS
	c.peerMSS = peerMSS(o)
	if c.agreed&wire.HasTimestamps != 0 {
		c.flags |= hasStamps
		c.tsRecent = o.TSVal
	}
	if c.agreed&wire.HasSACKPermitted != 0 {
		c.flags |= hasSACK
	}
	if c.agreed&wire.HasScale != 0 {
		c.sndScale, c.rcvScale = o.Scale, h.scale
	}
}

// peerMSS is what a SYN announces.
func peerMSS(o *wire.Options) int {
	if o.Has&wire.HasMSS == 0 {
		return defaultMSS
	}
	return max(int(o.MSS), minMSS)
}

// connected tells the handler of the success of an active open.
func (c *Conn) connected() {
	if c.flags&closing != 0 {
		c.state = FinWait1
	}
	c.flags |= wantOutput
	if c.flags&active != 0 && c.handler != nil {
		c.handler.Connected(c, 0)
	}
}

// inputSynchronized is RFC 9293, 3.10.7.4: the steps in its order.
func (c *Conn) inputSynchronized(s *segment) {
	s.key = c.key
	now := c.host.ip.Now()
	if c.state == SynReceived && s.flags&(wire.SYN|wire.ACK|wire.RST) == wire.SYN|wire.ACK && s.seq+1 == c.rcvNxt && s.ack == c.sndNxt {
		s.seq++ // the peer's SYN again, in a simultaneous open, with the ACK of ours (figure 7 of RFC 9293)
		s.flags &^= wire.SYN
	}
	if !c.fresh(s, now) || !c.acceptable(s) {
		return
	}
	switch {
	case s.flags&wire.RST != 0:
		c.inputReset(s, now)
		return
	case s.flags&wire.SYN != 0: // RFC 5961, section 4
		c.challenge(now)
		return
	case s.flags&wire.ACK == 0:
		return
	}
	c.heard = now
	if !c.inputAck(s, now) {
		return
	}
	if c.flags&hasStamps != 0 && s.seq.AtMost(c.ackSent) {
		c.tsRecent = s.opt.TSVal // RFC 7323, section 4.3; not before the last one, as fresh has seen
	}
	c.ownFinAcked()
	if c.flags&listed == 0 || c.state == TimeWait {
		return
	}
	if len(s.data) > 0 || s.flags&wire.FIN != 0 {
		c.inputData(s, now)
	}
}

// fresh is PAWS (RFC 7323, section 5). A segment without timestamps, once they are agreed on, is dropped (3.2).
func (c *Conn) fresh(s *segment, now int64) bool {
	if c.flags&hasStamps == 0 || s.flags&wire.RST != 0 {
		return true
	}
	if !s.stamped() {
		c.host.Counters.PAWSDrops++
		return false
	}
	if int32(s.opt.TSVal-c.tsRecent) >= 0 || now-c.heard > stampsValid {
		return true
	}
	c.host.Counters.PAWSDrops++
	c.refuse(s, now)
	return false
}

// refuse answers a segment that cannot be accepted with an ACK. Those that take no sequence numbers are answered
// seldom, so that no two ends go on answering each other.
func (c *Conn) refuse(s *segment, now int64) {
	n := wire.Seq(len(s.data))
	if n > 0 && s.seq.Before(c.rcvNxt) && c.flags&hasSACK != 0 && (s.seq + n).AtMost(c.rcvNxt) {
		c.host.Counters.Duplicates++
		c.assembler.duplicate(s.seq, s.seq+n)
		c.flags |= gaps
		c.ackEach()
	}
	if s.length() > 0 && s.flags&wire.SYN == 0 {
		c.flags |= ackNow
		return
	}
	c.challenge(now)
}

// challenge sends an ACK that lets the peer find out what is true, within limits (RFC 5961, section 7).
func (c *Conn) challenge(now int64) {
	if !c.challenges.allow(now, challengePeriod, maxChallenges) {
		c.host.Counters.ChallengesHeld++
		return
	}
	c.host.Counters.ChallengeACKs++
	if c.state == SynReceived {
		stamp, echo := c.stamps(now)
		c.host.sendBare(c.key, c.opts.Class, c.sndNxt, c.rcvNxt, wire.ACK, c.host.synWindow(), stamp, echo)
		return
	}
	c.flags |= ackNow
}

// acceptable is the first check of 3.10.7.4. A segment that fails is answered, unless it has RST. With a window of
// zero, what is at RCV.NXT is accepted without its data (MUST-66), and a segment without any may be at the right edge,
// where a peer that has filled the window sends its ACKs.
func (c *Conn) acceptable(s *segment) bool {
	n := wire.Seq(s.length())
	wnd := c.rcvAdv.Since(c.rcvNxt)
	first := s.seq.Since(c.rcvNxt)
	switch {
	case n == 0 && first >= 0 && (first < wnd || first == wnd && s.flags&wire.RST == 0):
		return true
	case wnd == 0 && first == 0:
		if n > 0 && s.flags&wire.SYN == 0 {
			s.data, s.flags = nil, s.flags&^wire.FIN
			c.flags |= ackNow
		}
		return true
	case n > 0 && (first >= 0 && first < wnd || first < 0 && first+int(n) > 0):
		return true
	}
	c.host.Counters.OutOfWindow++
	if s.flags&wire.RST == 0 {
		c.refuse(s, c.host.ip.Now())
	}
	return false
}

// inputReset: only a RST at RCV.NXT is believed (RFC 5961, section 3).
func (c *Conn) inputReset(s *segment, now int64) {
	if s.seq != c.rcvNxt {
		c.challenge(now)
		return
	}
	c.host.Counters.ResetsReceived++
	var err abi.Errno
	switch c.state {
	case SynReceived:
		err = syscall.ECONNREFUSED
	case Closing, LastACK, TimeWait: // both directions were closed
		c.finished()
		return
	default:
		err = syscall.ECONNRESET
	}
	c.fail(err)
}

// inputAck is the fifth check, and tells whether the segment is to be looked at further.
func (c *Conn) inputAck(s *segment, now int64) bool {
	if c.state == SynReceived {
		if s.ack != c.sndNxt {
			c.host.Counters.BadACKs++
			c.host.answerReset(s)
			return false
		}
		c.sndUna = s.ack
		c.sndWnd, c.sndWl1, c.sndWl2 = int(s.wnd)<<c.sndScale, s.seq, s.ack
		c.maxWnd = max(c.maxWnd, c.sndWnd)
		c.establish(now)
		c.connected()
		return c.flags&listed != 0
	}
	if c.flags&probing != 0 && s.ack == c.sndNxt+1 { // the byte beyond the window was taken
		c.sndNxt++
		c.recovery.onWindowProbe(c.sndNxt, now)
	}
	if c.sndNxt.Before(s.ack) || s.ack.Before(c.sndUna-wire.Seq(c.maxWnd)) { // RFC 5961, section 5
		c.host.Counters.BadACKs++
		c.challenge(now)
		return false
	}
	if s.ack.Before(c.sndUna) {
		return true
	}
	e := &c.host.event
	e.Blocks, e.Echo, e.HasEcho = nil, s.opt.TSEcr, s.stamped() && c.flags&hasStamps != 0
	if c.flags&hasSACK != 0 {
		e.Blocks = c.host.takeBlocks(&s.opt)
	}
	c.acked(s.seq, s.ack, int(s.wnd)<<c.sndScale, s.length() > 0, now)
	if c.sndWnd > 0 {
		c.flags &^= probing
	}
	return true
}

// takeBlocks returns the blocks of the SACK option.
func (h *Host) takeBlocks(o *wire.Options) []sackRange {
	if o.Has&wire.HasSACK == 0 {
		return nil
	}
	n := 0
	for _, b := range o.SACK() {
		h.sacked[n] = sackRange(b)
		n++
	}
	return h.sacked[:n]
}
