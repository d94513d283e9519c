package tcp

import (
	"syscall"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// inputData takes the data and the FIN of an acceptable segment (RFC 9293, 3.10.7.4, seventh and eighth check).
func (c *Conn) inputData(s *segment, now int64) {
	switch c.state {
	case Established, FinWait1, FinWait2:
	default: // the peer has closed its side: a repetition, or nonsense
		c.flags |= ackNow
		return
	}
	data, seq, fin := s.data, s.seq, s.flags&wire.FIN != 0
	if old := c.rcvNxt.Since(seq); old > 0 {
		old = min(old, len(data))
		if old > 0 && c.flags&hasSACK != 0 {
			c.assembler.duplicate(seq, seq+wire.Seq(old))
			c.flags |= gaps
			c.flags |= ackNow
			c.ackEach()
		}
		data, seq = data[old:], seq+wire.Seq(old)
	}
	if room := c.rcvAdv.Since(seq); len(data) > room {
		data, fin = data[:max(room, 0)], false
		c.flags |= ackNow
	}
	if len(data) > 0 && c.flags&orphan != 0 { // RFC 9293, 3.6.1: nobody will read it
		c.sendReset()
		c.destroy()
		return
	}
	if fin {
		c.flags |= peerFin | ackNow
		c.finSeq = seq + wire.Seq(len(data))
	}
	switch {
	case len(data) == 0:
	case seq != c.rcvNxt:
		c.flags |= ackNow // RFC 5681, section 4.2
		c.ackEach()
		c.aside(data, seq)
	case c.assembler.empty():
		c.inOrder(data, now)
	default:
		c.flags |= ackSoon // MUST-59
		c.fillGap(data)
	}
	c.peerFinished()
}

// ackEach has each of the next segments acknowledged at once, after data that came twice or out of order: the path loses
// segments, so it will lose ACKs as well. If one ACK is for the whole of a small window and is lost, the sender stands
// still, and its probe meets a delayed ACK.
func (c *Conn) ackEach() {
	c.flags |= quick
	c.atOnce = quickAcks
}

// measure follows the size of the peer's full segments: the largest one, or what two in a row have that are not small.
func (c *Conn) measure(n int) {
	n = min(n, c.mtu-wire.IPv4Len-wire.TCPLen) // a device may have joined several
	if n > int(c.rcvMSS) || n == int(c.lastSize) && n >= defaultMSS {
		c.rcvMSS = uint16(n)
	}
	c.lastSize = uint16(n)
}

// inOrder takes the next data when nothing is held out of order.
func (c *Conn) inOrder(data []byte, now int64) {
	c.bytesRcvd += uint64(len(data))
	n := 0
	if c.rcv.len() == 0 && c.handler != nil {
		n = c.deliver(data)
		if c.flags&listed == 0 {
			return
		}
	}
	if n < len(data) {
		if c.flags&orphan != 0 { // closed by the handler, which has not read all
			c.sendReset()
			c.destroy()
			return
		}
		n += c.keep(data[n:])
	}
	c.rcvNxt += wire.Seq(n)
	c.measure(n)
	if c.flags&quick != 0 {
		c.flags |= ackNow
		if c.atOnce--; c.atOnce == 0 {
			c.flags &^= quick
		}
	} else if c.rcvNxt.Since(c.ackSent) >= segmentsPerAck*int(c.rcvMSS) || c.host.cfg.DelayedACK < 0 { // SHLD-19
		c.flags |= ackSoon
	} else if c.ackAt == never { // MUST-58
		c.ackAt = now + c.host.cfg.DelayedACK
		c.host.delayed.add(c, now)
	}
	if c.flags&again != 0 {
		c.offer()
	}
}

// deliver shows bytes to the handler and returns how many it took.
func (c *Conn) deliver(p []byte) int {
	c.flags = c.flags&^again | delivering
	n := c.handler.Received(c, p)
	c.flags &^= delivering
	if c.flags&released != 0 {
		c.flags &^= released
		c.rcv.release(&c.host.blocks)
		return 0
	}
	return max(0, min(n, len(p)))
}

// keep stores data in order behind what is unread, and returns how much that was.
func (c *Conn) keep(data []byte) int {
	have := c.rcv.len()
	if !c.rcv.writeAt(&c.host.blocks, have, data, have) {
		c.host.Counters.NoMemory++
		return 0
	}
	c.rcv.commit(len(data))
	return len(data)
}

// aside stores data that came out of order.
func (c *Conn) aside(data []byte, seq wire.Seq) {
	c.outOfOrder++
	c.host.Counters.OutOfOrder++
	have := c.rcv.len()
	reach := have + c.assembler.reach(c.rcvNxt).Since(c.rcvNxt)
	if !c.rcv.writeAt(&c.host.blocks, have+seq.Since(c.rcvNxt), data, reach) {
		c.host.Counters.NoMemory++
		return
	}
	c.flags |= gaps
	if !c.assembler.add(seq, seq+wire.Seq(len(data))) {
		c.host.Counters.NoMemory++
	}
}

// fillGap takes the next data, behind which there may be more that came before.
func (c *Conn) fillGap(data []byte) {
	have := c.rcv.len()
	reach := have + c.assembler.reach(c.rcvNxt).Since(c.rcvNxt)
	if !c.rcv.writeAt(&c.host.blocks, have, data, reach) {
		// Short of memory, data in order comes first: the rest is given up, which a sender has to expect (RFC 2018,
		// section 8). Otherwise its block could keep the one from coming that is needed.
		c.host.Counters.NoMemory++
		c.assembler.reset()
		if have == 0 {
			c.rcv.release(&c.host.blocks)
		}
		c.inOrder(data, c.host.ip.Now())
		return
	}
	next := c.assembler.advance(c.rcvNxt + wire.Seq(len(data)))
	n := next.Since(c.rcvNxt)
	c.rcv.commit(n)
	c.bytesRcvd += uint64(n)
	c.rcvNxt = next
	if have == 0 {
		c.offer()
	}
}

// offer shows what is unread to the handler, and then the end.
func (c *Conn) offer() {
	for c.rcv.len() > 0 && c.handler != nil {
		p, _ := c.rcv.peek(0, c.rcv.len())
		n := c.deliver(p)
		if c.rcv.len() == 0 { // given up in the meantime
			return
		}
		c.rcv.discard(&c.host.blocks, n, !c.assembler.empty())
		if n == 0 || n < len(p) && c.flags&again == 0 {
			break
		}
	}
	if c.flags&orphan != 0 && c.rcv.len() > 0 && c.flags&listed != 0 {
		c.sendReset()
		c.destroy()
	}
}

// peerFinished is the eighth check: the peer's FIN has its turn.
func (c *Conn) peerFinished() {
	if c.flags&(peerFin|peerDone) != peerFin || c.rcvNxt != c.finSeq || c.flags&listed == 0 {
		return
	}
	c.flags |= peerDone | ackNow
	c.assembler.reset()
	if c.rcvNxt++; c.rcvAdv.Before(c.rcvNxt) {
		c.rcvAdv = c.rcvNxt
	}
	switch c.state {
	case Established:
		c.state = CloseWait
	case FinWait1:
		c.state = Closing
	case FinWait2:
		c.state = TimeWait
	}
	c.tellFin()
}

// tellFin tells the handler that all has been received.
func (c *Conn) tellFin() {
	if c.flags&(peerDone|told) == peerDone && c.rcv.len() == 0 && c.handler != nil {
		c.flags |= told
		c.handler.Ended(c, 0)
	}
}

// Pull offers what is unread to the handler, tells it of the end if that is next, and lets the peer know of new room.
func (c *Conn) Pull() {
	if c.flags&delivering != 0 {
		c.flags |= again
		return
	}
	outermost := c.flags&working == 0
	c.flags |= working
	c.pull()
	if outermost {
		c.finish()
	}
}

func (c *Conn) pull() {
	before := c.rcv.len()
	c.offer()
	c.tellFin()
	if c.err != 0 {
		c.tellEnd(Established)
	}
	if c.flags&listed == 0 || c.state < Established || c.rcv.len() >= before {
		return
	}
	limit := c.limit()
	gain, have := c.edge().Since(c.rcvAdv), c.rcvAdv.Since(c.rcvNxt)
	if gain >= limit/4 || gain >= min(2*int(c.rcvMSS), limit/2) && have < limit/4 {
		c.flags |= ackNow
	}
}

// errno of a connection that ended without an answer.
func (c *Conn) timeoutErrno() syscall.Errno {
	if c.softErr != 0 {
		return c.softErr
	}
	return syscall.ETIMEDOUT
}
