package store

import (
	"encoding/binary"
	"hash/crc32"
)

// The layout of what is on the drive; docs/storage.md has the picture. All numbers are little endian.

const (
	version     = 1
	superMagic  = "dmtrSTOR"
	catMagic    = "dmtrCAT1"
	extentMagic = "dmtrEXT1"

	superBytes     = 512 // what the checksum of a superblock covers, in all versions
	superCRC       = 12
	catHeader      = 64
	entryHeader    = 80
	extentHeader   = 120
	fragmentHeader = 48
	// maxFragment is the most that a fragment may have, header included, so that a reader knows how much memory it needs.
	maxFragment = 1 << 20

	flagFirst = 1 // of a fragment: the record begins with it
	flagLast  = 2 // and ends

	fragmentMagic = 0x6672
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

func sum(seed uint32, b []byte) uint32 { return crc32.Update(seed, castagnoli, b) }

// superblock is what Format decided.
type superblock struct {
	uuid        [16]byte
	blockSize   uint32
	blocks      uint64
	extentSize  uint64
	extents     uint64
	dataStart   uint64    // block of the first extent
	catalogs    [2]uint64 // their blocks
	catalogSize uint64    // bytes of each
}

func (sb *superblock) encode(b []byte) {
	clear(b)
	copy(b, superMagic)
	le.PutUint32(b[8:], version)
	copy(b[16:], sb.uuid[:])
	le.PutUint32(b[32:], sb.blockSize)
	for i, v := range [...]uint64{sb.blocks, sb.extentSize, sb.extents, sb.dataStart, sb.catalogs[0], sb.catalogs[1], sb.catalogSize} {
		le.PutUint64(b[40+8*i:], v)
	}
	le.PutUint32(b[superCRC:], superSum(b))
}

func superSum(b []byte) uint32 {
	c := sum(0, b[:superCRC])
	return sum(c, b[superCRC+4:superBytes])
}

// kinds of what may be where a superblock should be.
type superKind int

const (
	superNone    superKind = iota // nothing that looks like one
	superDamaged                  // looks like one, but the checksum or the content is wrong
	superOther                    // of another version
	superGood
)

func (sb *superblock) decode(b []byte) superKind {
	if len(b) < superBytes || string(b[:8]) != superMagic {
		return superNone
	}
	if le.Uint32(b[superCRC:]) != superSum(b) {
		return superDamaged
	}
	if le.Uint32(b[8:]) != version {
		return superOther
	}
	copy(sb.uuid[:], b[16:])
	sb.blockSize = le.Uint32(b[32:])
	for i, v := range [...]*uint64{&sb.blocks, &sb.extentSize, &sb.extents, &sb.dataStart, &sb.catalogs[0], &sb.catalogs[1], &sb.catalogSize} {
		*v = le.Uint64(b[40+8*i:])
	}
	if !sb.sound() {
		return superDamaged
	}
	return superGood
}

// sound tells whether all parts are where they can be, without overlapping.
func (sb *superblock) sound() bool {
	bs := uint64(sb.blockSize)
	if bs < 512 || bs > 1<<16 || bs&(bs-1) != 0 || sb.blocks > 1<<62/bs {
		return false
	}
	if sb.extentSize&(sb.extentSize-1) != 0 || sb.extentSize < minExtentBlocks*bs || sb.extentSize > maxExtent || sb.extents == 0 || sb.extents > maxExtents {
		return false
	}
	cat := sb.catalogSize / bs
	if cat == 0 || sb.catalogSize%bs != 0 || sb.catalogSize > maxCatalog || sb.catalogs[0] != 1 || sb.catalogs[1] != 1+cat {
		return false
	}
	return sb.dataStart >= 1+2*cat && sb.dataStart < sb.blocks && sb.extents*(sb.extentSize/bs) < sb.blocks-sb.dataStart
}

const (
	minExtentBlocks = 4
	maxExtent       = 1 << 31
	maxExtents      = 1 << 20
	maxCatalog      = 64 << 20
)

// mark is a place in a log between two records, where a commit begins.
type mark struct {
	idx   uint64 // extent of the log
	off   uint32 // bytes within it; 0: the extent is not there yet
	epoch uint32 // what comes behind has at least this epoch
	pos   uint64 // position of the next byte
	seq   uint64 // and number of the next record: so many were before
}

// extentHead is the header of an extent.
type extentHead struct {
	log, idx, pos, seq uint64 // pos and seq of the first fragment, which may continue a record:
	place              uint64 // the number of the extent on the drive
	epoch              uint32
	inside             bool // it does, and then
	back               mark // is where to go on if that record is not complete
}

// encode writes the header twice, so that it survives damage of a few bytes.
func (h *extentHead) encode(b []byte, sb *superblock) {
	clear(b)
	copy(b, extentMagic)
	copy(b[16:], sb.uuid[:])
	for i, v := range [...]uint64{h.log, h.idx, h.pos, h.seq, h.place, h.back.idx, h.back.pos, h.back.seq} {
		le.PutUint64(b[32+8*i:], v)
	}
	le.PutUint32(b[96:], h.epoch)
	if h.inside {
		b[100] = 1
	}
	le.PutUint32(b[104:], h.back.off)
	le.PutUint32(b[108:], h.back.epoch)
	le.PutUint32(b[8:], sum(0, b[12:extentHeader]))
	copy(b[len(b)/2:], b[:extentHeader])
}

// decode reads a header from either of its places.
func (h *extentHead) decode(b []byte, sb *superblock, place uint64) bool {
	return h.decodeAt(b, sb, place) || h.decodeAt(b[len(b)/2:], sb, place)
}

func (h *extentHead) decodeAt(b []byte, sb *superblock, place uint64) bool {
	if string(b[:8]) != extentMagic || string(b[16:32]) != string(sb.uuid[:]) || le.Uint32(b[8:]) != sum(0, b[12:extentHeader]) {
		return false
	}
	for i, v := range [...]*uint64{&h.log, &h.idx, &h.pos, &h.seq, &h.place, &h.back.idx, &h.back.pos, &h.back.seq} {
		*v = le.Uint64(b[32+8*i:])
	}
	h.epoch, h.inside = le.Uint32(b[96:]), b[100] == 1
	h.back.off, h.back.epoch = le.Uint32(b[104:]), le.Uint32(b[108:])
	if h.inside && (h.back.idx >= h.idx || h.back.pos >= h.pos || h.back.seq != h.seq || uint64(h.back.off) >= sb.extentSize ||
		h.back.off%sb.blockSize != 0) {
		return false
	}
	return h.place == place && h.idx < 1<<60 && h.pos < 1<<62 && h.seq < 1<<62
}

// fragment is the header of a fragment.
type fragment struct {
	n     uint32 // bytes of data behind the header
	flags uint16
	epoch uint32
	seq   uint64 // number of the record
	pos   uint64 // position of the first byte
	acked uint64 // so many records were durable when this was written
	rest  uint64 // bytes of the record from pos on
	crc   uint32
}

// encode writes the header at the beginning of b, which has the data behind it and nothing else.
func (f *fragment) encode(b []byte, seed uint32) {
	le.PutUint32(b[4:], f.n)
	le.PutUint16(b[8:], fragmentMagic)
	le.PutUint16(b[10:], f.flags)
	le.PutUint32(b[12:], f.epoch)
	le.PutUint64(b[16:], f.seq)
	le.PutUint64(b[24:], f.pos)
	le.PutUint64(b[32:], f.acked)
	le.PutUint64(b[40:], f.rest)
	le.PutUint32(b, sum(seed, b[4:]))
}

// decode reads the header of a fragment that has room for so many bytes, header included. It does not look at the checksum, so what
// it says is not to be relied on, but that the data lie within the room.
func (f *fragment) decode(b []byte, room uint32) bool {
	if len(b) < fragmentHeader || room < fragmentHeader || le.Uint16(b[8:]) != fragmentMagic {
		return false
	}
	f.crc, f.n, f.flags, f.epoch = le.Uint32(b), le.Uint32(b[4:]), le.Uint16(b[10:]), le.Uint32(b[12:])
	f.seq, f.pos, f.acked, f.rest = le.Uint64(b[16:]), le.Uint64(b[24:]), le.Uint64(b[32:]), le.Uint64(b[40:])
	if f.n == 0 || f.n > room-fragmentHeader || f.n > maxFragment-fragmentHeader || f.flags&^(flagFirst|flagLast) != 0 {
		return false
	}
	return f.rest >= uint64(f.n) && f.last() == (f.rest == uint64(f.n)) && f.pos < 1<<62 && f.rest < 1<<62 && f.acked <= f.seq
}

func (f *fragment) first() bool { return f.flags&flagFirst != 0 }
func (f *fragment) last() bool  { return f.flags&flagLast != 0 }

// bytes is header and data.
func (f *fragment) bytes() uint32 { return fragmentHeader + f.n }

func roundUp(n, to uint32) uint32 { return (n + to - 1) &^ (to - 1) }

// logSeed begins the checksums of a log, so that no fragment is taken for one of another log or another store.
func logSeed(sb *superblock, id uint64) uint32 {
	var b [8]byte
	le.PutUint64(b[:], id)
	return sum(sum(0, sb.uuid[:]), b[:])
}
