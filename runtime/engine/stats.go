package engine

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
)

// Counting is a LibOS that counts what happens. Names are of lower-case words, as in tcp.retransmits, and no longer than a
// dmtr_counter_t has room for.
type Counting interface {
	Counters(visit func(name string, value uint64))
}

// Informed is a Socket that can tell how its connection fares. Errors: EINVAL if there is none, ENOTSUP for what never has one.
type Informed interface {
	TCPInfo(i *abi.TCPInfo) abi.Errno
}

// Counters visits all counters, those of the engine first.
func (e *Engine) Counters(visit func(name string, value uint64)) {
	visit("engine.completions", e.ctl.Seq)
	visit("engine.queues", uint64(e.open))
	visit("engine.tokens", uint64(e.tokens)-uint64(e.ctl.Free.Count))
	for i, os := range []LibOS{e.net, e.storage} {
		if c, ok := os.(Counting); ok && (i == 0 || e.split) {
			c.Counters(visit)
		}
	}
}

// TCPInfo tells how a connection fares.
func (e *Engine) TCPInfo(qd int32, i *abi.TCPInfo) abi.Errno {
	s, err := e.Socket(qd)
	if err != 0 {
		return err
	}
	t, ok := s.(Informed)
	if !ok {
		return unix.ENOTSUP
	}
	return t.TCPInfo(i)
}
