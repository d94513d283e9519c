package fake

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/rdma/verbs"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

const (
	rnrTries   = 1000 // steps until a message without a receive buffer is given up
	deadTries  = 2000 // steps until a peer that does not answer is
	maxPayload = 256
)

// qp is a queue pair.
type qp struct {
	owner  *ident
	n      uint32
	params verbs.QPParams
	peer   *qp // connected to; nil: not yet, or parted
	was    bool
	ended  bool
	bad    bool // in the state of error: all is flushed
	busy   bool
	dirty  bool // on Device.posted

	queue  []send // ring
	first  int
	count  int
	taken  int // of the queue, flushed to the device
	recvs  []recv
	rfirst int
	rcount int
	last   int64 // when the last message arrives
	acks   []ack // sends that have arrived
}

type send struct {
	wr     verbs.SendWR
	inline [maxPayload]byte
	at     int64 // when it arrives; 0: not on its way yet
	tries  int
}

type recv struct {
	wrid uint64
	sge  verbs.SGE
}

type ack struct {
	at int64
	c  verbs.Completion
}

func newQP(i *ident, p *verbs.QPParams) *qp {
	f := i.dev.f
	q := &qp{owner: i, n: uint32(len(f.qpns) + 100), params: *p}
	for f.qpns[q.n] != nil {
		q.n++
	}
	f.qpns[q.n] = q
	q.queue, q.recvs = make([]send, p.SendWR), make([]recv, p.RecvWR)
	return q
}

func (q *qp) dev() *Device { return q.owner.dev }

// PostSend implements verbs.Device.
func (d *Device) PostSend(wr *verbs.SendWR) abi.Errno {
	i := d.ids[wr.ID]
	if i == nil || i.qp == nil {
		return unix.EINVAL
	}
	q := i.qp
	if q.count == len(q.queue) {
		return unix.ENOBUFS
	}
	s := &q.queue[(q.first+q.count)%len(q.queue)]
	s.wr, s.at, s.tries = *wr, 0, 0
	if wr.Inline {
		at := 0
		for _, g := range wr.SGEs[:wr.NumSGE] {
			if at+int(g.Len) > q.params.Inline {
				d.f.Wrong = append(d.f.Wrong, "inline send is too long")
				return unix.EINVAL
			}
			at += copy(s.inline[at:], bytesAt(g.Addr, g.Len))
		}
	}
	q.count++
	d.touch(q)
	return 0
}

func (d *Device) touch(q *qp) {
	if !q.dirty {
		q.dirty = true
		d.posted = append(d.posted, q)
	}
}

// PostRecv implements verbs.Device.
func (d *Device) PostRecv(id verbs.ID, wrid uint64, sge verbs.SGE) abi.Errno {
	i := d.ids[id]
	if i == nil || i.qp == nil {
		return unix.EINVAL
	}
	q := i.qp
	if q.rcount == len(q.recvs) {
		return unix.ENOBUFS
	}
	q.recvs[(q.rfirst+q.rcount)%len(q.recvs)] = recv{wrid, sge}
	q.rcount++
	d.touch(q)
	return 0
}

// Flush implements verbs.Device.
func (d *Device) Flush() {
	for _, q := range d.posted {
		q.dirty = false
		if q.ended {
			continue
		}
		q.taken = q.count
		if !q.busy {
			q.busy = true
			d.f.busy = append(d.f.busy, q)
		}
	}
	clear(d.posted)
	d.posted = d.posted[:0]
}

func (q *qp) idle() bool {
	return q.ended || q.taken == 0 && len(q.acks) == 0 && !(q.bad && q.rcount > 0)
}

// run does what is due.
func (q *qp) run() {
	now := q.dev().f.step
	for len(q.acks) > 0 && q.acks[0].at <= now {
		if q.acks[0].c.ID != 0 {
			q.dev().done = append(q.dev().done, q.acks[0].c)
		}
		q.acks = q.acks[:copy(q.acks, q.acks[1:])]
	}
	if q.bad && len(q.acks) == 0 {
		q.flush()
		return
	}
	for q.taken > 0 && !q.bad && !q.ended {
		s := &q.queue[q.first]
		if s.at == 0 {
			q.last = max(q.last, now+q.dev().f.delay())
			s.at = q.last
		}
		if s.at > now {
			return
		}
		status, again := q.deliver(s)
		if again {
			s.tries++
			return
		}
		q.over(s, status)
		if status != verbs.StatusSuccess {
			q.bad = true
		}
	}
}

// over ends a send.
func (q *qp) over(s *send, status uint8) {
	a := ack{at: q.dev().f.step + q.dev().f.delay()}
	if n := len(q.acks); n > 0 {
		a.at = max(a.at, q.acks[n-1].at)
	}
	if s.wr.Signaled || status != verbs.StatusSuccess {
		a.c = verbs.Completion{WRID: s.wr.WRID, ID: q.owner.id, Op: s.wr.Op, Status: status}
	}
	q.acks = append(q.acks, a)
	q.first = (q.first + 1) % len(q.queue)
	q.count--
	q.taken--
}

// flush ends all that is posted to a queue pair in the state of error.
func (q *qp) flush() {
	d := q.dev()
	for ; q.rcount > 0; q.rcount-- {
		r := q.recvs[q.rfirst]
		q.rfirst = (q.rfirst + 1) % len(q.recvs)
		d.done = append(d.done, verbs.Completion{WRID: r.wrid, ID: q.owner.id, Op: verbs.OpRecv, Status: verbs.StatusFlushed})
	}
	for ; q.taken > 0; q.taken-- {
		s := &q.queue[q.first]
		q.first = (q.first + 1) % len(q.queue)
		q.count--
		d.done = append(d.done, verbs.Completion{WRID: s.wr.WRID, ID: q.owner.id, Op: s.wr.Op, Status: verbs.StatusFlushed})
	}
}

// payload is what a send sends, read now.
func (s *send) payload(d *Device, to []byte) (n int, ok bool) {
	at := 0
	for _, g := range s.wr.SGEs[:s.wr.NumSGE] {
		p := s.inline[:]
		if s.wr.Inline {
			p = p[at : at+int(g.Len)]
		} else if p = d.memory(g.LKey, g.Addr, g.Len, false); p == nil {
			d.f.Wrong = append(d.f.Wrong, fmt.Sprintf("a send from memory that is not registered: %+v", g))
			return 0, false
		}
		if at+len(p) > len(to) {
			return 0, false
		}
		at += copy(to[at:], p)
	}
	return at, true
}

// deliver lets a send arrive; again: it has to be tried later.
func (q *qp) deliver(s *send) (status uint8, again bool) {
	if q.owner.datagram {
		q.deliverDatagram(s)
		return verbs.StatusSuccess, false
	}
	p := q.peer
	if p == nil || p.ended || p.bad {
		if !q.was && p == nil {
			return 0, true // not connected yet
		}
		return verbs.StatusRetries, s.tries < deadTries
	}
	if s.wr.Op == verbs.OpWrite && s.wr.NumSGE == 0 {
		return verbs.StatusSuccess, false
	}
	if s.wr.Op == verbs.OpWrite {
		n := s.wr.SGEs[0].Len
		to := p.dev().memory(s.wr.RKey&^(1<<31), s.wr.RemoteAddr, n, true)
		if s.wr.RKey>>31 == 0 || to == nil {
			p.bad = true
			p.wake()
			return verbs.StatusRemoteKey, false
		}
		if _, ok := s.payload(q.dev(), to); !ok {
			return verbs.StatusLocalAccess, false
		}
		return verbs.StatusSuccess, false
	}
	if p.rcount == 0 {
		if s.tries == 0 {
			q.dev().f.RNR++
		}
		return verbs.StatusRNRRetries, s.tries < rnrTries
	}
	return p.receive(s, q, 0), false
}

// receive takes a message to the oldest receive buffer, with room before it.
func (q *qp) receive(s *send, from *qp, room int) uint8 {
	d := q.dev()
	r := q.recvs[q.rfirst]
	q.rfirst = (q.rfirst + 1) % len(q.recvs)
	q.rcount--
	to := d.memory(r.sge.LKey, r.sge.Addr, r.sge.Len, false)
	if to == nil {
		d.f.Wrong = append(d.f.Wrong, "a receive to memory that is not registered")
		return verbs.StatusRemoteOp
	}
	n, ok := s.payload(from.dev(), to[room:])
	if !ok {
		if !q.owner.datagram {
			d.done = append(d.done, verbs.Completion{WRID: r.wrid, ID: q.owner.id, Op: verbs.OpRecv, Status: verbs.StatusLocalLength})
			q.bad = true
			q.wake()
		}
		return verbs.StatusRemoteBad
	}
	c := verbs.Completion{WRID: r.wrid, ID: q.owner.id, Op: verbs.OpRecv, Bytes: uint32(n + room)}
	if q.owner.datagram {
		c.SrcQPN, c.Src = from.n, abi.SockaddrIn{Family: unix.AF_INET, Addr: from.dev().addr}
	}
	d.done = append(d.done, c)
	return verbs.StatusSuccess
}

func (q *qp) deliverDatagram(s *send) {
	addr, ok := q.dev().ahs[s.wr.AH]
	if !ok {
		q.dev().f.Wrong = append(q.dev().f.Wrong, "no such address handle")
		return
	}
	to := q.dev().f.qpns[s.wr.QPN]
	if to == nil || to.ended || to.rcount == 0 || to.dev().addr != addr || !to.owner.datagram {
		return
	}
	to.receive(s, q, verbs.GRHBytes)
}

// wake makes sure that the queue pair runs.
func (q *qp) wake() {
	if !q.busy && !q.ended {
		q.busy = true
		q.dev().f.busy = append(q.dev().f.busy, q)
	}
}

// part ends the connection of a queue pair.
func (q *qp) part() {
	if p := q.peer; p != nil {
		p.peer, p.was, p.bad = nil, true, true
		p.wake()
		q.peer, q.was, q.bad = nil, true, true
		q.wake()
	}
}

func (q *qp) end() {
	if p := q.peer; p != nil && p.peer == q {
		// Its sends go unanswered until it hears of the end.
		p.peer, p.was = nil, true
	}
	q.ended = true
	delete(q.dev().f.qpns, q.n)
}

func bytesAt(addr uint64, n uint32) []byte { return unsafe.Slice((*byte)(abi.Ptr(addr).Pointer()), n) }
