package tcp

import "github.com/libdmtr/libdmtr/libos/internal/inet/wire"

// lateACK is an ACK that came with data. Request and reply take turns, and then the data is what the program waits for, while the ACK
// moves nothing: it is taken in when the program has answered, or at the next poll. Until then it is as if it had come later.
type lateACK struct {
	conn     *Conn
	seq, ack wire.Seq
	wnd      int
	echo     uint32
	data     bool
	at       int64
}

// lateACKs are those of a burst, at most one of a connection.
type lateACKs struct {
	acks [32]lateACK
	n    int
}

// add puts an ACK off if there is room.
func (a *lateACKs) add(l *lateACK) bool {
	if a.n == len(a.acks) {
		return false
	}
	a.acks[a.n] = *l
	a.n++
	l.conn.late = uint8(a.n)
	return true
}

// remove forgets the ACK of c, and puts the last one in its place.
func (a *lateACKs) remove(c *Conn) {
	a.n--
	if i := int(c.late) - 1; i != a.n {
		a.acks[i] = a.acks[a.n]
		a.acks[i].conn.late = uint8(i + 1)
	}
	a.acks[a.n].conn = nil
	c.late = 0
}

// canWait tells whether nothing waits for an ACK that has come.
func (c *Conn) canWait() bool {
	return c.allSent() && c.flags&(wantRoom|rareDeadline) == 0 && c.sndWnd > 0
}

// take takes the ACK in.
func (l *lateACK) take() {
	c := l.conn
	e := &c.host.event
	e.Blocks, e.Echo, e.HasEcho = nil, l.echo, c.flags&hasStamps != 0
	c.acked(l.seq, l.ack, l.wnd, l.data, l.at)
}

// settle takes in the ACK of the connection that has been put off. It comes before anything else that is done for it, but for
// sending.
func (c *Conn) settle() {
	h := c.host
	l := h.late.acks[c.late-1]
	h.late.remove(c)
	if c.flags&working != 0 { // asked for in Received
		l.take()
		return
	}
	c.flags |= working
	l.take()
	c.finish()
}

// Settle takes in what has been put off, for all connections.
func (h *Host) Settle() {
	for h.late.n > 0 {
		h.late.acks[h.late.n-1].conn.settle()
	}
}
