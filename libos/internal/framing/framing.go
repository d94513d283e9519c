// Package framing lays arrays on a byte stream and finds them again.
//
// In message mode a header precedes each array, every word of it big-endian:
//
//	magic | h_bytes | nsegs | len 0 | data 0 | len 1 | data 1 …
//	                        `---------- h_bytes bytes --------´
//
// A received message is kept in one heap block in just that form, so that the first segment begins at offset 16 of
// the block, and segments need no copying apart.
package framing

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

const (
	// HeaderLen is the size of dmtr_header_t.
	HeaderLen = 12
	// MaxOverhead is what framing adds to an array at most.
	MaxOverhead = abi.MaxFraming
	// firstBlock is the most that a header alone makes the decoder allocate; more comes as bytes arrive.
	firstBlock = 256 << 10
)

// magic is HeaderMagic as it comes over the wire.
var magic = [4]byte{0x10, 0x10, 0x20, 0x10}

// MatchMagic tells whether the first bytes of a stream agree with the magic, as far as they go, and whether they
// are enough to decide.
func MatchMagic(p []byte) (match, decided bool) {
	n := min(len(p), len(magic))
	for i := 0; i < n; i++ {
		if p[i] != magic[i] {
			return false, true
		}
	}
	return true, n == len(magic)
}

// Len is how many bytes an array is on the wire, in a message or bare.
func Len(sga *abi.SGArray, message bool) uint64 {
	n := sga.Len()
	if message {
		n += HeaderLen + 4*uint64(sga.NumSegs)
	}
	return n
}

// Piece is a range of memory, laid out as struct iovec.
type Piece struct {
	At  abi.Ptr
	Len uint64
}

// Pieces are those of an array on the wire, in order: framing words and segments.
type Pieces [2 * abi.MaxSegs]Piece

// Gather lays out an array from byte skip of the wire on, and returns the number of pieces. words are its framing words (see Encode),
// outside the Go heap or in something that stays; nil if it goes bare.
func (v *Pieces) Gather(sga *abi.SGArray, words []byte, skip uint64) (n int) {
	add := func(p abi.Ptr, size uint64) {
		if skip >= size {
			skip -= size
			return
		}
		v[n] = Piece{p + abi.Ptr(skip), size - skip}
		skip = 0
		n++
	}
	at, size := abi.PtrTo(unsafe.Pointer(unsafe.SliceData(words))), uint64(HeaderLen+4)
	for i := uint32(0); i < sga.NumSegs; i++ {
		if words != nil {
			add(at, size)
			at, size = at+abi.Ptr(size), 4
		}
		add(sga.Segs[i].Buf, uint64(sga.Segs[i].Len))
	}
	return n
}

// Encode writes the framing words of an array to h, which has room for MaxOverhead: the header and the first
// length, then the other lengths. It returns the bytes of the whole message on the wire.
func Encode(h []byte, sga *abi.SGArray) uint64 {
	body := sga.Len() + 4*uint64(sga.NumSegs)
	binary.BigEndian.PutUint32(h, abi.HeaderMagic)
	binary.BigEndian.PutUint32(h[4:], uint32(body))
	binary.BigEndian.PutUint32(h[8:], sga.NumSegs)
	for i := uint32(0); i < sga.NumSegs; i++ {
		binary.BigEndian.PutUint32(h[HeaderLen+4*i:], sga.Segs[i].Len)
	}
	return HeaderLen + body
}

// Whole tells how many bytes of p are a message of one segment, if one is there from beginning to end; otherwise 0,
// and a Decoder must find out what is there.
func Whole(p []byte, limit uint64) int {
	if len(p) < HeaderLen+4 || [4]byte(p[:4]) != magic {
		return 0
	}
	body, nsegs, n := binary.BigEndian.Uint32(p[4:]), binary.BigEndian.Uint32(p[8:]), binary.BigEndian.Uint32(p[12:])
	total := HeaderLen + 4 + uint64(n)
	if nsegs != 1 || n == 0 || uint64(body) != 4+uint64(n) || uint64(n) > limit || total > uint64(len(p)) {
		return 0
	}
	return int(total)
}

// TakeWhole makes an array of a message that Whole has found, in a block with room for it.
func TakeWhole(sga *abi.SGArray, block unsafe.Pointer, p []byte) {
	copy(unsafe.Slice((*byte)(block), len(p)), p)
	sga.Buf, sga.NumSegs = abi.PtrTo(block), 1
	sga.Segs[0] = abi.Seg{Buf: sga.Buf + HeaderLen + 4, Len: uint32(len(p) - HeaderLen - 4)}
}

// Decoder assembles the messages of one stream from pieces of any size. The zero value awaits a header.
type Decoder struct {
	header [HeaderLen]byte
	have   uint64 // bytes of the message that are here, header included
	total  uint64 // of the message; known once the header is complete
	nsegs  uint32
	segs   [abi.MaxSegs]seg
	parsed uint32 // segments whose lengths are known and checked
	next   uint64 // where the next length stands
	block  unsafe.Pointer
	room   uint64
}

type seg struct {
	at  uint64
	len uint32
}

// Idle tells whether no part of a message is held.
func (d *Decoder) Idle() bool { return d.have == 0 }

// Feed takes bytes of the stream, up to the end of the message, and tells how many and whether the message is
// complete. limit bounds the bytes in a message's segments. After an error, EILSEQ, EMSGSIZE or ENOMEM, the stream
// cannot be read any more.
func (d *Decoder) Feed(p []byte, limit uint64) (n int, done bool, err abi.Errno) {
	if d.have < HeaderLen {
		n = copy(d.header[d.have:], p)
		d.have += uint64(n)
		if match, _ := MatchMagic(d.header[:d.have]); !match {
			return n, false, unix.EILSEQ
		}
		if d.have < HeaderLen {
			return n, false, 0
		}
		if err = d.begin(limit, uint64(len(p))); err != 0 {
			return n, false, err
		}
		p = p[n:]
	}
	m := int(min(uint64(len(p)), d.total-d.have))
	if m > 0 {
		if d.have+uint64(m) > d.room && !d.extend(d.have+uint64(m)) {
			return n, false, unix.ENOMEM
		}
		copy(unsafe.Slice((*byte)(unsafe.Add(d.block, uintptr(d.have))), m), p)
		d.have += uint64(m)
	}
	err = d.lengths()
	return n + m, err == 0 && d.have == d.total, err
}

// Window is room for bytes that may be received straight into the message, at most to its end; nil if a header or
// little is awaited. Fill says how many came.
func (d *Decoder) Window() []byte {
	const worth = 4096
	if d.have < HeaderLen || d.total-d.have < worth {
		return nil
	}
	if d.room-d.have < worth && !d.extend(d.have+1) {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Add(d.block, uintptr(d.have))), min(d.room, d.total)-d.have)
}

// Room is Window for n bytes that are known to come: all of them at one place that stays until they are accounted for. It is nil if
// the message under way has not so many to come, or there is no memory.
func (d *Decoder) Room(n uint64) []byte {
	if d.have < HeaderLen || n > d.total-d.have || d.room-d.have < n && !d.extend(d.have+n) {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Add(d.block, uintptr(d.have))), n)
}

// Fill accounts for n bytes stored in Window or Room.
func (d *Decoder) Fill(n int) (done bool, err abi.Errno) {
	d.have += uint64(n)
	err = d.lengths()
	return err == 0 && d.have == d.total, err
}

// Take moves the complete message into sga; its block is the receiver's now.
func (d *Decoder) Take(sga *abi.SGArray) {
	sga.Buf = abi.PtrTo(d.block)
	sga.NumSegs = d.nsegs
	for i := uint32(0); i < d.nsegs; i++ {
		s := &d.segs[i]
		sga.Segs[i] = abi.Seg{Buf: sga.Buf + abi.Ptr(s.at), Len: s.len}
	}
	d.block, d.room = nil, 0
	d.Reset()
}

// Reset forgets a message that is under way.
func (d *Decoder) Reset() {
	mem.Free(d.block)
	d.block, d.room = nil, 0
	d.have, d.total, d.parsed = 0, 0, 0
}

// begin checks a header and makes the block. atHand is how many bytes have come, header included or not.
func (d *Decoder) begin(limit, atHand uint64) abi.Errno {
	body := uint64(binary.BigEndian.Uint32(d.header[4:]))
	d.nsegs = binary.BigEndian.Uint32(d.header[8:])
	words := 4 * uint64(d.nsegs)
	switch {
	case d.nsegs == 0, d.nsegs > abi.MaxSegs, body <= words:
		return unix.EILSEQ
	case body-words > limit:
		return unix.EMSGSIZE
	}
	d.total = HeaderLen + body
	d.next = HeaderLen
	if !d.extend(min(d.total, max(firstBlock, atHand))) {
		return unix.ENOMEM
	}
	copy(unsafe.Slice((*byte)(d.block), HeaderLen), d.header[:])
	return 0
}

// extend makes room for n bytes, doubling the block, but never beyond the message.
func (d *Decoder) extend(n uint64) bool {
	room := min(max(n, 2*d.room), d.total)
	p := mem.Realloc(d.block, room)
	if p == nil {
		return false
	}
	d.block, d.room = p, room
	return true
}

// lengths checks the length words that have arrived: together with the data they must fill the message exactly.
func (d *Decoder) lengths() abi.Errno {
	for d.parsed < d.nsegs && d.next+4 <= d.have {
		n := binary.BigEndian.Uint32(unsafe.Slice((*byte)(unsafe.Add(d.block, uintptr(d.next))), 4))
		later := 4 * uint64(d.nsegs-d.parsed-1)
		left := d.total - d.next - 4
		if uint64(n) > left || left-uint64(n) < later || (later == 0 && uint64(n) != left) {
			return unix.EILSEQ
		}
		d.segs[d.parsed] = seg{d.next + 4, n}
		d.parsed++
		d.next += 4 + uint64(n)
	}
	return 0
}
