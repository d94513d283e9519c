package tcp

import "github.com/libdmtr/libdmtr/libos/internal/inet/wire"

// output sends what can be sent: segments that were lost, new data, FIN, or an ACK alone; and sets the timer.
func (c *Conn) output() {
	c.flags &^= wantOutput
	if c.flags&listed == 0 || c.state < Established {
		return
	}
	now := c.host.ip.Now()
	if c.path.MTU() != c.mtu {
		c.followMTU()
		c.flags &^= wantOutput
	}
	if c.resendLost(now) {
		c.sendNew(now)
	}
	if c.flags&ackNow != 0 {
		c.emit(c.ackSeq(), 0, wire.ACK, now)
	}
	if c.late == 0 { // otherwise settle follows, when less is in flight
		c.arm(now)
	}
}

// queueEnd is the sequence number behind the data in the send buffer; a FIN has it.
func (c *Conn) queueEnd() wire.Seq { return c.sndUna + wire.Seq(c.snd.len()) }

// ackSeq is the sequence number of an ACK alone: SND.NXT, unless the peer has taken back window (MUST-34).
func (c *Conn) ackSeq() wire.Seq {
	if edge := c.sndUna + wire.Seq(c.sndWnd); edge.Before(c.sndNxt) {
		return edge
	}
	return c.sndNxt
}

// resendLost sends again what has to be, and tells whether new data may follow.
func (c *Conn) resendLost(now int64) bool {
	r := &c.recovery
	for {
		start, end, ok := r.nextLost()
		if !ok {
			return true
		}
		if r.allowance() < end.Since(start) && r.inFlight() > 0 {
			return false
		}
		if !c.resend(start, end, now) {
			return false
		}
	}
}

// resend sends [start, end) again.
func (c *Conn) resend(start, end wire.Seq, now int64) bool {
	flags, n := wire.ACK, end.Since(start)
	last := c.queueEnd()
	if last.Before(end) {
		flags |= wire.FIN
		n--
	}
	if n > 0 && !end.Before(last) { // MUST-60: nothing is behind it
		flags |= wire.PSH
	}
	if !c.emit(start, n, flags, now) {
		return false
	}
	c.resent++
	c.host.Counters.Retransmits++
	c.recovery.onResend(start, now, milliseconds(now)+c.tsOffset)
	return true
}

// sendNew sends data for the first time, and the FIN behind it.
func (c *Conn) sendNew(now int64) {
	r := &c.recovery
	for {
		unsent := c.queueEnd().Since(c.sndNxt)
		fin := c.flags&(closing|finAcked) == closing
		if unsent < 0 || unsent == 0 && !fin || r.full() {
			return
		}
		n := c.segmentSize(unsent)
		if n < 0 || n == 0 && unsent > 0 {
			return
		}
		if !r.outstanding() {
			r.onIdle(now)
			c.progress = now
		} else if r.inFlight() > 0 && r.allowance() < max(n, 1) {
			return
		}
		if !c.sendNext(n, now) {
			return
		}
	}
}

// segmentSize is how much of the unsent bytes the next segment takes as far as the peer's window and the avoidance
// of silly windows go (RFC 9293, 3.8.6.2.1; MUST-38); negative if not even a FIN may leave.
func (c *Conn) segmentSize(unsent int) int {
	room := c.sndWnd - c.sndNxt.Since(c.sndUna)
	n := min(unsent, c.mss, room)
	switch {
	case n == c.mss || n < 0 || unsent == 0:
		return n
	case n < unsent: // the window ends here
		if 2*n >= c.maxWnd && n > 0 {
			return n
		}
		return -1
	case c.opts.Nagle && c.recovery.outstanding() && c.flags&closing == 0:
		return -1
	}
	return n
}

// sendNext sends the n bytes from SND.NXT on, with the FIN if it comes next.
func (c *Conn) sendNext(n int, now int64) bool {
	flags, end := wire.ACK, c.sndNxt+wire.Seq(n)
	if end == c.queueEnd() {
		if n > 0 {
			flags |= wire.PSH
		}
		if c.flags&closing != 0 {
			flags |= wire.FIN
			end++
		}
	}
	if !c.emit(c.sndNxt, n, flags, now) {
		return false
	}
	if flags&wire.PSH != 0 && c.flags&working == 0 {
		c.host.ip.Flush() // nothing follows: on its way before the bookkeeping
	}
	c.sndNxt = end
	c.recovery.onSend(end, now)
	return true
}

// emit builds and sends a segment with the n bytes of the send buffer from seq on.
func (c *Conn) emit(seq wire.Seq, n int, flags wire.TCPFlags, now int64) bool {
	h := c.host
	b := h.ip.Buffer(&c.path)
	if b == nil {
		h.Counters.NoBuffer++
		if c.rare(&c.retryAt, now+bufferRetry); c.flags&inBurst == 0 { // whichever comes first
			c.flushLater()
		}
		c.flags |= wantOutput
		return false
	}
	size := wire.TCPLen
	if c.flags&hasStamps != 0 {
		wire.PutTimestamps(b[size:], milliseconds(now)+c.tsOffset, c.tsRecent)
		size += stampLen
	}
	if size+n > len(b) { // the path has become narrower just now
		c.rare(&c.retryAt, now+bufferRetry)
		return false
	}
	if c.flags&gaps != 0 && c.assembler.pending() {
		// Not beyond the MSS with it, either: the peer's MTU may be smaller than that of the path here (RFC 6691).
		size += c.putSACK(b[size:max(size, min(len(b)-n, size+c.mss-n, wire.TCPLen+wire.MaxTCPOptions))])
	} else {
		c.flags &^= ackNow | ackSoon | gaps
	}
	if n > 0 {
		x, y := c.snd.peek(seq.Since(c.sndUna), n)
		copy(b[size+copy(b[size:], x):], y)
	}
	l, r := uint16(c.key.ports), uint16(c.key.ports>>16)
	wire.TCP(b).Put(l, r, seq, c.rcvNxt, size, flags, c.window())
	c.ackSent, c.ackAt = c.rcvNxt, never
	c.segsSent++
	h.Counters.Sent++
	h.ip.Send(&c.path, size+n, wire.ProtoTCP, sumAt)
	return true
}

// putSACK writes as many blocks as there is room for, and takes note of that the ACK has been sent. A segment full
// of data has no room for any; an ACK follows it then.
func (c *Conn) putSACK(b []byte) int {
	var found [4]sackRange
	var blocks [4]wire.SACKBlock
	room := (len(b) - 4) / 8
	if c.flags&hasSACK == 0 {
		c.flags &^= ackNow | ackSoon
		return 0
	}
	if room < 1 {
		return 0
	}
	n := c.assembler.report(found[:min(room, len(found))])
	c.flags &^= ackNow | ackSoon
	if n == 0 {
		return 0
	}
	for i := range n {
		blocks[i] = wire.SACKBlock(found[i])
	}
	wire.PutSACK(b, blocks[:n])
	return wire.SACKLen(n)
}

// stamps are the values of the timestamps option, 0 and 0 if there is none.
func (c *Conn) stamps(now int64) (stamp, echo uint32) {
	if c.flags&hasStamps == 0 {
		return 0, 0
	}
	return milliseconds(now) + c.tsOffset, c.tsRecent
}

// limit is what the receive buffer may hold, as far as the window can tell it.
func (c *Conn) limit() int { return min(c.host.cfg.ReceiveBuffer, 0xffff<<c.rcvScale) }

// edge is as far as the receive buffer reaches.
func (c *Conn) edge() wire.Seq {
	return c.rcvNxt + wire.Seq(c.limit()-c.rcv.len())
}

// window is RCV.WND for the header. Its right edge moves on by a segment or half the buffer at least (RFC 9293,
// 3.8.6.2.2; MUST-39), and back never (SHLD-14), but for the rounding of a full buffer.
func (c *Conn) window() uint16 {
	edge := c.edge()
	if edge.Since(c.rcvAdv) >= min(c.limit()/2, int(c.rcvMSS)) {
		c.rcvAdv = edge
	}
	grain := 1 << c.rcvScale
	w := (c.rcvAdv.Since(c.rcvNxt) + grain - 1) >> c.rcvScale
	adv := c.rcvNxt + wire.Seq(w<<c.rcvScale)
	if c.rcvAdv.Before(adv) {
		if adv.Since(edge) > roundingRoom {
			w--
		} else {
			c.rcvAdv = adv
		}
	}
	if w > 0xffff {
		w = 0xffff
	}
	return uint16(w)
}

// sendSyn sends SYN, or SYN-ACK in SYN-RECEIVED after a simultaneous open, and sets the timer.
func (c *Conn) sendSyn(now int64) {
	h := c.host
	c.resendAt = now + min(second<<c.synTries, h.cfg.MaxRTO)
	defer c.schedule(c.resendAt)
	b := h.ip.Buffer(&c.path)
	if b == nil {
		h.Counters.NoBuffer++
		return
	}
	o := wire.Options{Has: h.offered, MSS: h.announced(&c.path), Scale: h.scale, TSVal: milliseconds(now) + c.tsOffset, TSEcr: c.tsRecent}
	flags, ack := wire.SYN, wire.Seq(0)
	if c.state == SynReceived {
		flags, ack = wire.SYN|wire.ACK, c.rcvNxt
		o.Has &= c.agreed
	}
	n := wire.TCPLen + o.PutSYN(b[wire.TCPLen:])
	l, r := uint16(c.key.ports), uint16(c.key.ports>>16)
	wire.TCP(b).Put(l, r, c.iss, ack, n, flags, h.synWindow())
	c.segsSent++
	h.Counters.Sent++
	h.ip.Send(&c.path, n, wire.ProtoTCP, sumAt)
}

// synWindow is the window of a SYN, which is not scaled.
func (h *Host) synWindow() uint16 { return uint16(min(h.cfg.ReceiveBuffer, 0xffff)) }

// sendReset sends a RST that the peer believes: at SND.NXT.
func (c *Conn) sendReset() {
	switch c.state {
	case SynReceived, Established, FinWait1, FinWait2, CloseWait:
	default:
		return
	}
	h := c.host
	h.Counters.ResetsSent++
	stamp, echo := c.stamps(h.ip.Now())
	h.sendBare(c.key, c.opts.Class, c.ackSeq(), c.rcvNxt, wire.RST|wire.ACK, 0, stamp, echo)
}
