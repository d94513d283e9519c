package posix

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/framing"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// copyBelow is the size under which a message is copied together for one plain send, which costs less than a gather.
const copyBelow = 2048

// wireLen is how many bytes op is on the wire.
func wireLen(sga *abi.SGArray, message bool) uint64 {
	n := sga.Len()
	if message {
		n += framing.HeaderLen + 4*uint64(sga.NumSegs)
	}
	return n
}

// gather lays out op from op.Sent on in LibOS.iov, and returns the number of entries.
func (o *LibOS) gather(op *engine.Op, message bool) (n int) {
	skip := op.Sent
	add := func(p *byte, size uint64) {
		if skip >= size {
			skip -= size
			return
		}
		o.iov[n].Base = (*byte)(unsafe.Add(unsafe.Pointer(p), uintptr(skip)))
		o.iov[n].SetLen(int(size - skip))
		skip = 0
		n++
	}
	sga := op.SGA()
	word, size := 0, framing.HeaderLen+4
	for i := uint32(0); i < sga.NumSegs; i++ {
		if message {
			add(&op.Header[word], uint64(size))
			word, size = word+size, 4
		}
		add((*byte)(sga.Segs[i].Buf.Pointer()), uint64(sga.Segs[i].Len))
	}
	return n
}

// flatten copies a small array into the scratch buffer as it is on the wire.
func (o *LibOS) flatten(op *engine.Op, message bool) []byte {
	b := o.scratch[:0]
	sga := op.SGA()
	word, size := 0, framing.HeaderLen+4
	for i := uint32(0); i < sga.NumSegs; i++ {
		if message {
			b = append(b, op.Header[word:word+size]...)
			word, size = word+size, 4
		}
		b = append(b, sga.Bytes(i)...)
	}
	return b
}

// transmit sends what is left of op, as much as the kernel takes at once.
func (s *sock) transmit(op *engine.Op, total uint64, message bool, to *abi.SockaddrIn) (n int, err abi.Errno) {
	if message && op.Sent == 0 {
		framing.Encode(op.Header[:], op.SGA())
	}
	if total <= copyBelow && op.Sent == 0 {
		return s.send(s.os.flatten(op, message), to)
	}
	return s.sendv(s.os.gather(op, message), to)
}

// errno of a failed system call wrapped by package unix.
func errnoOf(err error) abi.Errno {
	if e, ok := err.(abi.Errno); ok {
		return e
	}
	return unix.EIO
}
