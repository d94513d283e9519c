package store

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// commitsUnderWay is how many commits of a log may be under way while another one still fills: more do not make it faster, but smaller.
const commitsUnderWay = 4

// writer is what a Store has for writing.
type writer struct {
	chunkSize uint32
	chunks    []chunk
	spareList *chunk
	spareN    int
	busyLogs  logList // have something to submit
	starved   logList // wait for a chunk
	ended     *Append // for the next Poll to tell
	endedTail **Append
}

// appendState is what the store notes in an Append.
type appendState struct {
	next   *Append
	n      uint64 // bytes
	copied uint64
}

// chunk is the memory of a commit: one contiguous range of an extent, written by one request. Life: open (records are copied to it),
// sealed (its content is final), under way, ended, spare.
type chunk struct {
	req   block.Request
	log   *Log
	buf   []byte // all
	room  uint32 // of it that fits into the extent
	n     uint32 // used
	place uint32 // extent
	idx   uint64
	off   uint32 // within the extent
	end   mark   // after it, if clean
	clean bool   // it ends between records
	pos   uint64 // end of the last whole record in or before it
	seq   uint64
	done  bool
	next  *chunk
}

// chunkList is a queue.
type chunkList struct{ head, tail *chunk }

func (q *chunkList) put(c *chunk) {
	c.next = nil
	if q.head == nil {
		q.head = c
	} else {
		q.tail.next = c
	}
	q.tail = c
}

func (q *chunkList) take() *chunk {
	c := q.head
	if c != nil {
		q.head, c.next = c.next, nil
	}
	return c
}

// logList is a queue of logs by one of their links.
type logList struct {
	head, tail *Log
	link       int
}

func (q *logList) put(l *Log) {
	k := &l.links[q.link]
	if k.in {
		return
	}
	k.in, k.next = true, nil
	if q.head == nil {
		q.head = l
	} else {
		q.tail.links[q.link].next = l
	}
	q.tail = l
}

func (q *logList) take() *Log {
	l := q.head
	if l != nil {
		k := &l.links[q.link]
		q.head = k.next
		k.in, k.next = false, nil
	}
	return l
}

func (s *Store) makeChunks() abi.Errno {
	s.starved.link = 1
	s.endedTail = &s.ended
	n := uint32(s.opt.WriteChunks)
	memory := s.alloc(int(n * s.chunkSize))
	if memory == nil {
		return unix.ENOMEM
	}
	s.chunks = make([]chunk, n)
	for i := range s.chunks {
		c := &s.chunks[i]
		c.buf = memory[uint32(i)*s.chunkSize:][:s.chunkSize:s.chunkSize]
		c.req.Owner = c
		s.spareChunk(c)
	}
	return 0
}

// openChunk begins a commit at the tail of the log. False: there is no chunk now.
func (l *Log) openChunk(a *Append) bool {
	s := l.s
	c := s.spareList
	if c == nil {
		s.starved.put(l)
		return false
	}
	bs := s.sb.blockSize
	place := l.last
	if l.tail.off == 0 {
		if place = l.ahead; place == noExtent {
			l.fail(unix.ENOSPC) // reserve is there to prevent that
			return false
		}
		l.ahead = s.extents[place].next
		l.aheadN--
		l.tail.off = bs
		pos := l.tail.pos + a.copied
		s.extents[place] = extent{idx: l.tail.idx, pos: pos, seq: l.tail.seq, epoch: l.epoch}
		l.addExtent(place)
		h := extentHead{log: l.id, idx: l.tail.idx, pos: pos, seq: l.tail.seq, place: uint64(place), epoch: l.epoch}
		if a.copied > 0 {
			h.inside, h.back = true, l.back
		}
		h.encode(c.buf[:bs], &s.sb)
		c.off, c.n = 0, bs
	} else {
		c.off, c.n = l.tail.off, 0
	}
	s.spareList = c.next
	s.spareN--
	c.next = nil
	c.log, c.place, c.idx, c.done = l, place, l.tail.idx, false
	c.room = uint32(min(uint64(s.chunkSize), s.sb.extentSize-uint64(c.off)))
	l.open = c
	s.busyLogs.put(l)
	return true
}

// fill copies records to chunks for as long as there are some.
func (l *Log) fill() {
	for l.copying != nil {
		a := l.copying
		if l.open == nil && !l.openChunk(a) {
			return
		}
		l.place(a)
		if a.copied == a.n {
			l.tail.pos += a.n
			l.tail.seq++
			l.unplaced -= l.s.cost(a.n)
			l.copying = a.next
			for l.copying != nil && l.copying.n == 0 {
				l.copying = l.copying.next
			}
		}
	}
}

// place puts a fragment of a into the open chunk, or seals that if there is no room.
func (l *Log) place(a *Append) {
	c, bs := l.open, l.s.sb.blockSize
	rest := a.n - a.copied
	room := c.room - c.n
	if uint64(room) < fragmentHeader+rest {
		// A record that is cut must not have its first fragment in the block where the one before ends: should it stay
		// incomplete, that fragment could not be told from a record that is there.
		if room < fragmentHeader+8 || a.copied == 0 && c.n%bs != 0 && room <= bs-c.n%bs {
			l.seal()
			return
		}
		rest = uint64(room - fragmentHeader)
	}
	f := fragment{n: uint32(rest), epoch: l.epoch, seq: l.tail.seq, pos: l.tail.pos + a.copied, acked: l.durSeq, rest: a.n - a.copied}
	if a.copied == 0 {
		f.flags = flagFirst
		l.back = mark{idx: c.idx, off: roundUp(c.off+c.n, bs), epoch: l.epoch, pos: f.pos, seq: f.seq}
	}
	if f.rest == rest {
		f.flags |= flagLast
	}
	end := c.n + f.bytes()
	gather(c.buf[c.n+fragmentHeader:end], a.SGA, a.copied)
	f.encode(c.buf[c.n:end], l.seed)
	a.copied += rest
	aligned := roundUp(end, 8)
	clear(c.buf[end:aligned])
	c.n = aligned
	if c.n == c.room {
		l.sealAfter(a)
	}
}

// gather copies what is in the array from byte `from` on.
func gather(to []byte, sga *abi.SGArray, from uint64) {
	for i := uint32(0); i < sga.NumSegs && len(to) > 0; i++ {
		b := sga.Bytes(i)
		if uint64(len(b)) <= from {
			from -= uint64(len(b))
			continue
		}
		n := copy(to, b[from:])
		to, from = to[n:], 0
	}
	clear(to) // the program has changed the array meanwhile
}

// sealAfter seals the chunk behind what was just copied of a.
func (l *Log) sealAfter(a *Append) {
	if a.copied < a.n {
		l.seal()
		return
	}
	// fill has not moved the tail yet.
	l.tail.pos += a.n
	l.tail.seq++
	l.seal()
	l.tail.pos -= a.n
	l.tail.seq--
}

// seal ends the open chunk.
func (l *Log) seal() {
	c, bs := l.open, l.s.sb.blockSize
	l.open = nil
	n := roundUp(c.n, bs)
	clear(c.buf[c.n:n])
	c.n = n
	l.tail.off = c.off + n
	if uint64(l.tail.off) == l.s.sb.extentSize {
		l.tail.idx, l.tail.off = l.tail.idx+1, 0
	}
	inside := l.copying != nil && l.copying.copied > 0 && l.copying.copied < l.copying.n
	c.clean, c.pos, c.seq = !inside, l.tail.pos, l.tail.seq
	c.end = l.tail
	c.end.epoch = l.epoch
	c.req.Op, c.req.Durable = block.Write, true
	c.req.Block, c.req.Buf = l.s.extentBlock(c.place)+uint64(c.off/bs), c.buf[:n]
	l.sealed.put(c)
	l.s.busyLogs.put(l)
}

// submit hands sealed chunks to the drive. At most two extents are under way: recovery relies on that.
func (l *Log) submit() {
	for c := l.sealed.head; c != nil; c = l.sealed.head {
		if l.flight.head != nil && c.idx > l.flight.head.idx+1 {
			return // comes again when a commit has ended
		}
		switch err := l.s.dev.Submit(&c.req); err {
		case 0:
			l.flight.put(l.sealed.take())
			l.flying++
		case unix.EAGAIN:
			l.s.busyLogs.put(l)
			return
		default:
			l.fail(err)
			return
		}
	}
}

// flushWrites submits what waits, for each log that has something.
func (s *Store) flushWrites() {
	end := s.busyLogs.tail
	for l := s.busyLogs.take(); l != nil; l = s.busyLogs.take() {
		if l.open != nil && l.err == 0 {
			if l.flying < commitsUnderWay && l.sealed.head == nil {
				l.seal()
			}
		}
		l.submit()
		if l == end {
			break
		}
	}
}

// Done takes the end of a commit.
func (c *chunk) Done(*block.Request) {
	l := c.log
	c.done = true
	if c.req.Err != 0 {
		l.fail(c.req.Err)
	}
	for c = l.flight.head; c != nil && c.done; c = l.flight.head {
		l.flight.take()
		l.flying--
		if l.err == 0 {
			l.durable(c)
		}
		l.s.spareChunk(c)
	}
	l.s.busyLogs.put(l)
}

// spareChunk gives a chunk back, and lets a log go on that waits for one.
func (s *Store) spareChunk(c *chunk) {
	c.log = nil
	c.next, s.spareList = s.spareList, c
	s.spareN++
}

// feed lets logs go on that wait for chunks.
func (s *Store) feed() {
	for s.spareList != nil {
		l := s.starved.take()
		if l == nil {
			return
		}
		l.fill()
	}
}

// durable notes that a commit and all before it are durable.
func (l *Log) durable(c *chunk) {
	l.durPos, l.durSeq = c.pos, c.seq
	l.durIdx, l.durOff = c.idx, c.off+c.n
	if c.clean {
		l.known = c.end
	}
	for a := l.queue; a != nil && a.End <= l.durPos; a = l.queue {
		l.queue = a.next
		l.s.end(a, 0)
	}
}

// end lets Poll tell the owner.
func (s *Store) end(a *Append, err abi.Errno) {
	a.Err, a.next = err, nil
	*s.endedTail = a
	s.endedTail = &a.next
}

// fail ends all appends of the log. What is under way is waited for, and no more is taken until the log is opened anew.
func (l *Log) fail(err abi.Errno) {
	if l.err != 0 {
		return
	}
	l.err = err
	for a := l.queue; a != nil; a = l.queue {
		l.queue = a.next
		l.s.end(a, err)
	}
	l.queueTail, l.copying, l.unplaced = nil, nil, 0
	if l.open != nil {
		l.s.spareChunk(l.open)
		l.open = nil
	}
	for c := l.sealed.take(); c != nil; c = l.sealed.take() {
		l.s.spareChunk(c)
	}
}

// cost is how many bytes of extents a record of n bytes needs at most, headers and what is left unused included.
func (s *Store) cost(n uint64) uint64 {
	bs := uint64(s.sb.blockSize)
	fragments := n/(uint64(s.chunkSize)-bs/2) + n/(s.sb.extentSize-bs) + 3
	return n + fragments*(2*fragmentHeader+16) + 3*bs
}

// reserve sees to it that the record has room, and those accepted before it that are not copied yet. It takes extents for them.
func (l *Log) reserve(n uint64) bool {
	s := l.s
	need := l.unplaced + s.cost(n)
	var room uint64
	if l.tail.off > 0 {
		room = s.sb.extentSize - uint64(l.tail.off)
	}
	if l.open != nil {
		room = s.sb.extentSize - uint64(roundUp(l.open.off+l.open.n, s.sb.blockSize))
	}
	usable := s.sb.extentSize - uint64(s.sb.blockSize)
	room += l.aheadN * usable
	if room < need && (need-room+usable-1)/usable > s.freeN {
		return false
	}
	for ; room < need; room += usable {
		p := s.free
		s.free = s.extents[p].next
		s.freeN--
		s.extents[p].log, s.extents[p].next = l, noExtent
		if l.ahead == noExtent {
			l.ahead = p
		} else {
			s.extents[l.aheadTail].next = p
		}
		l.aheadTail = p
		l.aheadN++
	}
	l.unplaced = need
	return true
}

// Append appends a record of a.SGA and sets a.Pos and a.End. From then on it is the last of the log, unless it fails. Errors at once, and then
// the request has not begun: ENOSPC: the drive is full; EMSGSIZE: longer than Options.MaxRecord; EROFS; or the error of an earlier append, if
// the log takes no more. Later errors: EIO, ETIMEDOUT, ENODEV: whether the record is in the log shows when it is opened anew. An empty
// record is not stored, and ends when all before it have.
func (l *Log) Append(a *Append) abi.Errno {
	s := l.s
	n := a.SGA.Len()
	switch {
	case s.opt.ReadOnly:
		return unix.EROFS
	case l.err != 0:
		return l.err
	case s.broken != 0:
		return s.broken
	case n > s.opt.MaxRecord:
		return unix.EMSGSIZE
	case n > 0 && !l.reserve(n):
		return unix.ENOSPC
	}
	a.Pos = l.tailPos
	l.tailPos += n
	a.End, a.Err, a.n, a.copied, a.next = a.Pos+n, 0, n, 0, nil
	if n == 0 && l.queue == nil {
		s.end(a, 0)
		return 0
	}
	if l.queue == nil {
		l.queue = a
	} else {
		l.queueTail.next = a
	}
	l.queueTail = a
	if n > 0 && l.copying == nil {
		l.copying = a
		l.fill()
	}
	return 0
}

// Cancel takes a back if nothing of it has been taken over, and then its owner is not called. False: it goes on; some or all of it has been,
// and the rest of its memory is needed until it ends. Only the last append of a log can be taken back.
func (l *Log) Cancel(a *Append) bool {
	if a.copied > 0 || a.n == 0 || l.queueTail != a || l.copying == nil {
		return false
	}
	before := &l.queue
	var last *Append
	for *before != a {
		last = *before
		before = &last.next
	}
	*before, l.queueTail = nil, last
	l.tailPos = a.Pos
	l.unplaced -= l.s.cost(a.n)
	if l.copying == a {
		l.copying = nil
	}
	return true
}
