package store

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// entry is what the catalog says of a log.
type entry struct {
	id    uint64
	name  string
	start mark   // where the first extent begins, of which only idx, pos and seq count
	begin uint64 // the oldest position kept
	known mark   // up to here at least the log is durable
}

func entryBytes(name string) int { return entryHeader + (len(name)+7)&^7 }

// encodeCatalog writes a catalog to b, and returns its length, or 0 if there is no room.
func encodeCatalog(b []byte, sb *superblock, generation uint64, epoch uint32, nextLog uint64, entries []entry) int {
	n := catHeader
	for i := range entries {
		e := &entries[i]
		if n+entryBytes(e.name) > len(b) {
			return 0
		}
		p := b[n : n+entryBytes(e.name)]
		clear(p)
		for i, v := range [...]uint64{e.id, e.start.idx, e.start.pos, e.start.seq, e.begin, e.known.idx, e.known.pos, e.known.seq} {
			le.PutUint64(p[8*i:], v)
		}
		le.PutUint32(p[64:], e.known.off)
		le.PutUint32(p[68:], e.known.epoch)
		le.PutUint16(p[72:], uint16(len(e.name)))
		copy(p[entryHeader:], e.name)
		n += len(p)
	}
	clear(b[:catHeader])
	copy(b, catMagic)
	le.PutUint32(b[12:], uint32(n))
	le.PutUint64(b[16:], generation)
	le.PutUint32(b[24:], epoch)
	le.PutUint32(b[28:], uint32(len(entries)))
	le.PutUint64(b[32:], nextLog)
	copy(b[40:], sb.uuid[:])
	le.PutUint32(b[8:], sum(0, b[12:n]))
	return n
}

// catalog is one that was read.
type catalog struct {
	generation, nextLog uint64
	epoch               uint32
	entries             []entry
}

// decodeCatalog checks all that it reads; ok is false if anything is wrong.
func decodeCatalog(b []byte, sb *superblock) (c catalog, ok bool) {
	if len(b) < catHeader || string(b[:8]) != catMagic || string(b[40:56]) != string(sb.uuid[:]) {
		return c, false
	}
	n := le.Uint32(b[12:])
	if n < catHeader || uint64(n) > uint64(len(b)) || le.Uint32(b[8:]) != sum(0, b[12:n]) {
		return c, false
	}
	c.generation, c.epoch, c.nextLog = le.Uint64(b[16:]), le.Uint32(b[24:]), le.Uint64(b[32:])
	names, ids := map[string]bool{}, map[uint64]bool{}
	count, rest := le.Uint32(b[28:]), b[catHeader:n]
	for ; count > 0; count-- {
		e, size := decodeEntry(rest, sb)
		if size == 0 || e.id == 0 || e.id >= c.nextLog || names[e.name] || ids[e.id] {
			return c, false
		}
		names[e.name], ids[e.id] = true, true
		c.entries = append(c.entries, e)
		rest = rest[size:]
	}
	return c, len(rest) == 0
}

func decodeEntry(p []byte, sb *superblock) (e entry, size int) {
	if len(p) < entryHeader {
		return e, 0
	}
	for i, v := range [...]*uint64{&e.id, &e.start.idx, &e.start.pos, &e.start.seq, &e.begin, &e.known.idx, &e.known.pos, &e.known.seq} {
		*v = le.Uint64(p[8*i:])
		if *v >= 1<<60 {
			return e, 0
		}
	}
	e.known.off, e.known.epoch = le.Uint32(p[64:]), le.Uint32(p[68:])
	n := int(le.Uint16(p[72:]))
	if n == 0 || n > MaxName || len(p) < entryHeader+(n+7)&^7 || e.begin < e.start.pos || e.known.off%sb.blockSize != 0 ||
		uint64(e.known.off) >= sb.extentSize {
		return e, 0
	}
	e.name = string(p[entryHeader : entryHeader+n])
	return e, entryHeader + (n+7)&^7
}

// readCatalog reads both catalogs and keeps the newer one.
func (s *Store) readCatalog() (catalog, abi.Errno) {
	var best catalog
	found := false
	var failed abi.Errno
	for i := range s.sb.catalogs {
		c, ok, err := s.readCatalogAt(i)
		switch {
		case err != 0:
			failed = err
		case ok && (!found || c.generation > best.generation):
			best, found = c, true
			s.catGood = i
		}
	}
	switch {
	case found:
		s.generation, s.epoch, s.nextLog = best.generation, best.epoch, best.nextLog
		return best, 0
	case failed != 0:
		return best, failed
	}
	return best, ErrStructure
}

func (s *Store) readCatalogAt(i int) (catalog, bool, abi.Errno) {
	if s.catBuf == nil {
		if s.catBuf = s.alloc(int(s.sb.catalogSize)); s.catBuf == nil {
			return catalog{}, false, unix.ENOMEM
		}
	}
	// The header tells how much there is to read.
	head := s.catBuf[:s.sb.blockSize]
	if err := s.transfer(block.Read, s.sb.catalogs[i], head); err != 0 {
		return catalog{}, false, err
	}
	n := min(uint64(le.Uint32(head[12:])), s.sb.catalogSize)
	whole := s.catBuf[:max((n+uint64(s.sb.blockSize)-1)&^(uint64(s.sb.blockSize)-1), uint64(s.sb.blockSize))]
	if len(whole) > len(head) {
		if err := s.transfer(block.Read, s.sb.catalogs[i]+1, whole[len(head):]); err != 0 {
			return catalog{}, false, err
		}
	}
	c, ok := decodeCatalog(whole, &s.sb)
	return c, ok, 0
}

// writeCatalog makes the entries durable in both places, one after the other, so that one of them is good at any time, and both
// are when it has succeeded: so the loss of one of them loses nothing. ENOSPC: too many names.
func (s *Store) writeCatalog(entries []entry) abi.Errno {
	if s.catBuf == nil {
		if s.catBuf = s.alloc(int(s.sb.catalogSize)); s.catBuf == nil {
			return unix.ENOMEM
		}
	}
	n := encodeCatalog(s.catBuf, &s.sb, s.generation+1, s.epoch, s.nextLog, entries)
	if n == 0 {
		return unix.ENOSPC
	}
	s.generation++
	whole := (uint64(n) + uint64(s.sb.blockSize) - 1) &^ (uint64(s.sb.blockSize) - 1)
	clear(s.catBuf[n:whole])
	for range 2 {
		other := 1 - s.catGood
		if err := s.transfer(block.Write, s.sb.catalogs[other], s.catBuf[:whole]); err != 0 {
			return err
		}
		s.catGood = other
	}
	return 0
}
