package store

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// viewer shows parts of extents to what blocks.
type viewer struct {
	buf   []byte
	place uint32
	from  uint32 // what is in buf
	to    uint32
	err   abi.Errno
}

// look returns n bytes of an extent, or nil if they are beyond its end or cannot be read. They stay as they are until the next look.
func (s *Store) look(place, off, n uint32) []byte {
	v := &s.view
	size := uint32(s.sb.extentSize)
	if n > size || off > size-n {
		return nil
	}
	if v.buf == nil {
		if v.buf = s.alloc(int(min(2*maxFragment, size))); v.buf == nil {
			v.err = unix.ENOMEM
			return nil
		}
		v.place = noExtent
	}
	if v.place != place || off < v.from || off+n > v.to {
		from := off &^ (s.sb.blockSize - 1)
		to := min(size, from+uint32(len(v.buf)))
		v.place = noExtent
		if err := s.transfer(block.Read, s.extentBlock(place)+uint64(from/s.sb.blockSize), v.buf[:to-from]); err != 0 {
			v.err = err
			return nil
		}
		v.place, v.from, v.to = place, from, to
	}
	return v.buf[off-v.from:][:n]
}

// parser follows the fragments of a log.
type parser struct {
	s     *Store
	l     *Log
	place uint32 // extent where it is
	at    mark   // behind the last whole record: off is in bytes, and may be within a block
	reach mark   // of the farthest fragment that was good, whether of a whole record or not: behind it
}

// fragmentAt reads the fragment at a place and checks everything that can be checked without knowing what should be there.
func (p *parser) fragmentAt(place, off uint32) (f fragment, ok bool) {
	b := p.s.look(place, off, fragmentHeader)
	if b == nil || !f.decode(b, uint32(p.s.sb.extentSize)-off) {
		return f, false
	}
	b = p.s.look(place, off, f.bytes())
	return f, b != nil && f.crc == sum(p.l.seed, b[4:])
}

// enter looks whether the next extent of the log goes on where m says.
func (p *parser) enter(place uint32, m mark, inside bool) (uint32, bool) {
	next := p.l.first
	if place != noExtent {
		next = p.s.extents[place].next
	}
	if next == noExtent {
		return noExtent, false
	}
	e := &p.s.extents[next]
	ok := e.idx == m.idx && e.pos == m.pos && e.seq == m.seq && (e.epoch == m.epoch || e.epoch > m.epoch && !inside)
	return next, ok
}

// record reads one record, which is expected at p.at, or the rest of one of which the fragments before left `rest` bytes. It moves p.at
// behind it.
func (p *parser) record(from mark, place uint32, rest uint64) bool {
	bs := p.s.sb.blockSize
	size := uint32(p.s.sb.extentSize)
	m, inside := from, rest > 0
	for {
		if m.off = roundUp(m.off, 8); inside {
			m.off = roundUp(m.off, bs)
		}
		if m.off == size {
			m.idx, m.off = m.idx+1, 0
		}
		if m.off == 0 {
			var ok bool
			if place, ok = p.enter(place, m, inside); !ok {
				return false
			}
			m.epoch, m.off = p.s.extents[place].epoch, bs
		}
		f, ok := p.fragmentAt(place, m.off)
		switch {
		case !ok, f.seq != m.seq, f.pos != m.pos, f.first() == inside:
			return false
		case inside && (f.rest != rest || f.epoch != m.epoch), f.epoch < m.epoch:
			return false
		}
		m.off += f.bytes()
		m.pos += uint64(f.n)
		m.epoch, rest, inside = f.epoch, f.rest-uint64(f.n), true
		if m.idx > p.reach.idx || m.idx == p.reach.idx && m.off > p.reach.off {
			p.reach = m
		}
		if f.last() {
			m.seq++
			p.at, p.place = m, place
			return true
		}
	}
}

// run follows the log to the end of its last whole record.
func (p *parser) run(each func()) {
	bs := p.s.sb.blockSize
	for {
		ok := p.record(p.at, p.place, 0)
		if m := p.at; !ok && m.off%bs != 0 {
			m.off = roundUp(m.off, bs)
			ok = p.record(m, p.place, 0)
		}
		if !ok || p.s.view.err != 0 {
			return
		}
		if each != nil {
			each()
		}
	}
}

// recover finds the end of the log, as docs/storage.md explains, and frees extents behind it.
func (l *Log) recover() abi.Errno {
	s := l.s
	s.view.err, s.view.place = 0, noExtent
	from, top, err := l.survey()
	if err != 0 {
		return err
	}
	p := parser{s: s, l: l}
	end, err := p.locate(from)
	if err != 0 {
		return err
	}
	if from != noExtent {
		// All extents but the last two were durable before the last was begun.
		if durable := top - 2; top >= 2+s.extents[from].idx && (p.reach.idx < durable || p.reach.idx == durable && roundUp(p.reach.off, s.sb.blockSize) < uint32(s.sb.extentSize)) {
			return ErrStructure
		}
	}
	if err := l.lost(end, from); err != 0 {
		return err
	}
	if p.reach.off == 0 || uint64(roundUp(p.reach.off, s.sb.blockSize)) == s.sb.extentSize {
		if l.suspect {
			return unix.EIO // it may go on in an extent that cannot be read
		}
		if err := p.headless(end); err != 0 {
			return err
		}
	}
	if !s.opt.ReadOnly {
		if err := l.dropBehind(end); err != 0 {
			return err
		}
	}
	l.startAt(end)
	return 0
}

// survey checks that the extents which must be there are, and chooses the one to begin with; top is the number of the last.
func (l *Log) survey() (from uint32, top uint64, err abi.Errno) {
	s := l.s
	missing := func() abi.Errno {
		if l.suspect {
			return unix.EIO
		}
		return ErrStructure
	}
	expect := l.start.idx
	last := noExtent // of those without a gap
	p := l.first
	for ; p != noExtent && s.extents[p].idx == expect; p = s.extents[p].next {
		last, expect = p, expect+1
	}
	if last != noExtent {
		top = s.extents[last].idx
	}
	if p != noExtent {
		// A gap of one, with one behind: both were under way.
		if s.extents[p].next != noExtent || s.extents[p].idx != expect+1 {
			return noExtent, 0, missing()
		}
		top = s.extents[p].idx
	}
	known := l.known.idx
	if l.known.off == 0 && known > 0 {
		known--
	}
	if (l.known.off > 0 || l.known.pos > l.start.pos) && l.known.idx >= l.start.idx && known >= expect {
		return noExtent, 0, missing()
	}
	if last != noExtent {
		if e := &s.extents[l.first]; e.pos != l.start.pos || e.seq != l.start.seq {
			return noExtent, 0, ErrStructure
		}
	}
	from = noExtent
	for p = l.first; last != noExtent; p = s.extents[p].next {
		from = p
		if p == last || s.extents[p].idx+2 >= top {
			break
		}
	}
	return from, top, 0
}

// locate follows the log from the extent `from`, or from what the catalog knows if that is later, and returns where it ends.
func (p *parser) locate(from uint32) (end mark, err abi.Errno) {
	s, l := p.s, p.l
	rolled := false
	switch {
	case from == noExtent:
		p.at, p.place = mark{idx: l.start.idx, epoch: l.known.epoch, pos: l.start.pos, seq: l.start.seq}, noExtent
		p.reach = p.at
	case l.known.idx >= s.extents[from].idx && (l.known.off > 0 || l.known.idx > s.extents[from].idx):
		p.at, p.place, p.reach = l.known, from, l.known
		idx := l.known.idx
		if l.known.off == 0 {
			idx--
		}
		for s.extents[p.place].idx < idx && s.extents[p.place].next != noExtent {
			p.place = s.extents[p.place].next
		}
	default:
		if rolled, err = p.beginAt(from); err != 0 {
			return end, err
		}
	}
	if !rolled {
		p.run(nil)
	}
	if s.view.err != 0 {
		return end, s.view.err
	}
	end = p.at
	if end.off = roundUp(end.off, s.sb.blockSize); uint64(end.off) == s.sb.extentSize {
		end.idx, end.off = end.idx+1, 0
	}
	return end, 0
}

// beginAt begins at the first fragment of an extent. If that continues a record which does not become complete, the log ends before it: rolled.
func (p *parser) beginAt(from uint32) (rolled bool, err abi.Errno) {
	s := p.s
	bs := s.sb.blockSize
	var h extentHead
	b := s.look(from, 0, bs)
	if b == nil {
		return false, s.view.err
	}
	if !h.decode(b, &s.sb, uint64(from)) {
		return false, ErrStructure // it was there at Mount
	}
	p.at = mark{idx: h.idx, off: bs, epoch: h.epoch, pos: h.pos, seq: h.seq}
	p.place = from
	p.reach = p.at
	if !h.inside {
		return false, 0
	}
	f, ok := p.fragmentAt(from, bs)
	if ok && p.record(p.at, from, f.rest) {
		return false, 0
	}
	if h.back.idx < p.l.start.idx {
		return false, ErrStructure
	}
	p.at = h.back
	return true, 0
}

// lost looks for proof that more was durable than was found: what the catalog knows, or a fragment that says so.
func (l *Log) lost(end mark, from uint32) abi.Errno {
	s := l.s
	if l.known.seq > end.seq || l.known.pos > end.pos {
		return ErrStructure
	}
	p := parser{s: s, l: l}
	if from == noExtent {
		from = l.first
	}
	for e := from; e != noExtent; e = s.extents[e].next {
		off := s.sb.blockSize
		if idx := s.extents[e].idx; idx < end.idx {
			continue
		} else if idx == end.idx && end.off > 0 {
			off = end.off
		}
		if err := p.claims(e, off, end); err != 0 {
			return err
		}
	}
	return 0
}

// claims looks for fragments, from off on, that know of more durable records than there are before end.
func (p *parser) claims(place, off uint32, end mark) abi.Errno {
	for ; uint64(off) < p.s.sb.extentSize; off += p.s.sb.blockSize {
		if f, ok := p.fragmentAt(place, off); ok && f.acked > end.seq {
			return ErrStructure
		}
		if p.s.view.err != 0 {
			return p.s.view.err
		}
	}
	return 0
}

// headless is for a log that goes exactly to the end of its last extent: the next one might have lost its header. It looks at those that
// seem to be free.
func (p *parser) headless(end mark) abi.Errno {
	s := p.s
	return s.sweep(1, func(place uint32) bool { return s.extents[place].log != nil }, func(place uint32, b []byte) abi.Errno {
		var f fragment
		if b == nil || !f.decode(b, uint32(s.sb.extentSize)-s.sb.blockSize) || f.pos != p.reach.pos || f.seq-p.reach.seq > 1 {
			return 0
		}
		if _, ok := p.fragmentAt(place, s.sb.blockSize); !ok {
			return s.view.err
		}
		return p.claims(place, s.sb.blockSize, end)
	})
}

// dropBehind frees the extents behind the end, the last one first, and makes sure that they are never found again: a crash in between
// leaves a log without gaps.
func (l *Log) dropBehind(end mark) abi.Errno {
	s := l.s
	var list, keep uint32 = noExtent, noExtent
	var behind []uint32
	for p := l.first; p != noExtent; p = s.extents[p].next {
		if idx := s.extents[p].idx; idx > end.idx || idx == end.idx && end.off == 0 {
			behind = append(behind, p)
		} else {
			keep = p
		}
	}
	zeros := s.scratch[:s.sb.blockSize]
	clear(zeros)
	for i := len(behind) - 1; i >= 0; i-- {
		if err := s.transfer(block.Write, s.extentBlock(behind[i]), zeros); err != 0 {
			return err
		}
	}
	for _, p := range behind {
		s.extents[p].next = list
		list = p
		l.extents--
	}
	if l.last = keep; keep == noExtent {
		l.first = noExtent
	} else {
		s.extents[keep].next = noExtent
	}
	s.giveBack(list)
	return 0
}
