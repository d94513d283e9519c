package rdma

import (
	"github.com/libdmtr/libdmtr/libos/internal/inbox"
	"github.com/libdmtr/libdmtr/libos/rdma/verbs"
	"github.com/libdmtr/libdmtr/libos/rdma/wire"
)

// grantBytes is how much of a request is granted at a time, if a test has not chosen otherwise. That is what is registered, twice over
// at most.
const grantBytes = 1 << 20

// received takes a message in, of n bytes, in a buffer of bufs.
func (c *conn) received(i, n uint32) {
	switch c.state {
	case greeting:
		c.early = append(c.early, arrival{i, n})
		return
	case connected:
	default:
		return
	}
	if c.deaf {
		return
	}
	c.alive = true
	buf := c.bufs[i]
	var m wire.Message
	stream, err := m.Parse(c.os.bufs.bytes(buf)[:n])
	if err != nil || c.fin || c.credits+int(m.Credits) > c.limit {
		c.fault()
		return
	}
	c.credits += int(m.Credits)
	if m.Type == wire.Data || m.Type == wire.Request {
		c.take(piece{slot: i, buf: buf, at: int(n) - len(stream), end: int(n)}, &m)
	} else {
		c.repost(i)
		c.told(&m)
	}
	c.write()
	c.pushMore()
}

// told acts on a message without data.
func (c *conn) told(m *wire.Message) {
	switch m.Type {
	case wire.Grant:
		c.mayWrite(m)
	case wire.Decline:
		c.declined(m)
	case wire.Wrote:
		c.wrote(uint64(m.Length))
	case wire.Fin:
		c.fin = true
		c.serve()
	}
}

// take queues data for the pops.
func (c *conn) take(p piece, m *wire.Message) {
	if c.held+c.owed >= len(c.fifo) || c.asked {
		c.fault() // more than it had credits for, or data before what it wants to write
		return
	}
	if m.Type == wire.Request {
		p.request = m.Length
		c.asked = true
	}
	c.os.stats.DataIn++
	*c.piece(c.held) = p
	c.held++
	c.serve()
}

// serve gives the pops what they want of what has come.
func (c *conn) serve() {
	if c.sock == nil {
		return
	}
	in := &c.sock.in
	for in.Wants() {
		switch {
		case c.incoming > 0 && (c.arrived == c.incoming || c.state == connected && !c.fin):
			if !c.fetch(in) {
				c.returnCredits()
				return
			}
		case c.incoming == 0 && c.held > 0:
			p := c.piece(0)
			p.at += in.Offer(c.os.bufs.bytes(p.buf)[p.at:p.end])
			if p.at == p.end {
				c.taken(*p)
			}
		case c.fin:
			c.revoke()
			in.Finish()
		case c.err != 0:
			in.End(c.err)
		default:
			c.returnCredits()
			return
		}
	}
	c.returnCredits()
}

// taken is called when the pops have had all of the oldest piece.
func (c *conn) taken(p piece) {
	c.first++
	c.held--
	c.incoming = uint64(p.request)
	if c.state != connected {
		c.os.bufs.put(p.buf)
		return
	}
	c.repost(p.slot)
	c.owed++
}

// returnCredits does so if there are many. Few wait for a message that goes the same way.
func (c *conn) returnCredits() {
	if c.owed > 0 && 2*c.owed >= len(c.fifo) && c.state == connected {
		c.os.stats.CreditMessages++
		c.control(wire.Message{Type: wire.Credit})
	}
}

// fetch lets the peer write what it has asked to, into the block of the message under way, and tells whether that is over.
func (c *conn) fetch(in *inbox.Stream) bool {
	if c.arrived == c.incoming {
		n := c.incoming
		c.incoming, c.granted, c.arrived = 0, 0, 0
		in.Filled(int(n))
		return true
	}
	if c.granted == c.incoming || c.nwindows == len(c.windows) {
		return false
	}
	room := in.Room(c.incoming)
	for room != nil && !c.refused && c.granted < c.incoming && c.nwindows < len(c.windows) {
		part := room[c.granted:min(c.incoming, c.granted+c.os.grant)]
		mr, err := c.os.dev.Register(ptr(part), uint64(len(part)), verbs.RemoteWrite)
		if err != 0 {
			break
		}
		c.windows[c.nwindows] = mr
		c.nwindows++
		c.granted += uint64(len(part))
		c.os.stats.Grants++
		c.control(wire.Message{Type: wire.Grant, Length: uint32(len(part)), Addr: mr.Addr, Key: mr.RKey})
	}
	if c.nwindows == 0 {
		return c.decline(in)
	}
	return false
}

// decline asks for the rest of a request as data.
func (c *conn) decline(in *inbox.Stream) bool {
	here, rest := c.arrived, c.incoming-c.arrived
	c.incoming, c.granted, c.arrived, c.asked, c.refused = 0, 0, 0, false, false
	if here > 0 {
		in.Filled(int(here))
	}
	c.os.stats.Declines++
	c.control(wire.Message{Type: wire.Decline, Length: uint32(rest)})
	return true
}

// wrote is called when the peer has written to the oldest window; 0: it could not.
func (c *conn) wrote(n uint64) {
	if c.nwindows == 0 || n != 0 && n != c.windows[0].Len || c.refused && n != 0 {
		c.fault()
		return
	}
	w := c.windows[0]
	c.os.dev.Deregister(w)
	c.nwindows--
	copy(c.windows[:], c.windows[1:])
	if n == 0 {
		c.refused = true
		c.granted -= w.Len
	}
	c.arrived += n
	c.asked = c.arrived < c.incoming
	c.serve()
}

// revoke takes back what has been granted. It comes before the block goes.
func (c *conn) revoke() {
	for ; c.nwindows > 0; c.nwindows-- {
		c.os.dev.Deregister(c.windows[c.nwindows-1])
	}
}
