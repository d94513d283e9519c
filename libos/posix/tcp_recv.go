package posix

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/framing"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// Pop implements engine.Queue.
func (t *tcp) Pop(op *engine.Op) abi.Errno {
	switch t.state {
	case tcpListening:
		return unix.ENOTSUP
	case tcpFresh, tcpConnecting:
		return unix.EINVAL
	}
	t.Pops.Add(op)
	if len(t.spill) > 0 || t.ended != 0 {
		t.receive()
	}
	if op.Pending() {
		t.awaitData()
	}
	return 0
}

// receive implements handler: first from what is here already, then from the kernel.
func (t *tcp) receive() {
	for !t.Pops.Empty() {
		switch {
		case len(t.spill) > 0:
			t.unspill()
		case t.ended != 0:
			t.fail(&t.Pops, t.ended)
		case !t.mayRead() || !t.fill():
			return
		}
	}
}

// fill receives once from the kernel, and tells whether that brought anything.
func (t *tcp) fill() bool {
	if w := t.dec.Window(); w != nil {
		return t.fillMessage(w)
	}
	room := t.os.scratch
	if t.mode == config.FramingStream {
		want := uint64(popLimit(t.Pops.Head(), t.os.cfg))
		if want > uint64(len(room)) {
			return t.fillBlock(want)
		}
		room = room[:want]
	}
	have := copy(room, t.prefix[:t.nprefix])
	n, err := t.recv(room[have:])
	if n <= 0 {
		return t.noData(err)
	}
	t.took(n, len(room)-have)
	t.nprefix = 0
	t.keep(t.serve(room[:have+n]))
	return true
}

// got implements handler. C receives only while no part of a message is here.
func (t *tcp) got(p []byte) {
	t.keep(t.serve(p))
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
	if t.mode == config.FramingMessage {
		p.Flags |= abi.PortMessage
	}
	return t.mode != config.FramingAuto && t.Pushes.Empty(), t.dec.Idle() && len(t.spill) == 0 && t.ended == 0
}

// fillMessage receives straight into a large message.
func (t *tcp) fillMessage(w []byte) bool {
	n, err := t.recv(w)
	if n <= 0 {
		return t.noData(err)
	}
	t.took(n, len(w))
	done, err := t.dec.Fill(n)
	if err != 0 {
		t.end(err)
	} else if done {
		op := t.Pops.Head()
		t.dec.Take(op.SGA())
		op.Popped(false)
	}
	return true
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
		// What may have been the beginning of the magic was all there is.
		if t.nprefix > 0 {
			n := t.nprefix
			t.nprefix = 0
			t.mode = config.FramingStream
			t.keep(t.serve(t.prefix[:n]))
		}
		if t.ended == 0 {
			t.ended = unix.ECONNABORTED
		}
	default:
		t.end(err)
	}
	return true
}

// end makes err the answer to all pops from now on.
func (t *tcp) end(err abi.Errno) {
	t.dropReceived()
	t.ended = err
}

func (t *tcp) dropReceived() {
	t.dec.Reset()
	t.nprefix = 0
	t.os.putSpill(t.spill)
	t.spill = nil
}

// serve gives received bytes to the pops, and returns what they did not want.
func (t *tcp) serve(p []byte) []byte {
	for len(p) > 0 && !t.Pops.Empty() {
		switch t.mode {
		case config.FramingAuto:
			match, decided := framing.MatchMagic(p)
			switch {
			case !match:
				t.mode = config.FramingStream
			case decided:
				t.mode = config.FramingMessage
			default:
				t.nprefix = copy(t.prefix[:], p)
				return nil
			}
		case config.FramingMessage:
			limit := uint64(t.os.cfg.Limits.MaxMessage)
			if t.dec.Idle() {
				if n := framing.Whole(p, limit); n > 0 && t.popWhole(p[:n]) {
					p = p[n:]
					continue
				}
			}
			n, done, err := t.dec.Feed(p, limit)
			if err != 0 {
				t.end(err)
				return nil
			}
			p = p[n:]
			if done {
				op := t.Pops.Head()
				t.dec.Take(op.SGA())
				op.Popped(false)
			}
		case config.FramingStream:
			p = p[t.popBytes(p):]
		}
	}
	return p
}

// popBytes gives the oldest pop as much of p as it wants, and returns how much that was.
func (t *tcp) popBytes(p []byte) int {
	op := t.Pops.Head()
	n := min(len(p), int(popLimit(op, t.os.cfg)))
	if !t.popCopy(p[:n], true) {
		op.Complete(unix.ENOMEM)
		return 0
	}
	return n
}

// keep stores bytes that no pop has wanted yet.
func (t *tcp) keep(p []byte) {
	if len(p) > 0 {
		t.spill, t.spillAt = append(t.os.getSpill(), p...), 0
	}
}

// unspill gives stored bytes to the pops.
func (t *tcp) unspill() {
	buf := t.spill
	t.spill = nil
	left := t.serve(buf[t.spillAt:])
	if len(left) == 0 {
		t.os.putSpill(buf)
	} else {
		t.spill, t.spillAt = buf, len(buf)-len(left)
	}
}

// Buffers for bytes received beyond what was wanted. Those not in use are few, so that idle connections hold none.
const maxSpills = 64

func (o *LibOS) getSpill() []byte {
	if n := len(o.spills); n > 0 {
		b := o.spills[n-1]
		o.spills = o.spills[:n-1]
		return b
	}
	return make([]byte, 0, abi.ScratchLen)
}

func (o *LibOS) putSpill(b []byte) {
	if cap(b) > 0 && len(o.spills) < maxSpills {
		o.spills = append(o.spills, b[:0])
	}
}
