// Package abi mirrors the C types of include/dmtr/types.h and the memory that the Go engine shares with the C
// front in capi/shared.h. It holds layouts only; dmtr_init checks that both sides agree (checkLayout in capi/main.go).
package abi

import (
	"syscall"
	"unsafe"
)

// Errno is the result of every operation; 0 means success.
type Errno = syscall.Errno

// MaxSegs is DMTR_SGARRAY_MAXSIZE.
const MaxSegs = 3

// HeaderMagic is DMTR_HEADER_MAGIC.
const HeaderMagic = 0x10102010

// MaxFraming is how many bytes of a push on the wire are not data, at most: dmtr_header_t and the lengths.
const MaxFraming = 12 + 4*MaxSegs

// Opcode is dmtr_opcode_t.
type Opcode uint32

// Opcodes of the API. Connect belongs to the 2020 generation; the 2019 one uses it inside dmtr_connect.
const (
	OpInvalid Opcode = iota
	OpPush
	OpPop
	OpAccept
	OpConnect
)

// SockaddrIn is struct sockaddr_in; port and address are in network byte order.
type SockaddrIn struct {
	Family uint16
	Port   [2]byte
	Addr   [4]byte
	Zero   [8]byte
}

// Number is the port in host order.
func (a *SockaddrIn) Number() uint16 { return uint16(a.Port[0])<<8 | uint16(a.Port[1]) }

// SizeofSockaddrIn is what a complete address occupies.
const SizeofSockaddrIn = uint32(unsafe.Sizeof(SockaddrIn{}))

// Ptr is an address in C memory. It is not a Go pointer, because programs leave some of these fields uninitialised
// and the garbage collector must not look at what they hold.
type Ptr uintptr

// PtrTo makes a Ptr of an address outside the Go heap.
func PtrTo(p unsafe.Pointer) Ptr { return Ptr(p) }

// Pointer is the address as a pointer, for memory that is known to be good.
func (p Ptr) Pointer() unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// Seg is dmtr_sgaseg_t.
type Seg struct {
	Buf Ptr
	Len uint32
	_   uint32
}

// SGArray is dmtr_sgarray_t.
type SGArray struct {
	Buf     Ptr
	NumSegs uint32
	_       uint32
	Segs    [MaxSegs]Seg
	Addr    SockaddrIn
}

// Len is the number of bytes in all segments.
func (s *SGArray) Len() uint64 {
	var n uint64
	for i := uint32(0); i < s.NumSegs && i < MaxSegs; i++ {
		n += uint64(s.Segs[i].Len)
	}
	return n
}

// Bytes is the memory of segment i.
func (s *SGArray) Bytes(i uint32) []byte {
	return unsafe.Slice((*byte)(s.Segs[i].Buf.Pointer()), s.Segs[i].Len)
}

// AcceptResult is dmtr_accept_result_t.
type AcceptResult struct {
	QD   int32
	Addr SockaddrIn
	Len  uint32
}

// QResult is dmtr_qresult_t; the union is seen as its larger member.
type QResult struct {
	Opcode Opcode
	QD     int32
	QT     uint64
	SGA    SGArray
}

// Accept is the other member of the union.
func (r *QResult) Accept() *AcceptResult { return (*AcceptResult)(unsafe.Pointer(&r.SGA)) }
