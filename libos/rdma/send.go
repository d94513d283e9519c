package rdma

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/framing"
	"github.com/libdmtr/libdmtr/libos/rdma/verbs"
	"github.com/libdmtr/libdmtr/libos/rdma/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// reclaimTime is how long reclaim waits before it gives the connection up, in nanoseconds.
const reclaimTime = 1e9

// pushMore goes on with the pushes that wait.
func (c *conn) pushMore() {
	if c.sock == nil {
		return
	}
	for op := c.sock.Pushes.Head(); op != nil && c.push(op); op = c.sock.Pushes.Head() {
	}
}

// push sends as much of a push as the peer has room for, and tells whether it is complete.
func (c *conn) push(op *engine.Op) bool {
	sga := op.SGA()
	if sga.Len() == 0 {
		op.Complete(unix.ENOMSG)
		return true
	}
	words := c.framing(op)
	for {
		n := c.os.iov.Gather(sga, words, op.Sent)
		if n == 0 {
			op.Complete(0)
			return true
		}
		if c.cause != 0 || c.request > 0 || c.credits == 0 || c.room() <= controls {
			return false
		}
		switch err := c.sendPieces(op, c.os.iov[:n]); err {
		case 0:
		case unix.EAGAIN:
			return false
		default:
			if op.Sent > 0 { // the stream would be broken
				c.broken(err)
				return false
			}
			op.Complete(err)
			return true
		}
	}
}

// framing is the framing words of a push; nil: it goes bare.
func (c *conn) framing(op *engine.Op) []byte {
	if c.sock.in.Mode != config.FramingMessage {
		return nil
	}
	words := c.os.words[:]
	framing.Encode(words, op.SGA())
	return words
}

// sendPieces makes one message of the next bytes of a push: as many as fit, or those before a large segment and the request to write
// that. EAGAIN: a buffer will be free later.
func (c *conn) sendPieces(op *engine.Op, pieces []framing.Piece) abi.Errno {
	room, n := uint64(c.maxData), uint64(0)
	if c.plain > 0 {
		room = min(room, c.plain)
	}
	m := wire.Message{Type: wire.Data}
	for i := range pieces {
		p := &pieces[i]
		if c.rendezvous(p) {
			m.Type, m.Length = wire.Request, uint32(p.Len)
			break
		}
		part := min(p.Len, room-n)
		if n += part; n == room {
			break
		}
	}
	if m.Type == wire.Data {
		m.Length = uint32(n)
	}
	to, buf := c.os.scratch, none
	if wire.HeaderLen+int(n) > c.inline {
		var err abi.Errno
		if buf, err = c.os.bufs.get(); err != 0 {
			if c.tail != c.head {
				return unix.EAGAIN
			}
			return err
		}
		to = c.os.bufs.bytes(buf)
	}
	m.Credits = c.settle()
	at := m.Put(to)
	left := n
	for i := 0; left > 0; i++ {
		part := min(pieces[i].Len, left)
		at += copy(to[at:], unsafe.Slice((*byte)(pieces[i].At.Pointer()), part))
		left -= part
	}
	c.send(at, buf, sentPlain)
	c.credits--
	c.plain -= min(c.plain, n)
	if m.Type == wire.Request {
		c.request = uint64(m.Length)
		c.os.stats.Requests++
	}
	c.os.stats.DataOut++
	op.Sent += n
	return 0
}

// rendezvous tells whether a piece is to be written straight to the peer's memory.
func (c *conn) rendezvous(p *framing.Piece) bool {
	return p.Len >= uint64(c.os.cfg.Rdma.RendezvousBytes) && c.sock.in.Mode == config.FramingMessage && c.plain == 0 && !c.noRequests &&
		p.Len <= wire.MaxRequest
}

// settle returns the credits that are owed.
func (c *conn) settle() uint16 {
	n := c.owed
	c.owed = 0
	return uint16(n)
}

// control sends a message without data.
func (c *conn) control(m wire.Message) {
	if c.state != connected || c.cause != 0 {
		return
	}
	m.Credits = c.settle()
	n, buf := wire.HeaderLen, none
	if m.Type == wire.Grant {
		n = wire.GrantLen
	}
	to := c.os.scratch
	if n > c.inline {
		var err abi.Errno
		if buf, err = c.os.bufs.get(); err != 0 {
			c.broken(err)
			return
		}
		to = c.os.bufs.bytes(buf)
	}
	m.Put(to)
	kind := sentPlain
	if m.Type == wire.Fin {
		kind = sentFin
	}
	c.send(n, buf, kind)
}

// room is how many entries of the send queue are free.
func (c *conn) room() int { return len(c.ring) - int(c.head-c.tail) }

// send posts the first n bytes of a buffer, or of the scratch.
func (c *conn) send(n int, buf uint32, kind sentKind) {
	wr := &c.os.wr
	wr.ID, wr.Op, wr.NumSGE, wr.Inline = c.ident, verbs.OpSend, 1, buf == none // clearing all of it takes longer
	if wr.Inline {
		wr.SGEs[0] = verbs.SGE{Addr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(c.os.scratch)))), Len: uint32(n)}
	} else {
		wr.SGEs[0] = c.os.bufs.sge(buf, n)
	}
	c.unsignaled++
	wr.Signaled = buf != none || kind != sentPlain || c.unsignaled >= c.signal
	c.postSend(sent{kind: kind, buf: buf})
}

// postSend posts LibOS.wr and notes what is to be done after it.
func (c *conn) postSend(s sent) bool {
	wr := &c.os.wr
	if wr.Signaled {
		c.unsignaled = 0
	}
	wr.WRID = uint64(c.slot)<<32 | uint64(c.head)
	if c.room() == 0 || !c.os.post() {
		c.over(&s)
		c.broken(unix.ENOBUFS)
		return false
	}
	c.ring[c.head%uint32(len(c.ring))] = s
	c.head++
	return true
}

// over ends the use of what a send needed.
func (c *conn) over(s *sent) {
	if s.buf != none {
		c.os.bufs.put(s.buf)
	}
	if s.mr.Len > 0 {
		c.os.dev.Deregister(s.mr)
	}
}

// gone is called when a send, and with it all before it, is over.
func (c *conn) gone(upTo uint32) {
	if int32(upTo-c.tail) < 0 || int32(c.head-upTo) <= 0 {
		return
	}
	c.alive = true
	for c.tail != upTo+1 {
		s := c.ring[c.tail%uint32(len(c.ring))]
		c.tail++
		c.over(&s)
		switch s.kind {
		case sentWrite:
			c.written(s.mr.Len)
		case sentFin:
			if c.state == ending {
				c.state = parting
				c.os.dev.Disconnect(c.ident)
			}
		}
		if c.state == dead {
			return
		}
	}
	if c.state == connected {
		c.write()
		c.pushMore()
	}
}

// written is called when the peer has n bytes more of the oldest push in its memory.
func (c *conn) written(n uint64) {
	c.writing -= n
	c.request -= n
	if c.sock != nil {
		if op := c.sock.Pushes.Head(); op != nil {
			op.Sent += n
		}
	}
}

// granted is called when the peer has allowed to write.
func (c *conn) mayWrite(m *wire.Message) {
	open := c.request - c.writing
	for i := range c.ngrants {
		open -= uint64(c.grants[i].Length)
	}
	if uint64(m.Length) > open || c.ngrants == len(c.grants) {
		c.fault()
		return
	}
	c.grants[c.ngrants] = *m
	c.ngrants++
	c.write()
}

// declined is called when the peer wants the rest of the request as data.
func (c *conn) declined(m *wire.Message) {
	if c.ngrants > 0 || uint64(m.Length) != c.request-c.writing {
		c.fault()
		return
	}
	c.os.stats.Declined++
	c.plain = uint64(m.Length)
	c.request = c.writing
}

// reclaim waits until the device has done with the memory of the push that it writes, which takes no longer than the way to the
// peer's device and back, if that still lives.
func (c *conn) reclaim() {
	o := c.os
	c.hold = true
	for end := o.now() + reclaimTime; c.writing > 0; o.poll() {
		if o.now() >= end {
			c.broken(unix.ETIMEDOUT)
			c.bury()
		}
	}
	if c.hold = false; c.state == connected {
		o.again = append(o.again, c)
	}
}

// write writes what the peer has granted.
func (c *conn) write() {
	for c.ngrants > 0 && !c.hold && c.room() >= 2 && c.cause == 0 && c.sock != nil {
		g := c.grants[0]
		c.ngrants--
		copy(c.grants[:], c.grants[1:])
		op := c.sock.Pushes.Head()
		if op == nil || c.os.iov.Gather(op.SGA(), c.framing(op), op.Sent+c.writing) == 0 || c.os.iov[0].Len < uint64(g.Length) {
			c.broken(unix.EIO) // the push went without Reclaim
			return
		}
		mr, err := c.os.dev.Register(c.os.iov[0].At.Pointer(), uint64(g.Length), 0)
		if err != 0 {
			c.noRequests = true
			c.control(wire.Message{Type: wire.Wrote})
			continue
		}
		wr := &c.os.wr
		*wr = verbs.SendWR{ID: c.ident, Op: verbs.OpWrite, Signaled: true, NumSGE: 1, RemoteAddr: g.Addr, RKey: g.Key}
		wr.SGEs[0] = verbs.SGE{Addr: mr.Addr, Len: g.Length, LKey: mr.LKey}
		if !c.postSend(sent{kind: sentWrite, buf: none, mr: mr}) {
			return
		}
		c.writing += uint64(g.Length)
		c.os.stats.Writes++
		c.control(wire.Message{Type: wire.Wrote, Length: g.Length})
	}
}
