package store

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// Log is a log that is open, or was found at Mount.
type Log struct {
	s        *Store
	id       uint64
	name     string
	seed     uint32
	refs     int
	unlinked bool
	ready    bool // has been looked at, see recover
	suspect  bool // some extent is unreadable, and might be of this log

	first, last uint32 // extents, linked by next
	extents     uint64
	start       mark // of the first
	begin       uint64
	known       mark // up to here at least it is durable, and here a commit begins

	durPos, durSeq uint64 // end of what is durable: bytes and records
	durIdx         uint64 // and where it is
	durOff         uint32

	epoch     uint32
	tail      mark // where the next chunk goes; pos and seq are those behind the last record that was copied whole
	tailPos   uint64
	back      mark // where to go on if the record that is being copied stays incomplete
	queue     *Append
	queueTail *Append
	copying   *Append // the first that is not copied whole
	unplaced  uint64  // cost of those not copied whole
	open      *chunk
	sealed    chunkList
	flight    chunkList
	flying    int
	ahead     uint32 // extents reserved
	aheadTail uint32
	aheadN    uint64
	err       abi.Errno
	links     [2]struct {
		next *Log
		in   bool
	}
}

func checkName(name string) abi.Errno {
	switch {
	case len(name) > MaxName:
		return unix.ENAMETOOLONG
	case name == "" || strings.IndexByte(name, 0) >= 0:
		return unix.EINVAL
	}
	return 0
}

// usable says why the store cannot be used, or 0.
func (s *Store) usable(write bool) abi.Errno {
	switch {
	case s.closed:
		return unix.EBADF
	case s.broken != 0:
		return s.broken
	case write && s.opt.ReadOnly:
		return unix.EROFS
	}
	return 0
}

// Open gives the log of that name; it blocks. Who opens it several times gets the same Log, and closes it as often. ENOENT: there is none.
// ENAMETOOLONG, EINVAL: what cannot be a name. EUCLEAN: of what is known to be durable something is not there.
// A log that takes no more appends because a write failed takes them again once it has been opened anew.
func (s *Store) Open(name string) (*Log, abi.Errno) {
	if err := checkName(name); err != 0 {
		return nil, err
	}
	if err := s.usable(false); err != 0 {
		return nil, err
	}
	l := s.logs[name]
	if l == nil {
		return nil, unix.ENOENT
	}
	if err := l.prepare(); err != 0 {
		return nil, err
	}
	l.refs++
	return l, 0
}

// prepare looks at a log that nobody has looked at, or that has failed.
func (l *Log) prepare() abi.Errno {
	s := l.s
	if l.ready && l.err == 0 {
		return 0
	}
	if l.ready {
		// What was written before must be told from what comes now.
		if err := s.wait(func() bool { return l.flying == 0 }); err != 0 {
			return err
		}
		l.unreserve()
		if err := s.flush(); err != 0 {
			return err
		}
		if err := s.nextEpoch(); err != 0 {
			return err
		}
		if err := l.reread(); err != 0 {
			return err
		}
		l.ready = false
	}
	return l.recover()
}

// reread keeps the extents that the drive knows to be of this log, too: others were about to be written when it failed.
func (l *Log) reread() abi.Errno {
	s := l.s
	var unwritten uint32 = noExtent
	keep := make([]found, 0, l.extents)
	for p := l.first; p != noExtent; p = s.extents[p].next {
		f := found{place: p}
		b := s.scratch[:s.sb.blockSize]
		if err := s.transfer(block.Read, s.extentBlock(p), b); err != 0 {
			return err
		}
		if f.head.decode(b, &s.sb, uint64(p)) && f.head.log == l.id && f.head.idx == s.extents[p].idx {
			f.log = l
		}
		keep = append(keep, f)
	}
	l.first, l.last, l.extents = noExtent, noExtent, 0
	for _, f := range keep {
		if f.log == nil {
			s.extents[f.place] = extent{next: unwritten}
			unwritten = f.place
			continue
		}
		s.extents[f.place] = extent{idx: f.head.idx, pos: f.head.pos, seq: f.head.seq, epoch: f.head.epoch}
		l.addExtent(f.place)
	}
	s.giveBack(unwritten)
	return 0
}

// Create makes a log and opens it; it blocks. The log is there after any crash. EEXIST; ENOSPC: no room for names; ENAMETOOLONG, EINVAL: what
// cannot be a name; EROFS.
func (s *Store) Create(name string) (*Log, abi.Errno) {
	if err := checkName(name); err != 0 {
		return nil, err
	}
	if err := s.usable(true); err != 0 {
		return nil, err
	}
	if s.logs[name] != nil {
		return nil, unix.EEXIST
	}
	id, name := s.nextLog, strings.Clone(name) // it may be in the program's memory
	l := &Log{s: s, id: id, name: name, seed: logSeed(&s.sb, id), first: noExtent, last: noExtent, ahead: noExtent, refs: 1}
	l.known.epoch = s.epoch
	s.nextLog++ // for good, even if this fails: the catalog may have been written
	s.logs[name] = l
	if err := s.writeCatalog(s.entries()); err != 0 {
		delete(s.logs, name)
		return nil, err
	}
	l.startAt(l.known)
	return l, 0
}

// startAt lets the log, of which all is durable, go on at m.
func (l *Log) startAt(m mark) {
	l.epoch = l.s.epoch
	m.epoch = l.epoch
	l.known, l.tail, l.tailPos = m, m, m.pos
	l.durPos, l.durSeq, l.durIdx, l.durOff = m.pos, m.seq, m.idx, m.off
	l.err, l.ready = 0, true
}

// Unlink takes the name of a log away; it blocks. Who has the log open may go on with it; when it is closed, or after a crash, its
// space is free. ENOENT.
func (s *Store) Unlink(name string) abi.Errno {
	if err := s.usable(true); err != 0 {
		return err
	}
	l := s.logs[name]
	if l == nil {
		return unix.ENOENT
	}
	delete(s.logs, name)
	if err := s.writeCatalog(s.entries()); err != 0 {
		s.logs[name] = l
		// The name may be gone on the drive: then nothing more may be promised to those who append.
		if s.writeCatalog(s.entries()) != 0 {
			l.fail(err)
		}
		return err
	}
	l.unlinked = true
	if l.refs == 0 {
		return l.vanish()
	}
	return 0
}

// vanish frees what a log had that nobody can reach any more.
func (l *Log) vanish() abi.Errno {
	if err := l.s.wait(func() bool { return l.flying == 0 && l.sealed.head == nil && l.open == nil && l.copying == nil }); err != 0 {
		return err
	}
	l.unreserve()
	list := l.first
	l.first, l.last, l.extents = noExtent, noExtent, 0
	l.s.giveBack(list)
	l.err = unix.EBADF
	return 0
}

// unreserve gives back extents that were reserved and not used.
func (l *Log) unreserve() {
	s := l.s
	for p := l.ahead; p != noExtent; p = l.ahead {
		l.ahead = s.extents[p].next
		s.extents[p] = extent{next: s.free}
		s.free = p
		s.freeN++
	}
	l.aheadN, l.unplaced = 0, 0
}

// List calls f for each log until it returns false; it blocks, because it looks at those that nobody has opened yet.
func (s *Store) List(f func(i LogInfo) bool) abi.Errno {
	if err := s.usable(false); err != 0 {
		return err
	}
	for _, e := range s.entries() {
		l := s.logs[e.name]
		i := LogInfo{Name: e.name, Begin: l.begin, Extents: l.extents, End: l.known.pos, Records: l.known.seq}
		if !l.ready {
			i.Err = l.prepare()
		}
		if l.ready {
			i.End, i.Records, i.Err = l.durPos, l.durSeq, l.err
		}
		if !f(i) {
			break
		}
	}
	return s.broken
}

// Begin is the oldest position kept.
func (l *Log) Begin() uint64 { return l.begin }

// End is the position behind the last record that is durable, up to which reads get data.
func (l *Log) End() uint64 { return l.durPos }

// Tail is the position behind the last record appended, durable or not, where the next one will be.
func (l *Log) Tail() uint64 { return l.tailPos }

// Trim forgets all before pos, which is the oldest position from then on; it blocks. Space comes back in extents, and only if no record of the
// extent is needed; all of it if pos is the end and nothing is under way. EINVAL: pos is less than Begin or more than End. EROFS.
func (l *Log) Trim(pos uint64) abi.Errno {
	s := l.s
	if err := s.usable(true); err != 0 {
		return err
	}
	if pos < l.begin || pos > l.durPos {
		return unix.EINVAL
	}
	start, end := l.start, l.first
	if pos == l.tailPos && l.idle() {
		end, start = noExtent, l.tail
		if start.off > 0 {
			start.idx, start.off = start.idx+1, 0
		}
	} else {
		for end != noExtent {
			next := s.extents[end].next
			if next == noExtent || s.extents[next].pos > pos {
				break
			}
			end = next
		}
		if end != noExtent {
			e := &s.extents[end]
			start = mark{idx: e.idx, pos: e.pos, seq: e.seq}
		}
	}
	return l.cut(pos, start, end)
}

// idle tells whether nothing is being written and nothing has failed.
func (l *Log) idle() bool {
	return l.err == 0 && l.queue == nil && l.flying == 0 && l.open == nil && l.sealed.head == nil
}

// cut frees the extents before end, when the catalog says so.
func (l *Log) cut(pos uint64, start mark, end uint32) abi.Errno {
	s := l.s
	oldStart, oldBegin, oldKnown := l.start, l.begin, l.known
	list := l.first // writing the catalog lets appends go on, which may get the first extent
	l.start, l.begin = start, pos
	l.start.off, l.start.epoch = 0, 0
	if end == noExtent && l.first != noExtent {
		l.known = start
		l.known.epoch = l.epoch
	}
	if !l.unlinked {
		if err := s.writeCatalog(s.entries()); err != 0 {
			l.start, l.begin, l.known = oldStart, oldBegin, oldKnown
			return err
		}
	}
	if list == end {
		return 0
	}
	last := list
	for n := s.extents[last].next; n != end; n = s.extents[last].next {
		last = n
		l.extents--
	}
	l.extents--
	s.extents[last].next = noExtent
	if l.first = end; end == noExtent {
		l.last = noExtent
		l.startAt(l.known)
	}
	s.giveBack(list)
	return 0
}

// Close ends the use of a Log, one for each Open or Create; what was appended goes on. It blocks only if the log was unlinked, and then
// waits for what is under way.
func (l *Log) Close() abi.Errno {
	l.refs--
	if l.refs > 0 || l.s.closed {
		return 0
	}
	if l.unlinked {
		return l.vanish()
	}
	if l.idle() {
		l.unreserve()
	}
	return 0
}

// Poll does what can be done now, and calls the owners of requests that have ended.
func (s *Store) Poll() {
	s.work()
	s.tell()
}

// work is Poll without calling owners.
func (s *Store) work() {
	s.flushWrites()
	s.dev.Poll()
	if s.starved.head != nil {
		s.feed()
	}
	if s.stepReaders {
		s.stepAll()
	}
}

// tell calls the owners. What they ask for is for the next Poll.
func (s *Store) tell() {
	a, r := s.ended, s.endedReads
	s.ended, s.endedTail = nil, &s.ended
	s.endedReads, s.endedReadsTail = nil, &s.endedReads
	for a != nil {
		next := a.next
		a.Owner.Appended(a)
		a = next
	}
	for r != nil {
		next := r.next
		r.Owner.ReadDone(r)
		r = next
	}
}

// Idle tells whether nothing is under way, so that Poll would do nothing.
func (s *Store) Idle() bool {
	return s.ended == nil && s.endedReads == nil && s.busyLogs.head == nil && s.spareN == len(s.chunks) && s.waiting == nil && s.loading == 0
}

// Arm submits what waits and sees to it that Fd becomes readable when Poll has work. True: Poll has work already, so do not sleep.
func (s *Store) Arm() bool {
	s.flushWrites()
	s.dev.Arm()
	return s.ended != nil || s.endedReads != nil || s.stepReaders || s.busyLogs.head != nil
}

// Fd is the descriptor to sleep on.
func (s *Store) Fd() int { return s.dev.Fd() }

// Close waits for all appends and the loads of reads, stores where logs end, and closes the drive; it blocks. It calls the owners of all
// requests; reads end with ECANCELED. The error is that of the last steps: appends that were acknowledged are durable all the same.
func (s *Store) Close() abi.Errno {
	if s.closed {
		return 0
	}
	err := s.wait(s.quiet)
	if err == 0 && !s.opt.ReadOnly {
		err = s.writeCatalog(s.entries())
	}
	s.closed = true
	for _, l := range s.logs {
		l.fail(unix.ECANCELED)
	}
	s.cancelReads()
	s.tell()
	if s.broken != 0 {
		s.dev.Close()
		return err
	}
	s.release()
	s.dev.Close()
	return err
}

// quiet tells whether nothing is with the drive or waits for it.
func (s *Store) quiet() bool {
	return s.spareN == len(s.chunks) && s.starved.head == nil && s.loading == 0
}
