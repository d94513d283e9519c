package rdma

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/rdma/verbs"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// buffers is registered memory in pieces of one size. It grows as connections are made, and keeps what it has.
type buffers struct {
	dev   verbs.Device
	size  int
	slabs []slab
	free  []uint32
}

type slab struct {
	base unsafe.Pointer
	mr   verbs.MR
}

const slabBuffers = 32

// get takes a buffer. ENOMEM: there is no more memory, or none that may be registered, see RLIMIT_MEMLOCK.
func (b *buffers) get() (uint32, abi.Errno) {
	if len(b.free) == 0 {
		if err := b.grow(); err != 0 {
			return 0, err
		}
	}
	i := b.free[len(b.free)-1]
	b.free = b.free[:len(b.free)-1]
	return i, 0
}

func (b *buffers) put(i uint32) { b.free = append(b.free, i) }

func (b *buffers) bytes(i uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(b.slabs[i/slabBuffers].base, int(i%slabBuffers)*b.size)), b.size)
}

// sge is the first n bytes of a buffer.
func (b *buffers) sge(i uint32, n int) verbs.SGE {
	s := &b.slabs[i/slabBuffers]
	return verbs.SGE{Addr: s.mr.Addr + uint64(int(i%slabBuffers)*b.size), Len: uint32(n), LKey: s.mr.LKey}
}

func (b *buffers) grow() abi.Errno {
	n := uintptr(b.size * slabBuffers)
	p := mem.Map(n)
	if p == nil {
		return unix.ENOMEM
	}
	mr, err := b.dev.Register(p, uint64(n), 0)
	if err != 0 {
		mem.Unmap(p, n)
		return err
	}
	b.slabs = append(b.slabs, slab{p, mr})
	for i := range uint32(slabBuffers) {
		b.free = append(b.free, uint32(len(b.slabs)-1)*slabBuffers+i)
	}
	return 0
}

// used is how many buffers are in use.
func (b *buffers) used() int { return len(b.slabs)*slabBuffers - len(b.free) }

func (b *buffers) close() {
	for _, s := range b.slabs {
		b.dev.Deregister(s.mr)
		mem.Unmap(s.base, uintptr(b.size*slabBuffers))
	}
	b.slabs, b.free = nil, nil
}
