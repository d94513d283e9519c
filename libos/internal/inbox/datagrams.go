package inbox

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/framing"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// Datagrams is how a socket has its datagrams: each is one array.
type Datagrams struct {
	Mode config.Framing
	Bare bool // auto mode: the last one popped had no header, so neither have those pushed
}

// Message tells whether those to be sent have a header.
func (d *Datagrams) Message() bool {
	return d.Mode == config.FramingMessage || (d.Mode == config.FramingAuto && !d.Bare)
}

// Take completes op, the oldest pop of q, with a datagram, or says what is wrong with it.
func (d *Datagrams) Take(q *Queue, op *engine.Op, p []byte) abi.Errno {
	limit := uint64(q.Pool.Config.Limits.MaxMessage)
	message := d.Mode == config.FramingMessage
	if d.Mode == config.FramingAuto {
		match, decided := framing.MatchMagic(p)
		message = match && decided
		d.Bare = !message
	}
	if n := len(p); message && n > 0 && framing.Whole(p, limit) == n {
		if !q.popWhole(p) {
			return unix.ENOMEM
		}
		return 0
	}
	if message {
		var dec framing.Decoder
		n, done, err := dec.Feed(p, limit)
		if err == 0 && (!done || n != len(p)) {
			err = unix.EILSEQ
		}
		if err != 0 {
			dec.Reset()
			return err
		}
		dec.Take(op.SGA())
		op.Popped(false)
		return 0
	}
	if !q.popCopy(p, false) {
		return unix.ENOMEM
	}
	return 0
}
