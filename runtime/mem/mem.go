// Package mem gives the engine memory outside the Go heap: blocks that C programs release with free(), and zeroed
// areas that C and Go share.
package mem

/*
#include <stdlib.h>

// cgo gives malloc itself a wrapper that ends the process when there is no memory.
static void *dmtr_mem_alloc(size_t n) { return malloc(n); }
*/
import "C"

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Alloc is malloc: n bytes, uninitialised, or nil. The program or Free releases them.
func Alloc(n uint64) unsafe.Pointer { return C.dmtr_mem_alloc(C.size_t(n)) }

// AllocAligned is Alloc of n bytes that begin at a multiple of align, a power of two that n is a multiple of.
func AllocAligned(align, n uint64) unsafe.Pointer {
	return C.aligned_alloc(C.size_t(align), C.size_t(n))
}

// Realloc is realloc: on nil, p is as it was.
func Realloc(p unsafe.Pointer, n uint64) unsafe.Pointer { return C.realloc(p, C.size_t(n)) }

// Free releases a block; nil is allowed.
func Free(p unsafe.Pointer) { C.free(p) }

// Map returns n bytes of zeroed memory, page-aligned and taken from the system when first touched, or nil.
func Map(n uintptr) unsafe.Pointer {
	p, err := unix.MmapPtr(-1, 0, nil, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil
	}
	return p
}

// Unmap releases what Map returned.
func Unmap(p unsafe.Pointer, n uintptr) { _ = unix.MunmapPtr(p, n) }
