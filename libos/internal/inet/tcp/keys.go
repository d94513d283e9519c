package tcp

import (
	"encoding/binary"
	"math/bits"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// key names a connection: it is what a segment is looked up by.
type key struct {
	addrs uint64 // remote, local
	ports uint64 // remote, local in the low 32 bits
}

func keyOf(local wire.Addr, lport uint16, remote wire.Addr, rport uint16) key {
	return key{uint64(remote)<<32 | uint64(local), uint64(rport)<<16 | uint64(lport)}
}

// is is ==, without a call.
func (k key) is(o key) bool { return k.addrs == o.addrs && k.ports == o.ports }

func (k key) local() Endpoint  { return Endpoint{wire.Addr(k.addrs), uint16(k.ports)} }
func (k key) remote() Endpoint { return Endpoint{wire.Addr(k.addrs >> 32), uint16(k.ports >> 16)} }

// Uses of the secret, so that what one tells does not help with another.
const (
	useTable uint64 = iota << 56
	useISN
	useStamp
	useCookie
	useRandom
)

// secret is a key of SipHash.
type secret struct{ k0, k1 uint64 }

func secretFrom(b [16]byte) secret {
	return secret{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}
}

// hash is SipHash-1-3 of three words: a table that outsiders cannot fill unevenly, and numbers they cannot guess.
func (s secret) hash(a, b, c uint64) uint64 {
	v0, v1 := s.k0^0x736f6d6570736575, s.k1^0x646f72616e646f6d
	v2, v3 := s.k0^0x6c7967656e657261, s.k1^0x7465646279746573
	v3 ^= a
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0 ^= a
	v3 ^= b
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0 ^= b
	v3 ^= c
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0 ^= c
	v2 ^= 0xff
	for range 3 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	return v0 ^ v1 ^ v2 ^ v3
}

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}

func (s secret) key(k key, use uint64) uint64 { return s.hash(k.addrs, k.ports|use, 0) }

// isn is the initial sequence number: a clock of 4 µs and a keyed hash of the connection (MUST-8, MUST-9, RFC 6528).
func (h *Host) isn(k key) wire.Seq {
	return wire.Seq(uint64(h.ip.Now())>>12 + h.secret.key(k, useISN))
}

// stampOffset is what the timestamps of a connection begin at (RFC 7323, section 7.1).
func (h *Host) stampOffset(k key) uint32 { return uint32(h.secret.key(k, useStamp)) }

// milliseconds is the clock of timestamps.
func milliseconds(now int64) uint32 { return uint32(now / millisecond) }

// random is for what need not be kept secret for long.
func (h *Host) random() uint64 {
	h.draws++
	return h.secret.hash(h.draws, useRandom, uint64(h.ip.Now()))
}
