package posix

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/framing"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// copyBelow is the size under which a message is copied together for one plain send, which costs less than a gather.
const copyBelow = 2048

// msgHdr is struct msghdr. Like ioVec it has addresses in place of pointers: what it names is the program's memory,
// which may be gone when the garbage collector comes by, or part of the LibOS, which stays.
type msgHdr struct {
	name       abi.Ptr
	nameLen    uint32
	_          uint32
	iov        abi.Ptr
	iovLen     uint64
	control    abi.Ptr
	controlLen uint64
	flags      int32
	_          int32
}

// transmit sends what is left of op, as much as the kernel takes at once, to an address or, if that is nil, to the peer.
func (s *sock) transmit(op *engine.Op, total uint64, message bool, to *abi.SockaddrIn) (n int, err abi.Errno) {
	var words []byte
	if message {
		words = s.os.words[:]
		framing.Encode(words, op.SGA())
	}
	if total <= copyBelow && op.Sent == 0 {
		return s.send(s.os.flatten(op.SGA(), message), to)
	}
	return s.sendv(s.os.iov.Gather(op.SGA(), words, op.Sent), to)
}

// flatten copies a small array into the scratch buffer as it is on the wire.
func (o *LibOS) flatten(sga *abi.SGArray, message bool) []byte {
	b := o.scratch[:0]
	words, size := o.words[:], framing.HeaderLen+4
	for i := uint32(0); i < sga.NumSegs; i++ {
		if message {
			b = append(b, words[:size]...)
			words, size = words[size:], 4
		}
		b = append(b, sga.Bytes(i)...)
	}
	return b
}

// send sends bytes.
func (s *sock) send(p []byte, to *abi.SockaddrIn) (int, abi.Errno) {
	size := uintptr(0)
	if to != nil {
		size = uintptr(abi.SizeofSockaddrIn)
	}
	for {
		r, _, err := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(to)), size)
		if err != unix.EINTR {
			return int(r), err
		}
	}
}

// sendv sends the first n entries of LibOS.iov.
func (s *sock) sendv(n int, to *abi.SockaddrIn) (int, abi.Errno) {
	m := &s.os.msg
	*m = msgHdr{iov: abi.PtrTo(unsafe.Pointer(&s.os.iov)), iovLen: uint64(n)}
	if to != nil {
		m.name, m.nameLen = abi.PtrTo(unsafe.Pointer(to)), abi.SizeofSockaddrIn
	}
	for {
		r, _, err := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(s.fd), uintptr(unsafe.Pointer(m)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return int(r), err
		}
	}
}

// errnoOf is the errno of a failed system call that package unix has wrapped.
func errnoOf(err error) abi.Errno {
	if e, ok := err.(abi.Errno); ok {
		return e
	}
	return unix.EIO
}
