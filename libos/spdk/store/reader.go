package store

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// again says that a reader has to wait for a window. It is never seen outside.
const again = unix.EAGAIN

// errGap is EBADMSG for sure: what r wants lies between two good fragments.
const errGap = unix.ENOMSG

// step serves reads until it has to wait.
func (rd *Reader) step() {
	for rd.reads != nil {
		err := rd.serve()
		if err == again {
			if s := rd.log.s; !rd.waits {
				rd.waits, rd.next, s.waiting = true, s.waiting, rd
			}
			return
		}
		rd.finish(err)
	}
}

// serve goes on with the first read: 0 or an error when it has ended.
func (rd *Reader) serve() abi.Errno {
	l, r := rd.log, rd.reads
	if r.Pos < l.begin {
		return unix.EINVAL
	}
	if e := &l.s.extents[min(rd.place, uint32(len(l.s.extents))-1)]; rd.want == 0 && rd.valid && (e.log != l || e.idx != rd.at.idx) {
		rd.got, rd.valid = 0, false // trimmed, but not as far as r.Pos
	}
	if rd.want == 0 && rd.got == 0 {
		if r.Pos > l.durPos {
			return unix.EINVAL
		}
		if r.Pos == l.durPos {
			return 0
		}
		if !rd.seek(r.Pos) {
			return ErrStructure
		}
	}
	for {
		err := rd.fragment(r)
		if err == again {
			return again
		}
		if err != 0 {
			if err = rd.recoverFrom(r, err); err != 0 {
				return err
			}
			continue
		}
		if rd.want > 0 && rd.have == rd.want {
			return 0
		}
	}
}

// seek goes to the extent that has pos, unless the reader is there already, and not behind pos.
func (rd *Reader) seek(pos uint64) bool {
	l := rd.log
	ex := l.s.extents
	p := l.first
	here := rd.valid && ex[rd.place].log == l && ex[rd.place].idx == rd.at.idx && ex[rd.place].pos <= pos
	if here {
		p = rd.place
	}
	if p == noExtent || ex[p].pos > pos {
		return false
	}
	for n := ex[p].next; n != noExtent && ex[n].pos <= pos; n = ex[p].next {
		p = n
	}
	if !here || p != rd.place || rd.at.pos > pos {
		rd.enter(p)
	}
	return true
}

// enter goes to the beginning of an extent.
func (rd *Reader) enter(place uint32) {
	e := &rd.log.s.extents[place]
	rd.place, rd.valid = place, true
	rd.at = mark{idx: e.idx, off: rd.log.s.sb.blockSize, pos: e.pos, seq: e.seq}
	rd.inside, rd.either, rd.mayRound, rd.lost = false, true, false, false
}

// piece returns some of n bytes of the extent, at least one. They are there until the next call.
func (rd *Reader) piece(off, n uint32) ([]byte, abi.Errno) {
	l := rd.log
	s := l.s
	num := off / s.chunkSize
	from := off - num*s.chunkSize
	w := s.find(rd.place, num, rd.win)
	switch {
	case w == nil || !w.loading && w.err == 0 && w.valid <= from:
		if err := s.load(l, w, rd.place, num, true); err != 0 {
			return nil, err
		}
		rd.loadAhead(num)
		return nil, again
	case !w.loading && w.err != 0:
		err := w.err
		w.err, w.place = 0, noExtent
		return nil, err
	case w.valid <= from:
		w.wanted = true
		return nil, again
	}
	if rd.win != w {
		rd.win = w
	}
	s.touch(w)
	rd.loadAhead(num)
	return w.buf[from:min(from+n, w.valid)], 0
}

// loadAhead begins to load the next windows of a reader that goes from one to the next: twice as many each time.
func (rd *Reader) loadAhead(num uint32) {
	s := rd.log.s
	if rd.lastPlace == rd.place && rd.lastNum == num {
		return
	}
	ex := s.extents
	follows := rd.lastPlace == noExtent || rd.lastPlace == rd.place && num == rd.lastNum+1 || num == 0 && ex[rd.lastPlace].next == rd.place
	rd.lastPlace, rd.lastNum = rd.place, num
	if !follows {
		rd.ahead = 0
		return
	}
	rd.ahead = min(max(1, 2*rd.ahead), uint32(len(s.windows))/4, 8)
	place := rd.place
	for range rd.ahead {
		if num++; uint64(num)*uint64(s.chunkSize) >= s.sb.extentSize {
			place, num = ex[place].next, 0
		}
		if place == noExtent {
			return
		}
		if s.find(place, num, nil) == nil && s.load(rd.log, nil, place, num, false) != 0 {
			return
		}
	}
}

// fragment reads the fragment at rd.at, gives r what it wants of it, and goes on to the next: 0, again, or why it is not good.
func (rd *Reader) fragment(r *Read) abi.Errno {
	if rd.got < fragmentHeader {
		if err := rd.header(r); err != 0 {
			return err
		}
	}
	end := rd.f.bytes()
	trusted := rd.okWin != nil && rd.okWin == rd.win && rd.okAt == rd.at && rd.okLoads == rd.win.loads && rd.win.place == rd.place
	loads := rd.win.loads
	first := rd.win
	if trusted {
		rd.got = max(rd.got, fragmentHeader+uint32(r.Pos-min(r.Pos, rd.f.pos)))
	}
	for rd.got < end && !(trusted && rd.have == rd.want) {
		b, err := rd.piece(rd.at.off+rd.got, end-rd.got)
		if err != 0 {
			return err
		}
		if !trusted {
			rd.crc = sum(rd.crc, b)
		}
		rd.copyWanted(r, b)
		rd.got += uint32(len(b))
	}
	if !trusted && rd.crc != rd.f.crc {
		return ErrData
	}
	rd.okWin = nil
	if rd.win == first && (rd.at.off+end-1)/rd.log.s.chunkSize == rd.at.off/rd.log.s.chunkSize {
		rd.okWin, rd.okLoads, rd.okAt = first, loads, rd.at
	}
	if rd.lost && rd.f.pos > r.Pos {
		return errGap
	}
	rd.lost = false
	rd.leave(r)
	return 0
}

// header reads the header of a fragment, and sees what r wants of it.
func (rd *Reader) header(r *Read) abi.Errno {
	l := rd.log
	size := uint32(l.s.sb.extentSize)
	if rd.at.off == size && rd.got == 0 {
		next := l.s.extents[rd.place].next
		if rd.lost || next == noExtent || l.s.extents[next].pos != rd.at.pos {
			return ErrStructure
		}
		rd.enter(next)
	}
	if rd.at.off+fragmentHeader > size {
		return ErrData
	}
	for rd.got < fragmentHeader {
		b, err := rd.piece(rd.at.off+rd.got, fragmentHeader-rd.got)
		if err != 0 {
			return err
		}
		rd.got += uint32(copy(rd.head[rd.got:], b))
	}
	f := &rd.f
	if !f.decode(rd.head[:], size-rd.at.off) || f.pos+f.rest > l.durPos {
		return ErrData
	}
	if rd.lost {
		if f.pos <= rd.at.pos {
			return ErrData
		}
	} else if f.pos != rd.at.pos || f.seq != rd.at.seq || !rd.either && f.first() == rd.inside {
		return ErrData
	}
	rd.crc = sum(l.seed, rd.head[4:])
	if rd.want == 0 && r.Pos >= f.pos && r.Pos < f.pos+uint64(f.n) {
		rd.want = min(r.Max, f.rest-(r.Pos-f.pos))
		if rd.block = mem.Alloc(rd.want); rd.block == nil {
			return unix.ENOMEM
		}
	}
	return 0
}

// copyWanted takes what r wants of b, which is the piece of the fragment at rd.got.
func (rd *Reader) copyWanted(r *Read, b []byte) {
	if rd.have == rd.want {
		return
	}
	at := rd.f.pos + uint64(rd.got) - fragmentHeader // position of b
	want := r.Pos + rd.have
	if want >= at+uint64(len(b)) {
		return
	}
	to := unsafe.Slice((*byte)(unsafe.Add(rd.block, rd.have)), rd.want-rd.have)
	rd.have += uint64(copy(to, b[want-at:]))
}

// leave goes on behind the fragment, unless the next read may want more of it.
func (rd *Reader) leave(r *Read) {
	f, bs := &rd.f, rd.log.s.sb.blockSize
	rd.got = 0
	if rd.want > 0 && r.Pos+rd.have < f.pos+uint64(f.n) {
		if f.seq != rd.at.seq || f.pos != rd.at.pos {
			rd.valid = false // found by a search
		}
		return
	}
	rd.at.off = roundUp(rd.at.off+f.bytes(), 8)
	rd.at.pos, rd.at.seq = f.pos+uint64(f.n), f.seq
	rd.inside, rd.either = !f.last(), false
	if f.last() {
		rd.at.seq++
	} else {
		rd.at.off = roundUp(rd.at.off, bs)
	}
	rd.mayRound = rd.at.off%bs != 0
}

// recoverFrom decides what to do about a fragment that is not good: there may be another place where it may be, or r may be interested in
// what comes later only.
func (rd *Reader) recoverFrom(r *Read, err abi.Errno) abi.Errno {
	if err == errGap || err == ErrStructure && rd.lost {
		return ErrData
	}
	if err != ErrData && (err != ErrStructure || !rd.mayRound) {
		return err
	}
	bs := rd.log.s.sb.blockSize
	if rd.block != nil {
		if !rd.mayRound {
			return err
		}
		mem.Free(rd.block)
		rd.block = nil
	}
	rd.got, rd.have, rd.want = 0, 0, 0
	switch {
	case rd.mayRound:
		rd.mayRound = false
		rd.at.off = roundUp(rd.at.off, bs)
		return 0
	case r.Pos > rd.at.pos:
		rd.lost = true
		if rd.at.off = roundUp(rd.at.off+1, bs); rd.at.off < uint32(rd.log.s.sb.extentSize) {
			return 0
		}
	}
	return err
}
