package inbox

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/framing"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
)

// Stream is what a TCP socket is beyond what carries it: its state, and the receiving side of its bytes. What programs may do in
// which state is in rules.go.
type Stream struct {
	State State
	Mode  config.Framing
	Ended abi.Errno // why nothing more can be received; 0 as long as something can

	own     bool // the program has chosen Mode
	q       *Queue
	dec     framing.Decoder // message mode: the message under way
	prefix  [3]byte         // auto mode: bytes that may be the beginning of the magic
	nprefix int
	spill   []byte // received, but beyond what the pops so far wanted: one of Pool.spills
	spillAt int    // what of it the pops have had since
}

// Begin makes s the stream of q.
func (s *Stream) Begin(q *Queue, mode config.Framing) { s.q, s.Mode = q, mode }

// Plain tells whether nothing is held that must come before what is received next.
func (s *Stream) Plain() bool { return s.dec.Idle() && len(s.spill) == 0 && s.Ended == 0 }

// Held tells whether there is something for a pop without receiving: bytes, or the end.
func (s *Stream) Held() bool { return len(s.spill) > 0 || s.Ended != 0 }

// Wants completes pops with what is held, and tells whether some still wait.
func (s *Stream) Wants() bool {
	for !s.q.Pops.Empty() {
		switch {
		case len(s.spill) > 0:
			s.unspill()
		case s.Ended != 0:
			s.q.Fail(&s.q.Pops, s.Ended)
		default:
			return true
		}
	}
	return false
}

// Prefix copies bytes that belong before those received next to room, which has to have space for a few, and
// returns their number. Got is then called with both.
func (s *Stream) Prefix(room []byte) int { return copy(room, s.prefix[:s.nprefix]) }

// Got takes all of p, which has come after what Prefix said, and keeps a copy of what no pop wants.
func (s *Stream) Got(p []byte) {
	s.nprefix = 0
	s.keep(s.serve(p))
}

// Offer gives the pops as much of p as they want, and returns how much that was. It is for sockets that keep the rest themselves; Got is
// for the others.
func (s *Stream) Offer(p []byte) int {
	n := 0
	if s.nprefix > 0 {
		buf := append(s.q.Pool.getSpill(), s.prefix[:s.nprefix]...)
		n = min(len(p), cap(buf)-len(buf))
		buf = append(buf, p[:n]...)
		s.nprefix = 0
		s.hold(buf, s.serve(buf))
		if len(s.spill) > 0 {
			return n
		}
	}
	n = len(p) - len(s.serve(p[n:]))
	if s.Ended != 0 {
		s.q.Fail(&s.q.Pops, s.Ended)
	}
	return n
}

// Window is room for a part of a large message, where it may be received straight to; nil if none is under way. Filled says how
// many bytes came.
func (s *Stream) Window() []byte { return s.dec.Window() }

// Room is Window for exactly n bytes that are known to come, see framing.Decoder.Room. Nothing but Filled, End and Drop may follow.
func (s *Stream) Room(n uint64) []byte {
	if s.Ended != 0 || len(s.spill) > 0 {
		return nil
	}
	return s.dec.Room(n)
}

// Filled accounts for n bytes that were received to Window or Room. A pop must wait for them.
func (s *Stream) Filled(n int) {
	done, err := s.dec.Fill(n)
	if err != 0 {
		s.End(err)
	} else if done {
		s.popMessage()
	}
}

// Finish is the end of the stream after everything received so far.
func (s *Stream) Finish() {
	// What may have been the beginning of the magic was all there is.
	if n := s.nprefix; n > 0 {
		s.nprefix = 0
		s.Mode = config.FramingStream
		s.keep(s.serve(s.prefix[:n]))
	}
	if s.Ended == 0 {
		s.Ended = unix.ECONNABORTED
	}
}

// End forgets what is held and makes err the answer to all pops from now on.
func (s *Stream) End(err abi.Errno) {
	s.Drop()
	s.Ended = err
}

// Drop forgets what is held.
func (s *Stream) Drop() {
	s.dec.Reset()
	s.nprefix = 0
	if s.spill != nil {
		s.q.Pool.putSpill(s.spill)
		s.spill = nil
	}
}

// serve gives received bytes to the pops, and returns what they did not want.
func (s *Stream) serve(p []byte) []byte {
	for len(p) > 0 && !s.q.Pops.Empty() {
		switch s.Mode {
		case config.FramingAuto:
			match, decided := framing.MatchMagic(p)
			switch {
			case !match:
				s.Mode = config.FramingStream
			case decided:
				s.Mode = config.FramingMessage
			default:
				s.nprefix = copy(s.prefix[:], p)
				return nil
			}
		case config.FramingMessage:
			limit := uint64(s.q.Pool.Config.Limits.MaxMessage)
			if s.dec.Idle() {
				if n := framing.Whole(p, limit); n > 0 && s.q.popWhole(p[:n]) {
					p = p[n:]
					continue
				}
			}
			n, done, err := s.dec.Feed(p, limit)
			if err != 0 {
				s.End(err)
				return nil
			}
			p = p[n:]
			if done {
				s.popMessage()
			}
		case config.FramingStream:
			p = p[s.popBytes(p):]
		}
	}
	return p
}

// popMessage gives the oldest pop the message that is complete.
func (s *Stream) popMessage() {
	op := s.q.Pops.Head()
	s.dec.Take(op.SGA())
	op.Popped(false)
}

// popBytes gives the oldest pop as much of p as it wants, and returns how much that was.
func (s *Stream) popBytes(p []byte) int {
	op := s.q.Pops.Head()
	n := min(len(p), int(s.q.Pool.Limit(op)))
	if !s.q.popCopy(p[:n], true) {
		op.Complete(unix.ENOMEM)
		return 0
	}
	return n
}

// keep stores bytes that no pop has wanted yet.
func (s *Stream) keep(p []byte) {
	if len(p) > 0 {
		s.spill, s.spillAt = append(s.q.Pool.getSpill(), p...), 0
	}
}

// unspill gives stored bytes to the pops.
func (s *Stream) unspill() {
	buf := s.spill
	s.spill = nil
	s.hold(buf, s.serve(buf[s.spillAt:]))
}

// hold keeps the end of a buffer of the pool that the pops have left.
func (s *Stream) hold(buf, left []byte) {
	if len(left) == 0 {
		s.q.Pool.putSpill(buf)
	} else {
		s.spill, s.spillAt = buf, len(buf)-len(left)
	}
}
