package wire

import (
	"encoding/binary"
	"math/bits"
)

// Sum adds p, as big-endian words with a zero byte after an odd end, to a sum under way (RFC 1071). Sums of pieces
// may be added up if all but the last have an even length.
//
// Inside, words are little-endian, as they are in the machine, and the sum is turned over at the end: swapping the
// bytes of each word multiplies it by 256 modulo 0xffff, and so does swapping all bytes of the sum.
func Sum(p []byte, sum uint64) uint64 {
	var s, t, n, c uint64 // two sums, so that one need not wait for the other's carry, and the number of carries
	for len(p) >= 64 {
		q := p[:64]
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(q), 0)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(q[8:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(q[16:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(q[24:]), c)
		n, _ = bits.Add64(n, 0, c)
		t, c = bits.Add64(t, binary.LittleEndian.Uint64(q[32:]), 0)
		t, c = bits.Add64(t, binary.LittleEndian.Uint64(q[40:]), c)
		t, c = bits.Add64(t, binary.LittleEndian.Uint64(q[48:]), c)
		t, c = bits.Add64(t, binary.LittleEndian.Uint64(q[56:]), c)
		n, _ = bits.Add64(n, 0, c)
		p = p[64:]
	}
	for len(p) >= 16 {
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(p), 0)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(p[8:]), c)
		n, _ = bits.Add64(n, 0, c)
		p = p[16:]
	}
	if len(p) >= 8 {
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(p), 0)
		n += c
		p = p[8:]
	}
	return add(sum, turn(s, t, n+rest(p)))
}

// CopySum copies src to dst, which is at least as long, and returns the Sum of it.
func CopySum(dst, src []byte) uint64 {
	dst = dst[:len(src)]
	var s, t, n, c uint64
	for len(src) >= 64 && len(dst) >= 64 {
		q, d := src[:64], dst[:64]
		a0, a1 := binary.LittleEndian.Uint64(q), binary.LittleEndian.Uint64(q[8:])
		a2, a3 := binary.LittleEndian.Uint64(q[16:]), binary.LittleEndian.Uint64(q[24:])
		binary.LittleEndian.PutUint64(d, a0)
		binary.LittleEndian.PutUint64(d[8:], a1)
		binary.LittleEndian.PutUint64(d[16:], a2)
		binary.LittleEndian.PutUint64(d[24:], a3)
		s, c = bits.Add64(s, a0, 0)
		s, c = bits.Add64(s, a1, c)
		s, c = bits.Add64(s, a2, c)
		s, c = bits.Add64(s, a3, c)
		n, _ = bits.Add64(n, 0, c)
		a0, a1 = binary.LittleEndian.Uint64(q[32:]), binary.LittleEndian.Uint64(q[40:])
		a2, a3 = binary.LittleEndian.Uint64(q[48:]), binary.LittleEndian.Uint64(q[56:])
		binary.LittleEndian.PutUint64(d[32:], a0)
		binary.LittleEndian.PutUint64(d[40:], a1)
		binary.LittleEndian.PutUint64(d[48:], a2)
		binary.LittleEndian.PutUint64(d[56:], a3)
		t, c = bits.Add64(t, a0, 0)
		t, c = bits.Add64(t, a1, c)
		t, c = bits.Add64(t, a2, c)
		t, c = bits.Add64(t, a3, c)
		n, _ = bits.Add64(n, 0, c)
		src, dst = src[64:], dst[64:]
	}
	for len(src) >= 8 && len(dst) >= 8 {
		a := binary.LittleEndian.Uint64(src)
		binary.LittleEndian.PutUint64(dst, a)
		s, c = bits.Add64(s, a, 0)
		n += c
		src, dst = src[8:], dst[8:]
	}
	copy(dst, src)
	return turn(s, t, n+rest(src))
}

// turn adds up little-endian sums and makes a big-endian one. n is small.
func turn(s, t, n uint64) uint64 {
	return bits.ReverseBytes64(add(add(s, t), n))
}

// add adds two sums.
func add(s, t uint64) uint64 {
	s, c := bits.Add64(s, t, 0)
	return s + c
}

// rest are fewer than 8 bytes as one little-endian word; only 56 bits, so there is room for the count of carries.
func rest(p []byte) (v uint64) {
	if len(p) >= 4 {
		v = uint64(binary.LittleEndian.Uint32(p))
		p = p[4:]
		switch len(p) {
		case 3:
			v |= uint64(p[2]) << 48
			fallthrough
		case 2:
			v |= uint64(p[1]) << 40
			fallthrough
		case 1:
			v |= uint64(p[0]) << 32
		}
		return v
	}
	switch len(p) {
	case 3:
		v = uint64(p[2]) << 16
		fallthrough
	case 2:
		v |= uint64(p[1]) << 8
		fallthrough
	case 1:
		v |= uint64(p[0])
	}
	return v
}

// Fold makes 16 bits of a sum. The checksum to be sent is the complement; a packet that arrived whole folds to 0xffff.
func Fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum>>16 + sum&0xffff)
}

// PseudoSum is the sum of the pseudo-header of TCP and UDP, for a segment of n bytes.
func PseudoSum(src, dst Addr, proto uint8, n int) uint64 {
	return uint64(src) + uint64(dst) + uint64(proto) + uint64(n)
}
