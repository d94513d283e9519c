package store

import (
	"cmp"
	"math/bits"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

const (
	noExtent   = ^uint32(0)
	scanBlocks = metaRequests // headers that are read at once
)

// extent is what is known of an extent of the drive.
type extent struct {
	log      *Log   // who has it; nil: free, or about to be
	next     uint32 // of the log, or of the free ones
	idx      uint64 // number within the log
	pos, seq uint64 // of its first fragment
	epoch    uint32
}

// Store is a mounted store.
type Store struct {
	dev  block.Device
	info block.Info
	opt  Options
	sb   superblock

	epoch      uint32
	nextLog    uint64
	generation uint64
	catGood    int
	catBuf     []byte

	logs    map[string]*Log
	extents []extent
	free    uint32 // list
	freeN   uint64

	memory   [][]byte
	scratch  []byte
	view     viewer
	meta     [metaRequests]metaRequest
	metaBusy int
	broken   abi.Errno // the drive did not answer in time; it may still use our memory
	closed   bool

	writer
	cache
}

// Mount reads what the drive holds; it blocks. The drive is the store's until Close, which closes it, too; if Mount fails, it stays the
// caller's. EMEDIUMTYPE: there is no store. EPROTONOSUPPORT: it is of an unknown version. EUCLEAN: both superblocks or both catalogs are
// damaged, or the drive is not the one that was formatted. ENOMEM: no buffers. Damage that concerns one log only shows when that is opened.
func Mount(dev block.Device, o Options) (*Store, abi.Errno) {
	s, err := attach(dev, o)
	if err != 0 {
		return nil, err
	}
	if err := s.mount(); err != 0 {
		s.release()
		return nil, err
	}
	return s, 0
}

func (s *Store) mount() (err abi.Errno) {
	look := s.lookForSuper()
	if s.sb, err = look.choose(s.info); err != 0 {
		return err
	}
	if !s.opt.ReadOnly {
		// What can be read now must not be lost later: it may be in a cache since a process died.
		if err = s.flush(); err != 0 {
			return err
		}
	}
	c, err := s.readCatalog()
	if err != 0 {
		return err
	}
	byID := s.makeLogs(c.entries)
	if err = s.scan(byID); err != 0 {
		return err
	}
	if err = s.makeBuffers(); err != 0 {
		return err
	}
	if s.opt.ReadOnly {
		return 0
	}
	return s.nextEpoch()
}

// nextEpoch makes sure that what is written from now on is later than all before.
func (s *Store) nextEpoch() abi.Errno {
	if s.epoch == ^uint32(0) {
		return unix.EOVERFLOW
	}
	s.epoch++
	return s.writeCatalog(s.entries())
}

func (s *Store) makeLogs(entries []entry) map[uint64]*Log {
	byID := make(map[uint64]*Log, len(entries))
	s.logs = make(map[string]*Log, len(entries))
	for _, e := range entries {
		l := &Log{s: s, id: e.id, name: e.name, seed: logSeed(&s.sb, e.id), start: e.start, begin: e.begin, known: e.known,
			first: noExtent, last: noExtent, ahead: noExtent}
		byID[e.id], s.logs[e.name] = l, l
	}
	return byID
}

// entries is the catalog as it should be.
func (s *Store) entries() []entry {
	list := make([]entry, 0, len(s.logs)+1)
	for _, l := range s.logs {
		list = append(list, l.entry())
	}
	slices.SortFunc(list, func(a, b entry) int { return cmp.Compare(a.id, b.id) })
	return list
}

func (l *Log) entry() entry {
	return entry{id: l.id, name: l.name, start: l.start, begin: l.begin, known: l.known}
}

// found is an extent that some log has, or had.
type found struct {
	log   *Log
	head  extentHead
	place uint32
}

// sweep reads one block of each extent, some at a time, but of those that skip says; offset is the number of the block. An unreadable one
// is nil to each.
func (s *Store) sweep(offset uint64, skip func(place uint32) bool, each func(place uint32, b []byte) abi.Errno) abi.Errno {
	bs := uint64(s.sb.blockSize)
	n := uint64(0)
	var places [scanBlocks]uint32
	for at := uint64(0); at < s.sb.extents; at++ {
		if !skip(uint32(at)) {
			m := &s.meta[n]
			m.req.Op, m.req.Block, m.req.Buf = block.Read, s.extentBlock(uint32(at))+offset, s.scratch[n*bs:(n+1)*bs]
			if err := s.begin(m); err != 0 {
				return err
			}
			places[n] = uint32(at)
			n++
		}
		if n < scanBlocks && at < s.sb.extents-1 {
			continue
		}
		if err := s.metaEnd(); err != 0 {
			return err
		}
		var errs [scanBlocks]abi.Errno // each may use the requests
		for i := range n {
			errs[i] = s.meta[i].req.Err
		}
		for i := range n {
			b := s.scratch[i*bs : (i+1)*bs]
			if errs[i] == unix.EIO {
				b = nil
			} else if errs[i] != 0 {
				return errs[i]
			}
			if err := each(places[i], b); err != 0 {
				return err
			}
		}
		if n = 0; s.opt.Progress != nil && s.chunkSize == 0 { // that is, at Mount
			s.opt.Progress(at+1, s.sb.extents)
		}
	}
	return 0
}

// scan finds out whose the extents are.
func (s *Store) scan(byID map[uint64]*Log) abi.Errno {
	s.extents = make([]extent, s.sb.extents)
	var used []found
	unreadable := false
	err := s.sweep(0, func(uint32) bool { return false }, func(place uint32, b []byte) abi.Errno {
		f := found{place: place}
		switch {
		case b == nil:
			unreadable = true
			s.extents[place].log = unusable
			return 0
		case !f.head.decode(b, &s.sb, uint64(place)):
			return 0
		case f.head.epoch > s.epoch || f.head.log >= s.nextLog:
			return ErrStructure // written later than either catalog
		}
		if f.log = byID[f.head.log]; f.log != nil && f.head.idx >= f.log.start.idx {
			used = append(used, f)
		}
		return 0
	})
	if err != 0 {
		return err
	}
	s.link(used)
	for _, l := range s.logs {
		l.suspect = unreadable
	}
	return 0
}

// unusable stands for the owner of extents whose header cannot be read, so that nobody knows whose they are.
var unusable = &Log{}

// link gives the extents to their logs, in order, and makes the list of free ones.
func (s *Store) link(used []found) {
	slices.SortFunc(used, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.head.log, b.head.log), cmp.Compare(a.head.idx, b.head.idx))
	})
	for _, f := range used {
		s.extents[f.place] = extent{idx: f.head.idx, pos: f.head.pos, seq: f.head.seq, epoch: f.head.epoch}
		f.log.addExtent(f.place)
	}
	s.free = noExtent
	for i := len(s.extents) - 1; i >= 0; i-- {
		if s.extents[i].log == nil {
			s.extents[i].next, s.free = s.free, uint32(i)
			s.freeN++
		}
	}
}

// addExtent puts an extent at the end of the list of the log.
func (l *Log) addExtent(place uint32) {
	e := &l.s.extents[place]
	e.log, e.next = l, noExtent
	if l.last == noExtent {
		l.first = place
	} else {
		l.s.extents[l.last].next = place
	}
	l.last = place
	l.extents++
}

// makeBuffers makes those of the data path.
func (s *Store) makeBuffers() abi.Errno {
	o := &s.opt
	orElse(&o.WriteChunks, 32)
	orElse(&o.ReadChunks, 32)
	orElse(&o.ChunkSize, 128<<10)
	orElse(&o.MaxRecord, 64<<20)
	size := min(uint64(o.ChunkSize), uint64(s.info.MaxTransfer), s.sb.extentSize, maxFragment)
	size = max(1<<(bits.Len64(size)-1), 2*uint64(s.sb.blockSize))
	if o.WriteChunks < 1 || o.ReadChunks < 1 || o.ChunkSize < 0 || size > uint64(s.info.MaxTransfer) {
		return unix.EINVAL
	}
	s.chunkSize = uint32(size)
	if err := s.makeWindows(); err != 0 || o.ReadOnly {
		return err
	}
	return s.makeChunks()
}

func orElse[T int | uint64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Info describes the store.
func (s *Store) Info() Info {
	return Info{UUID: s.sb.uuid, BlockSize: s.sb.blockSize, ExtentSize: s.sb.extentSize, Extents: s.sb.extents, Free: s.freeN,
		Epoch: uint64(s.epoch), CatalogCapacity: s.sb.catalogSize}
}

// giveBack frees extents that the drive knows to be free: a list by next.
func (s *Store) giveBack(list uint32) {
	for p := list; p != noExtent; p = s.extents[p].next {
		s.forgetWindows(p)
		s.discard(s.extentBlock(p), s.sb.extentSize/uint64(s.sb.blockSize))
	}
	for list != noExtent {
		next := s.extents[list].next
		s.extents[list] = extent{next: s.free}
		s.free = list
		s.freeN++
		list = next
	}
}
