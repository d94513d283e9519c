package tcp

// Connections and listeners are used again, because in some processes nobody collects garbage. A connection that was given up and is dead
// may still be at work: a handler has closed it from within, or it is on the list of a burst. So it is put aside (bury), and is for
// others only when the burst has been handled (exhume). Until then, and until it is another one, all calls on it do nothing.

// newConn returns a connection that is zero but for its host.
func (h *Host) newConn() *Conn {
	c := h.spareConn
	if c == nil {
		return &Conn{host: h}
	}
	h.spareConn = c.next
	held := c.assembler.ranges
	*c = Conn{host: h}
	c.assembler.ranges = held
	return c
}

// spare takes back a connection that nothing refers to.
func (h *Host) spare(c *Conn) { c.next, h.spareConn = h.spareConn, c }

// bury puts a connection aside if it is dead and its owner has given it up.
func (c *Conn) bury() {
	if c.flags&(givenUp|listed|buried) == givenUp {
		c.flags |= buried
		c.next, c.host.dead = c.host.dead, c
	}
}

// exhume makes the dead spare that no list has. None may be at work.
func (h *Host) exhume() {
	c := h.dead
	h.dead = nil
	for c != nil {
		next := c.next
		if c.flags&(inBurst|delayListed) != 0 {
			c.next, h.dead = h.dead, c
		} else {
			h.spare(c)
		}
		c = next
	}
}

// newListener returns a listener with any content.
func (h *Host) newListener() *Listener {
	n := len(h.spareLstn)
	if n == 0 {
		return &Listener{}
	}
	l := h.spareLstn[n-1]
	h.spareLstn = h.spareLstn[:n-1]
	return l
}
