package tcp

import "github.com/libdmtr/libdmtr/libos/internal/inet/timer"

// delayed keeps the delayed ACKs of all connections off the wheel. Nearly all of them leave with other segments long
// before their time, and with thousands of connections the wheel would be busy with nothing else. Time is cut into
// spans; a connection is in the list of at most one span, linked one way, and is looked at when that begins. Only then
// does a connection whose ACK is due within it set its own timer.
type delayed struct {
	host  *Host
	timer timer.Timer
	span  int64
	next  int64 // number of the next span to be looked at
	n     int   // connections in the lists
	lists [delaySpans]delayList
}

type delayList struct{ head, tail *Conn }

// pop takes out the first one, which there must be.
func (l *delayList) pop() *Conn {
	c := l.head
	if l.head = c.nextDelayed; l.head == nil {
		l.tail = nil
	}
	c.nextDelayed = nil
	c.flags &^= delayListed
	return c
}

const delaySpans = 16 // twice those of the longest delay

func (d *delayed) init(h *Host) {
	d.host, d.timer.Owner = h, d
	d.span = max(1, h.cfg.DelayedACK/(delaySpans/2))
}

// add is told that c.ackAt was set.
func (d *delayed) add(c *Conn, now int64) {
	if c.flags&inDelayed != 0 {
		return // its list comes up no later
	}
	if d.n == 0 {
		d.next = now/d.span + 1
	}
	if c.ackAt/d.span < d.next { // its span has begun
		c.schedule(c.ackAt)
		return
	}
	d.put(c)
	if !d.timer.Armed() {
		d.host.wheel.Set(&d.timer, d.next*d.span)
	}
}

// put appends c to the list of its span.
func (d *delayed) put(c *Conn) {
	c.flags |= inDelayed | delayListed
	d.n++
	l := &d.lists[c.ackAt/d.span%delaySpans]
	if l.tail == nil {
		l.head = c
	} else {
		l.tail.nextDelayed = c
	}
	l.tail = c
}

// forget is told that c is dead. It stays in its list until that comes up, or all are empty.
func (d *delayed) forget(c *Conn) {
	if c.flags&inDelayed == 0 {
		return
	}
	c.flags &^= inDelayed
	if d.n--; d.n == 0 {
		for i := range d.lists {
			l := &d.lists[i]
			for l.head != nil {
				l.pop()
			}
		}
		d.host.wheel.Stop(&d.timer)
	}
}

// Expired implements timer.Owner.
func (d *delayed) Expired(_ *timer.Timer, now int64) {
	for ; d.next*d.span <= now && d.n > 0; d.next++ {
		all := d.lists[d.next%delaySpans]
		d.lists[d.next%delaySpans] = delayList{}
		for all.head != nil {
			if c := all.pop(); c.flags&inDelayed != 0 {
				d.look(c)
			}
		}
	}
	if d.n > 0 {
		d.host.wheel.Set(&d.timer, d.next*d.span)
	}
}

// look is for a connection whose list has come up.
func (d *delayed) look(c *Conn) {
	c.flags &^= inDelayed
	d.n--
	switch {
	case c.ackAt == never: // it has left
	case c.ackAt/d.span <= d.next:
		c.schedule(c.ackAt)
	default:
		d.put(c)
	}
}
