package wire

import (
	"encoding/binary"
	"math/bits"
)

// Sum adds p, as big-endian words with a zero byte after an odd end, to a sum under way (RFC 1071). Sums of pieces
// may be added up if all but the last have an even length.
func Sum(p []byte, sum uint64) uint64 {
	var c uint64
	for len(p) >= 32 {
		sum, c = bits.Add64(sum, binary.BigEndian.Uint64(p), 0)
		sum, c = bits.Add64(sum, binary.BigEndian.Uint64(p[8:]), c)
		sum, c = bits.Add64(sum, binary.BigEndian.Uint64(p[16:]), c)
		sum, c = bits.Add64(sum, binary.BigEndian.Uint64(p[24:]), c)
		sum, c = bits.Add64(sum, 0, c)
		sum += c
		p = p[32:]
	}
	for len(p) >= 8 {
		sum, c = bits.Add64(sum, binary.BigEndian.Uint64(p), 0)
		sum += c
		p = p[8:]
	}
	var last [8]byte
	copy(last[:], p)
	sum, c = bits.Add64(sum, binary.BigEndian.Uint64(last[:]), 0)
	return sum + c
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
