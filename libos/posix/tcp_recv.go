package posix

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// Pop implements engine.Queue.
func (t *tcp) Pop(op *engine.Op) abi.Errno {
	if err := t.in.Usable(); err != 0 {
		return err
	}
	t.shutLane()
	t.Pops.Add(op)
	if t.in.Held() {
		t.receive()
	}
	if op.Pending() {
		t.awaitData()
	}
	t.openLane()
	return 0
}

// receive implements handler: first from what is here already, then from the kernel.
func (t *tcp) receive() {
	for t.in.Wants() && t.mayRead() && t.fill() {
	}
}

// fill receives once from the kernel, and tells whether that brought anything.
func (t *tcp) fill() bool {
	if w := t.in.Window(); w != nil {
		n, err := t.recv(w)
		if n <= 0 {
			return t.noData(err)
		}
		t.took(n, len(w))
		t.in.Filled(n)
		return true
	}
	room := t.os.scratch
	if t.in.Mode == config.FramingStream {
		want := uint64(t.Pool.Limit(t.Pops.Head()))
		if want > uint64(len(room)) {
			return t.fillBlock(want)
		}
		room = room[:want]
	}
	have := t.in.Prefix(room)
	n, err := t.recv(room[have:])
	if n <= 0 {
		return t.noData(err)
	}
	t.took(n, len(room)-have)
	t.in.Got(room[:have+n])
	return true
}

// got implements handler. C receives only while no part of a message is here.
func (t *tcp) got(p []byte) {
	t.in.Got(p)
	t.receive()
}

// failed implements handler.
func (t *tcp) failed(err abi.Errno) {
	t.noData(err)
	t.receive()
}

// plain implements handler.
func (t *tcp) plain(p *abi.Port) (serve, receive bool) {
	p.Flags = abi.PortConnected
	if t.in.Mode == config.FramingMessage {
		p.Flags |= abi.PortMessage
	}
	return t.in.Mode != config.FramingAuto && t.Pushes.Empty(), t.in.Plain()
}

// fillBlock receives a large piece of a stream straight into the block that the program gets.
func (t *tcp) fillBlock(want uint64) bool {
	block := mem.Alloc(want)
	if block == nil {
		t.Pops.Head().Complete(unix.ENOMEM)
		return true
	}
	n, err := t.recv(unsafe.Slice((*byte)(block), want))
	if n <= 0 {
		mem.Free(block)
		return t.noData(err)
	}
	t.took(n, int(want))
	if p := mem.Realloc(block, uint64(n)); p != nil {
		block = p
	}
	t.Pops.Head().PoppedBlock(block, uint32(n), true)
	return true
}

// noData deals with a receive that brought no bytes: nothing there, the end of the stream, or an error.
func (t *tcp) noData(err abi.Errno) bool {
	switch err {
	case unix.EAGAIN:
		return false
	case 0:
		t.in.Finish()
	default:
		t.in.End(err)
	}
	return true
}
