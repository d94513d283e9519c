package store

import "unsafe"

// bytesAt is n bytes of memory outside the Go heap.
func bytesAt(p unsafe.Pointer, n uint64) []byte { return unsafe.Slice((*byte)(p), n) }
