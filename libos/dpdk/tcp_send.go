package dpdk

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/framing"
	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// Push implements engine.Queue.
func (t *tcpSock) Push(op *engine.Op) abi.Errno {
	if err := t.in.BeginPush(op.SGA()); err != 0 {
		return err
	}
	if !t.Pushes.Empty() {
		t.Pushes.Add(op)
		return 0
	}
	t.os.enter()
	if !t.sendOut(op) {
		t.Pushes.Add(op)
	}
	t.os.leave()
	return 0
}

// sendOut gives the connection as much of a push as it has room for, and tells whether the push is complete.
func (t *tcpSock) sendOut(op *engine.Op) bool {
	sga := op.SGA()
	switch {
	case sga.Len() == 0:
		op.Complete(unix.ENOMSG)
		return true
	case t.broken != 0:
		op.Complete(t.broken)
		return true
	}
	var words []byte
	if t.in.Mode == config.FramingMessage {
		words = t.os.words[:]
		framing.Encode(words, sga)
	}
	n := t.os.iov.Gather(sga, words, op.Sent)
	all := true
	for i := 0; i < n && all; i++ {
		p := bytesOf(&t.os.iov[i])
		w := t.conn.Write(p)
		op.Sent += uint64(w)
		all = w == len(p)
	}
	t.conn.Push()
	if all {
		op.Complete(0)
	}
	return all
}

func bytesOf(p *framing.Piece) []byte { return unsafe.Slice((*byte)(p.At.Pointer()), p.Len) }

// Writable implements tcp.Handler.
func (t *tcpSock) Writable(*tcp.Conn) {
	for op := t.Pushes.Head(); op != nil && t.sendOut(op); op = t.Pushes.Head() {
	}
}
