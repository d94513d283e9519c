package store

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// cache is what a Store has for reading: windows, each a piece of an extent, aligned.
type cache struct {
	windows        []window
	tick           uint64
	loading        int
	stepReaders    bool    // some reader may go on
	waiting        *Reader // list
	endedReads     *Read   // for the next Poll to tell
	endedReadsTail **Read
}

// readState is what the store notes in a Read.
type readState struct{ next *Read }

// window is a piece of an extent in memory.
type window struct {
	req     block.Request
	s       *Store
	buf     []byte
	place   uint32
	num     uint32
	valid   uint32 // bytes that are there
	target  uint32 // bytes that there will be
	used    uint64 // tick
	loads   uint64 // how often it has been loaded
	loading bool
	stale   bool      // forget it when it is there
	wanted  bool      // by somebody who waits
	err     abi.Errno // how the load ended
}

func (s *Store) makeWindows() abi.Errno {
	s.endedReadsTail = &s.endedReads
	n := uint32(s.opt.ReadChunks)
	memory := s.alloc(int(n * s.chunkSize))
	if memory == nil {
		return unix.ENOMEM
	}
	s.windows = make([]window, n)
	for i := range s.windows {
		w := &s.windows[i]
		w.s, w.place, w.buf = s, noExtent, memory[uint32(i)*s.chunkSize:][:s.chunkSize:s.chunkSize]
		w.req.Owner = w
	}
	return 0
}

// forgetWindows forgets what is known of an extent that gets another content.
func (s *Store) forgetWindows(place uint32) {
	for i := range s.windows {
		if w := &s.windows[i]; w.place == place {
			w.stale = w.loading
			w.place, w.valid, w.err = noExtent, 0, 0
		}
	}
	if s.view.place == place {
		s.view.place = noExtent
	}
}

// Done takes the end of a load.
func (w *window) Done(*block.Request) {
	w.loading = false
	w.s.loading--
	w.s.stepReaders = true
	switch {
	case w.stale:
		w.stale, w.place, w.valid = false, noExtent, 0
	case w.req.Err != 0:
		w.valid = 0
		if w.err = w.req.Err; !w.wanted {
			w.place, w.err = noExtent, 0
		}
	default:
		w.valid = w.target
		w.loads++
	}
}

// find gives the window of a place if there is one, loaded or loading.
func (s *Store) find(place, num uint32, hint *window) *window {
	if hint != nil && hint.place == place && hint.num == num {
		return hint
	}
	for i := range s.windows {
		if w := &s.windows[i]; w.place == place && w.num == num {
			return w
		}
	}
	return nil
}

// limit is how many bytes of a window are durable.
func (l *Log) limit(place, num uint32) uint32 {
	s := l.s
	end := uint32(s.sb.extentSize)
	switch idx := s.extents[place].idx; {
	case idx > l.durIdx:
		return 0
	case idx == l.durIdx:
		end = l.durOff
	}
	from := num * s.chunkSize
	if end <= from {
		return 0
	}
	return min(end-from, s.chunkSize)
}

// load begins to load what is durable of a window, or more of it. EAGAIN: not now. EUCLEAN: there is no more.
func (s *Store) load(l *Log, w *window, place, num uint32, wanted bool) abi.Errno {
	target := l.limit(place, num)
	if target == 0 || w != nil && target <= w.valid {
		return ErrStructure
	}
	if w == nil {
		if w = s.victim(); w == nil {
			return unix.EAGAIN
		}
		w.place, w.num, w.valid = place, num, 0
	}
	w.target = target
	w.loads++
	w.req.Op, w.req.Buf = block.Read, w.buf[w.valid:w.target]
	w.req.Block = s.extentBlock(place) + uint64((num*s.chunkSize+w.valid)/s.sb.blockSize)
	w.err, w.wanted = 0, wanted
	s.touch(w)
	if err := s.dev.Submit(&w.req); err != 0 {
		if w.valid == 0 {
			w.place = noExtent
		}
		s.stepReaders = true // tries again at the next Poll
		return err
	}
	w.loading = true
	s.loading++
	return 0
}

func (s *Store) touch(w *window) {
	s.tick++
	w.used = s.tick
}

// victim is the window that was not used for longest.
func (s *Store) victim() *window {
	var best *window
	for i := range s.windows {
		if w := &s.windows[i]; !w.loading && (best == nil || w.used < best.used) {
			best = w
		}
	}
	return best
}

// Reader reads a log, one read after the other; it is fast when each begins where the last one ended.
type Reader struct {
	log         *Log
	reads, tail *Read // in order
	next        *Reader
	waits       bool // is on Store.waiting

	// Where it is: at the beginning of a fragment, at.off bytes into the extent, unless it is !valid.
	valid    bool
	place    uint32
	at       mark
	inside   bool // the fragment must continue a record
	either   bool // the fragment may continue a record, or not
	mayRound bool // if there is none, it is at the next block
	lost     bool // a fragment was bad, and this is a search for the next good one

	win       *window // used last
	lastPlace uint32
	lastNum   uint32
	ahead     uint32 // windows to load ahead of it

	// Of the fragment being read.
	f    fragment
	got  uint32 // bytes of it that were seen, header included
	crc  uint32
	head [fragmentHeader]byte
	// The last fragment that was good, if it lies in one window: it need not be checked again.
	okWin   *window
	okLoads uint64
	okAt    mark

	// Of the read being served.
	block      unsafe.Pointer
	have, want uint64
}

// NewReader makes a Reader, which remembers where it was. There is one for each position that moves independently.
func (l *Log) NewReader() *Reader { return &Reader{log: l, lastPlace: noExtent} }

// Read begins to read what follows r.Pos in its record. Errors at once: EINVAL: r.Pos is less than Begin or more than End, or r.Max is 0. Errors
// of the end: EBADMSG: the record is not as it was written; EUCLEAN: there is no record where one must be; ENOMEM; EIO, ETIMEDOUT, ENODEV;
// EINVAL: trimmed meanwhile; ECANCELED.
func (rd *Reader) Read(r *Read) abi.Errno {
	l := rd.log
	if r.Pos < l.begin || r.Pos > l.durPos || r.Max == 0 {
		return unix.EINVAL
	}
	if err := l.s.usable(false); err != 0 {
		return err
	}
	r.Err, r.Data, r.N, r.next = 0, nil, 0, nil
	if rd.reads == nil {
		rd.reads = r
	} else {
		rd.tail.next = r
	}
	rd.tail = r
	if rd.reads == r {
		rd.step()
	}
	return 0
}

// Cancel takes r back: its owner is not called. It may be called from an owner, but not for a read whose owner has been called.
func (rd *Reader) Cancel(r *Read) {
	if rd.reads == r {
		rd.drop()
		rd.pop()
		rd.step()
		return
	}
	var last *Read
	for p := &rd.reads; *p != nil; p = &(*p).next {
		if *p == r {
			if *p = r.next; rd.tail == r {
				rd.tail = last
			}
			return
		}
		last = *p
	}
	s := rd.log.s
	for p := &s.endedReads; *p != nil; p = &(*p).next {
		if *p != r {
			continue
		}
		if *p = r.next; s.endedReadsTail == &r.next {
			s.endedReadsTail = p
		}
		mem.Free(r.Data)
		r.Data = nil
		return
	}
}

// Close ends the use of a Reader, with ECANCELED for its reads.
func (rd *Reader) Close() {
	for rd.reads != nil {
		rd.finish(unix.ECANCELED)
	}
	s := rd.log.s
	for p := &s.waiting; *p != nil; p = &(*p).next {
		if *p == rd {
			*p = rd.next
			break
		}
	}
	rd.waits = false
}

func (rd *Reader) pop() {
	rd.reads = rd.reads.next
	if rd.reads == nil {
		rd.tail = nil
	}
}

// drop gives up what was read for the first read.
func (rd *Reader) drop() {
	if rd.block != nil {
		mem.Free(rd.block)
		rd.block = nil
	}
	rd.have, rd.want, rd.got, rd.valid = 0, 0, 0, false
}

// finish ends the first read.
func (rd *Reader) finish(err abi.Errno) {
	s, r := rd.log.s, rd.reads
	if err != 0 {
		rd.drop()
	} else {
		r.Data, r.N = rd.block, rd.have
		rd.block, rd.have, rd.want = nil, 0, 0
	}
	rd.pop()
	r.Err, r.next = err, nil
	*s.endedReadsTail = r
	s.endedReadsTail = &r.next
}

// stepAll lets all readers go on that wait.
func (s *Store) stepAll() {
	s.stepReaders = false
	list := s.waiting
	s.waiting = nil
	for list != nil {
		rd := list
		list = rd.next
		rd.next, rd.waits = nil, false
		rd.step()
	}
}

func (s *Store) cancelReads() {
	for s.waiting != nil {
		s.waiting.Close()
	}
}
