package posix

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/framing"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// Push implements engine.Queue.
func (t *tcp) Push(op *engine.Op) abi.Errno {
	if err := t.in.BeginPush(op.SGA()); err != 0 {
		return err
	}
	t.push(op)
	t.openLane()
	return 0
}

// sendOut implements handler.
func (t *tcp) sendOut(op *engine.Op) bool {
	message := t.in.Mode == config.FramingMessage
	if op.SGA().Len() == 0 {
		op.Complete(unix.ENOMSG)
		return true
	}
	total := framing.Len(op.SGA(), message)
	for {
		n, err := 0, op.Failed
		if err == 0 {
			n, err = t.transmit(op, total, message, nil)
		}
		if err == unix.EAGAIN {
			return false
		}
		if err != 0 {
			if err == unix.ECONNRESET && t.in.Ended == 0 {
				t.shutLane()
				t.in.End(err) // the kernel tells of a reset once only, and pops want to know, too
			}
			op.Complete(err)
			return true
		}
		if op.Sent += uint64(n); op.Sent == total {
			op.Complete(0)
			return true
		}
	}
}
