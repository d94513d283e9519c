package tcp

import (
	"unsafe"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// scoreboard knows each segment between SND.UNA and SND.NXT:
//
//	    una                                       nxt
//	-----|----------|----------|----------|--------|-----
//	acked  lost       sacked     in flight  in flight
//
// The records are a ring in the order of sequence numbers; a record has an id that stays, and the id's low bits are
// its place. Those in flight are also linked in the order in which they were sent, which is what RACK walks. It is
// used through recovery.
type scoreboard struct {
	una, nxt       wire.Seq
	base           uint32   // id of the first record
	n              uint32   // number of records
	oldest, newest uint32   // of the records in flight, by time of sending
	flying         uint32   // their number
	lostHint       uint32   // no record before it is lost
	recs           []record // len is a power of two; small while that is enough
	lost, sacked   int      // bytes
	lostSegs       int
	sackedSegs     int
	clock          int64 // time of the last transmission
	rack           rack
	small          [2]record
	blocks         *blocks
}

// record is a segment that was sent. It is in one of three states: in flight, SACKed, or lost and not yet sent again.
type record struct {
	start, end wire.Seq
	sentAt     int64
	prev, next uint32 // in flight: the neighbours by time of sending. SACKed: all up to next are SACKed, too.
	stamp      uint32 // TSval, of those sent again
	flags      recordFlags
}

type recordFlags uint8

const (
	isSacked recordFlags = 1 << iota
	isLost
	isResent // at some time: no RTT sample of it (Karn)
)

const (
	recordSize = int(unsafe.Sizeof(record{}))
	// maxRecords bounds the memory of a scoreboard: 64 Ki segments in 2 MiB.
	maxRecords = 64 << 10
)

// arrival collects what an ACK says about segments.
type arrival struct {
	now       int64
	delivered int   // bytes newly known to have arrived
	first     int64 // when the first of them was sent, of those sent once; 0: none
	last      int64 // and the last
	resent    bool  // one that was sent again is among those acknowledged
	stamp     uint32
	echo      bool   // the ACK has a timestamp:
	echoed    uint32 // this one
	minRTT    int64
}

// start forgets everything; the next byte to be sent is next.
func (s *scoreboard) start(next wire.Seq, b *blocks) {
	s.release()
	*s = scoreboard{una: next, nxt: next, blocks: b}
	s.recs = s.small[:]
	s.rack.init(next)
}

// release gives the records' block back.
func (s *scoreboard) release() {
	if len(s.recs) > len(s.small) {
		s.blocks.put(unsafe.Slice((*byte)(unsafe.Pointer(&s.recs[0])), len(s.recs)*recordSize))
	}
	s.recs = s.small[:]
}

func (s *scoreboard) at(id uint32) *record { return &s.recs[id&uint32(len(s.recs)-1)] }

// pipe is the number of bytes in flight.
func (s *scoreboard) pipe() int { return s.nxt.Since(s.una) - s.lost - s.sacked }

// full tells that there is no room for a record more.
func (s *scoreboard) full() bool {
	return int(s.n) == len(s.recs) && (s.n >= maxRecords || !s.grow(2*len(s.recs)))
}

// grow makes room for n records at least.
func (s *scoreboard) grow(n int) bool {
	p := s.blocks.get(n * recordSize)
	if p == nil {
		return false
	}
	recs := unsafe.Slice((*record)(unsafe.Pointer(&p[0])), len(p)/recordSize)
	for id := s.base; id != s.base+s.n; id++ {
		recs[id&uint32(len(recs)-1)] = *s.at(id)
	}
	s.release()
	s.recs = recs
	return true
}

// sent appends [nxt, end); the caller has asked full.
func (s *scoreboard) sent(end wire.Seq, now int64) {
	id := s.base + s.n
	s.n++
	r := s.at(id)
	r.start, r.end, r.sentAt, r.flags = s.nxt, end, s.tick(now), 0
	s.nxt = end
	s.launch(id, r)
}

// tick is the time of a transmission. No two have the same, though the stack looks at its clock once for a burst:
// otherwise RACK could not tell a retransmission from what was sent just before it.
func (s *scoreboard) tick(now int64) int64 {
	s.clock = max(now, s.clock+1)
	return s.clock
}

// launch appends a record to those in flight.
func (s *scoreboard) launch(id uint32, r *record) {
	if s.flying == 0 {
		s.oldest = id
	} else {
		r.prev = s.newest
		s.at(s.newest).next = id
	}
	s.newest = id
	s.flying++
}

// land takes a record out of those in flight.
func (s *scoreboard) land(id uint32, r *record) {
	s.flying--
	switch id {
	case s.oldest:
		s.oldest = r.next
		if id == s.newest {
			s.newest = r.prev
		}
	case s.newest:
		s.newest = r.prev
	default:
		s.at(r.prev).next = r.next
		s.at(r.next).prev = r.prev
	}
}

// ack removes what is before una.
func (s *scoreboard) ack(una wire.Seq, a *arrival) {
	for s.n > 0 {
		r := s.at(s.base)
		if una.Before(r.end) {
			if n := una.Since(r.start); n > 0 {
				s.trim(r, n, a)
			}
			break
		}
		n := r.end.Since(r.start)
		switch {
		case r.flags&isSacked != 0:
			s.sacked -= n
			s.sackedSegs--
		case r.flags&isLost != 0:
			s.lost -= n
			s.lostSegs--
			s.arrived(r, n, a)
			a.again(r)
		default:
			s.land(s.base, r)
			s.arrived(r, n, a)
			a.again(r)
		}
		s.base++
		s.n--
	}
	s.una = una
	if s.n == 0 {
		s.release()
		s.base = 0 // one segment at a time touches one record
	}
}

// trim takes the first n bytes off the first record: a receiver may acknowledge a part of a segment.
func (s *scoreboard) trim(r *record, n int, a *arrival) {
	r.start += wire.Seq(n)
	switch {
	case r.flags&isSacked != 0:
		s.sacked -= n
	case r.flags&isLost != 0:
		s.lost -= n
		a.delivered += n
	default:
		a.delivered += n
	}
}

// arrived takes note of a segment of n bytes that was not known to have arrived.
func (s *scoreboard) arrived(r *record, n int, a *arrival) {
	a.delivered += n
	if r.flags&isResent == 0 {
		if a.first == 0 || r.sentAt < a.first {
			a.first = r.sentAt
		}
		a.last = max(a.last, r.sentAt)
	}
	s.rack.arrived(r, a)
}

// again takes note of an acknowledged segment that may have been sent again. The timestamp that an ACK echoes says
// nothing about those SACKed.
func (a *arrival) again(r *record) {
	if r.flags&isResent != 0 {
		a.resent, a.stamp = true, r.stamp
	}
}

// sack marks the segments that are wholly within [start, end), which lies within [una, nxt].
func (s *scoreboard) sack(b sackRange, a *arrival) {
	lo, hi := uint32(0), s.n // binary search for the first record at or beyond the start
	for lo < hi {
		mid := (lo + hi) / 2
		if s.at(s.base + mid).start.Before(b.Start) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	first, last := s.base+lo, s.base+s.n
	id := first
	for id != last {
		r := s.at(id)
		if b.End.Before(r.end) {
			break
		}
		if r.flags&isSacked != 0 {
			id = r.next
			continue
		}
		n := r.end.Since(r.start)
		if r.flags&isLost != 0 {
			s.lost -= n
			s.lostSegs--
			r.flags &^= isLost
		} else {
			s.land(id, r)
		}
		s.arrived(r, n, a)
		s.sacked += n
		s.sackedSegs++
		r.flags |= isSacked
		id++
		r.next = id
	}
	if id != first {
		s.at(first).next = id // so that the next ACK with the same range, longer now, need not walk it again
	}
}

// lose marks a record in flight as lost.
func (s *scoreboard) lose(id uint32, r *record) {
	s.land(id, r)
	r.flags |= isLost
	s.lost += r.end.Since(r.start)
	s.lostSegs++
	if s.lostSegs == 1 || int32(id-s.lostHint) < 0 {
		s.lostHint = id
	}
}

// nextLost finds the first lost record.
func (s *scoreboard) nextLost() *record {
	if s.lostSegs == 0 {
		return nil
	}
	if int32(s.lostHint-s.base) < 0 {
		s.lostHint = s.base
	}
	for {
		if r := s.at(s.lostHint); r.flags&isLost != 0 {
			return r
		}
		s.lostHint++
	}
}

// resent notes that the record beginning at start, lost or the last one, has left again. It returns its length.
func (s *scoreboard) resent(start wire.Seq, now int64, stamp uint32) int {
	id := s.lostHint
	r := s.at(id)
	if s.lostSegs == 0 || r.start != start {
		id = s.base + s.n - 1
		if r = s.at(id); s.n == 0 || r.start != start || r.flags&isSacked != 0 {
			return 0
		}
	}
	n := r.end.Since(r.start)
	if r.flags&isLost != 0 {
		r.flags &^= isLost
		s.lost -= n
		s.lostSegs--
	} else {
		s.land(id, r)
	}
	r.flags |= isResent
	r.sentAt, r.stamp = s.tick(now), stamp
	s.launch(id, r)
	return n
}

// loseAll marks all in flight as lost.
func (s *scoreboard) loseAll() {
	for s.flying > 0 {
		s.lose(s.oldest, s.at(s.oldest))
	}
}

// join makes fewer, longer records of short lost ones next to each other, of up to mss bytes, so that they are sent
// again in fewer segments.
func (s *scoreboard) join(mss int) {
	if s.lostSegs < 2 || s.lost >= s.lostSegs*mss/2 {
		return
	}
	last := s.base // what has been gathered so far
	for id := s.base + 1; id != s.base+s.n; id++ {
		r, p := s.at(id), s.at(last)
		if r.flags&p.flags&isLost != 0 && r.end.Since(p.start) <= mss {
			p.end = r.end
			p.flags |= r.flags
			continue
		}
		last++
		*s.at(last) = *r
	}
	s.n = last + 1 - s.base
	s.relink(0)
}

// findLost takes the marks of loss off all: they were wrong.
func (s *scoreboard) findLost() { s.relink(isLost) }

// renege takes the marks of SACK off all: the receiver has thrown away what it had reported (RFC 2018, section 8).
func (s *scoreboard) renege() { s.relink(isSacked) }

// relink clears flags and rebuilds all else from the records. Those that were sent once are in the order of their times
// as they are; the others are put between them.
func (s *scoreboard) relink(clear recordFlags) {
	s.flying, s.lost, s.lostSegs, s.sacked, s.sackedSegs = 0, 0, 0, 0, 0
	for id := s.base; id != s.base+s.n; id++ {
		r := s.at(id)
		r.flags &^= clear
		n := r.end.Since(r.start)
		switch {
		case r.flags&isSacked != 0:
			s.sacked += n
			s.sackedSegs++
			r.next = id + 1
		case r.flags&isLost != 0:
			if s.lostSegs == 0 {
				s.lostHint = id
			}
			s.lost += n
			s.lostSegs++
		case r.flags&isResent == 0:
			s.launch(id, r)
		}
	}
	near := s.newest
	for id := s.base; id != s.base+s.n; id++ {
		if r := s.at(id); r.flags == isResent {
			s.insert(id, r, near)
			near = id
		}
	}
}

// insert puts a record among those in flight by its time; near is one of them that may be close.
func (s *scoreboard) insert(id uint32, r *record, near uint32) {
	if s.flying == 0 {
		s.launch(id, r)
		return
	}
	for s.at(near).sentAt > r.sentAt {
		if near == s.oldest {
			s.at(near).prev, r.next = id, near
			s.oldest = id
			s.flying++
			return
		}
		near = s.at(near).prev
	}
	for near != s.newest && s.at(s.at(near).next).sentAt < r.sentAt {
		near = s.at(near).next
	}
	if near == s.newest {
		s.launch(id, r)
		return
	}
	r.prev, r.next = near, s.at(near).next
	s.at(r.next).prev = id
	s.at(near).next = id
	s.flying++
}

// split cuts the records that are longer than mss, and marks those of them that are not SACKed as lost: a router has
// refused them. If there is no memory they stay, and are cut each time they are sent again.
func (s *scoreboard) split(mss int) {
	total := 0
	for id := s.base; id != s.base+s.n; id++ {
		r := s.at(id)
		total += max(1, (r.end.Since(r.start)+mss-1)/mss)
	}
	if total == int(s.n) {
		return
	}
	old := make([]record, 0, s.n)
	for id := s.base; id != s.base+s.n; id++ {
		old = append(old, *s.at(id))
	}
	for total > len(s.recs) && s.grow(2*len(s.recs)) {
	}
	if total > len(s.recs) {
		return
	}
	s.n = 0
	for _, r := range old {
		long := r.end.Since(r.start) > mss && r.flags&isSacked == 0
		for r.start != r.end {
			p := s.at(s.base + s.n)
			*p = r
			p.end = earlier(r.end, r.start+wire.Seq(mss))
			if long {
				p.flags |= isLost
			}
			r.start = p.end
			s.n++
		}
	}
	s.relink(0)
}
