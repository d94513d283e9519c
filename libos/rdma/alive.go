package rdma

import (
	"time"

	"github.com/libdmtr/libdmtr/libos/rdma/verbs"
)

// A connection that sends nothing would not notice that its peer is gone: the device reports only what it could not deliver. So connections
// on which nothing has happened for a while write zero bytes to the peer's memory, which needs neither a key nor a buffer there, and
// which the peer's device acknowledges, whatever its program does.

const (
	pollsPerBeat = 64  // between looks at the clock
	beatEnds     = 256 // of one look: with more, looks are the more frequent
)

// heart is when which ends are looked at.
type heart struct {
	every int64 // nanoseconds; 0: never
	next  int64
	from  int // of LibOS.ends
	slept bool
}

// beat looks after some of the connections, if it is time.
func (o *LibOS) beat() {
	h := &o.heart
	if h.every == 0 || len(o.ends) == 0 || !h.slept && o.round%pollsPerBeat != 0 {
		return
	}
	h.slept = false
	now := o.now()
	if now < h.next {
		return
	}
	end := min(h.from+beatEnds, len(o.ends))
	for _, e := range o.ends[h.from:end] {
		if c, ok := e.(*conn); ok {
			c.probe()
		}
	}
	if h.from = end; end == len(o.ends) {
		h.from = 0
	}
	h.next = now + h.every/int64((len(o.ends)+beatEnds-1)/beatEnds)
}

// probe asks the peer for a sign of life, unless there has been one since the last time, or an answer is being waited for.
func (c *conn) probe() {
	if c.state != connected || c.cause != 0 {
		return
	}
	if c.alive || int(c.head-c.tail) > c.unsignaled || c.room() == 0 {
		c.alive = false
		return
	}
	c.os.wr = verbs.SendWR{ID: c.ident, Op: verbs.OpWrite, Signaled: true}
	if c.postSend(sent{kind: sentPlain, buf: none}) {
		c.os.stats.Keepalives++
	}
}

func (o *LibOS) keepalive() int64 { return int64(o.cfg.Rdma.KeepaliveMillis) * int64(time.Millisecond) }
