package nvme

import (
	"unsafe"
)

const (
	hostPageShift = 12
	hostPage      = 1 << hostPageShift
	chunkBytes    = 2 << 20 // memory is had from the bus in multiples of this, the size of a large page
)

// chunk is memory that the drive can reach. Its addresses on the bus begin at a multiple of chunkBytes.
type chunk struct {
	mem   []byte
	pages []uint64 // the address on the bus of each 4 KiB
	used  []uint32 // pages of the allocation that begins here, or 0
}

// memory gives out pages of chunks. It is for the start: it searches them all.
type memory struct {
	bus    bus
	chunks []*chunk
	last   *chunk // where find found something
}

// alloc returns n bytes of zeros that begin a page, or nil.
func (m *memory) alloc(n int) []byte {
	if n <= 0 || n > 1<<40 {
		return nil
	}
	pages := (n + hostPage - 1) >> hostPageShift
	for _, c := range m.chunks {
		if b := c.alloc(pages); b != nil {
			clear(b)
			return b[:n:n]
		}
	}
	c, err := m.bus.memory((pages<<hostPageShift + chunkBytes - 1) &^ (chunkBytes - 1))
	if err != nil {
		return nil
	}
	c.used = make([]uint32, len(c.pages))
	m.chunks = append(m.chunks, c)
	return c.alloc(pages)[:n:n]
}

// free takes back what alloc returned. A chunk that is empty then goes.
func (m *memory) free(b []byte) {
	c, at := m.find(b)
	if c == nil {
		return
	}
	c.used[at>>hostPageShift] = 0
	for _, n := range c.used {
		if n != 0 {
			return
		}
	}
	for i, other := range m.chunks {
		if other == c {
			m.chunks = append(m.chunks[:i], m.chunks[i+1:]...)
			break
		}
	}
	m.last = nil
	m.bus.release(c)
}

// find is the chunk in which all of b lies, and where; nil if there is none.
func (m *memory) find(b []byte) (*chunk, uint64) {
	p := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	if c := m.last; c != nil {
		if at := p - c.base(); at < uintptr(len(c.mem)) && uintptr(len(b)) <= uintptr(len(c.mem))-at {
			return c, uint64(at)
		}
	}
	for _, c := range m.chunks {
		if at := p - c.base(); at < uintptr(len(c.mem)) && uintptr(len(b)) <= uintptr(len(c.mem))-at {
			m.last = c
			return c, uint64(at)
		}
	}
	return nil, 0
}

// address is where the drive finds the first byte of b, which alloc returned.
func (m *memory) address(b []byte) uint64 {
	c, at := m.find(b)
	return c.address(at)
}

func (c *chunk) base() uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(c.mem))) }

// address is that of the byte at `at` on the bus.
func (c *chunk) address(at uint64) uint64 { return c.pages[at>>hostPageShift] + at&(hostPage-1) }

// alloc takes so many pages, the first that fit.
func (c *chunk) alloc(pages int) []byte {
	free := 0
	for i := 0; i < len(c.used); {
		if n := int(c.used[i]); n > 0 {
			free = 0
			i += n
			continue
		}
		i++
		if free++; free == pages {
			first := i - pages
			c.used[first] = uint32(pages)
			return c.mem[first<<hostPageShift : i<<hostPageShift]
		}
	}
	return nil
}

// prps says where n bytes at `at` of the chunk are: two addresses, the second one that of a list, at `where`, if there are more than two
// pages (Base Specification 2.0, 4.1.1). Pages of 1<<shift bytes lie in the chunk as they do on the bus, and n is at most maxTransfer.
func (c *chunk) prps(at, n uint64, shift uint, list *[512]uint64, where uint64) (prp1, prp2 uint64) {
	prp1 = c.address(at)
	page := uint64(1) << shift
	first := page - at&(page-1)
	if n <= first {
		return prp1, 0
	}
	at, n = at+first, n-first
	if n <= page {
		return prp1, c.address(at)
	}
	pages := c.pages[at>>hostPageShift : (at+n+hostPage-1)>>hostPageShift]
	step := int(page >> hostPageShift)
	for i, k := 0, 0; i < len(pages) && k < len(list); i, k = i+step, k+1 {
		list[k] = pages[i]
	}
	return prp1, where
}
