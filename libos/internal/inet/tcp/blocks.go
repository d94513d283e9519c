package tcp

import (
	"math/bits"
	"unsafe"

	"github.com/libdmtr/libdmtr/runtime/cache"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// Sizes of blocks are powers of two between these.
const (
	minBlock = 256
	maxBlock = 64 << 20
)

const (
	minBlockBits = 8
	maxBlockBits = 26
	cacheLine    = 64
	// keepPerSize bounds what the free list of one size holds, in bytes; at least keepAtLeast blocks are kept.
	keepPerSize = 1 << 20
	keepAtLeast = 2
)

// blocks is the memory of all rings of a Host, outside the Go heap: free lists by size in front of malloc. Memory in
// use is bounded by limit. It must be closed when the last ring has been freed.
type blocks struct {
	free  [maxBlockBits - minBlockBits + 1][]unsafe.Pointer
	limit int // bytes that may be in use; 0: no bound
	used  int // bytes in use
	count int // blocks in use
}

// get returns a block of at least n bytes with any content, or nil.
func (b *blocks) get(n int) []byte {
	if n > maxBlock {
		return nil
	}
	size, class := minBlock, 0
	if n > minBlock {
		class = bits.Len(uint(n-1)) - minBlockBits
		size = minBlock << class
	}
	if b.limit > 0 && b.used+size > b.limit {
		return nil
	}
	var p unsafe.Pointer
	if l := b.free[class]; len(l) > 0 {
		p = l[len(l)-1]
		b.free[class] = l[:len(l)-1]
	} else if p = mem.AllocAligned(cacheLine, uint64(size)); p == nil {
		return nil
	}
	b.used += size
	b.count++
	return unsafe.Slice((*byte)(p), size)
}

// put takes back what get returned.
func (b *blocks) put(p []byte) {
	b.used -= len(p)
	b.count--
	class := bits.Len(uint(len(p)-1)) - minBlockBits
	if n := len(b.free[class]); n < keepAtLeast || n < keepPerSize>>(class+minBlockBits) {
		b.free[class] = append(b.free[class], unsafe.Pointer(&p[0]))
		cache.Fetch(unsafe.Pointer(&p[0]), cacheLine) // it is the next to be written to
		return
	}
	mem.Free(unsafe.Pointer(&p[0]))
}

// close releases the free lists.
func (b *blocks) close() {
	for i, l := range b.free {
		for _, p := range l {
			mem.Free(p)
		}
		b.free[i] = nil
	}
}

// Memory tells how many bytes, in how many blocks, the buffers of all connections have now.
func (h *Host) Memory() (bytes, blocks int) { return h.blocks.used, h.blocks.count }
