package tcp

// Shutdown closes the sending direction: FIN follows what is in the send buffer.
func (c *Conn) Shutdown() {
	if c.flags&(closing|listed) != listed {
		return
	}
	c.flags |= closing
	switch c.state {
	case Established:
		c.state = FinWait1
	case CloseWait:
		c.state = LastACK
	}
	c.Push()
}

// Close gives up the connection. What was written is still sent, then FIN; what comes from now on is answered with
// RST, and so is the peer if data has not been read (RFC 9293, 3.6.1; RFC 2525, 2.17).
func (c *Conn) Close() {
	c.handler = nil
	c.err = 0
	c.flags |= givenUp
	if c.flags&listed == 0 {
		c.destroy()
		return
	}
	h := c.host
	unread := c.flags&delivering == 0 && c.rcv.len() > 0 // otherwise it turns out when Received returns
	switch {
	case c.flags&orphan != 0:
		return
	case c.state == SynSent:
		c.destroy()
		return
	case unread || !c.assembler.empty() || h.Counters.Orphans >= uint64(h.cfg.MaxOrphans):
		if !unread && c.assembler.empty() {
			h.Counters.OrphansReset++
		}
		c.Abort()
		return
	}
	c.flags |= orphan
	h.Counters.Orphans++
	c.waitAt = never
	c.flags &^= wantRoom
	c.Shutdown()
	if c.flags&listed != 0 && c.state == FinWait2 {
		c.waitForFin()
	}
}

// Unfinished tells whether a connection that was given up has yet to bring data or its FIN to the peer.
func (h *Host) Unfinished() bool {
	for c := h.conns.head; c != nil; c = c.next {
		if c.flags&orphan != 0 && (c.state == FinWait1 || c.state == Closing || c.state == LastACK) {
			return true
		}
	}
	return false
}

// Abort ends the connection at once, with RST.
func (c *Conn) Abort() {
	c.handler = nil
	c.err = 0
	c.flags |= givenUp
	if c.flags&listed != 0 {
		c.sendReset()
	}
	c.destroy()
}

// ownFinAcked goes on in the state machine when the own FIN has been acknowledged.
func (c *Conn) ownFinAcked() {
	if c.flags&finAcked == 0 {
		return
	}
	switch c.state {
	case FinWait1:
		c.state = FinWait2
		if c.flags&orphan != 0 {
			c.waitForFin()
		}
	case Closing:
		c.state = TimeWait
	case LastACK:
		c.finished()
	}
}

// finished ends a connection both of whose directions are closed. A handler that has it still can read what came.
func (c *Conn) finished() {
	c.leave()
	c.state = Closed
	c.snd.release(&c.host.blocks)
	c.recovery.reset()
	if c.flags&orphan != 0 {
		c.destroy()
	}
}

// waitForFin limits how long a connection nobody has may stay in FIN-WAIT-2.
func (c *Conn) waitForFin() {
	c.rare(&c.waitAt, c.host.ip.Now()+c.host.cfg.FinWait)
	c.schedule(c.waitAt)
}
