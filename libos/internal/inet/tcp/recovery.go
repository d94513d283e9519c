package tcp

import (
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// recovery is the part of a sender that knows what is in flight, what is lost, and how much may leave: scoreboard,
// RTT, congestion control and RACK-TLP (RFC 8985) behind one face. It sends nothing; it says what to send.
//
// # Call order
//
// init when the connection is made; start when it is established, with SND.NXT = ISS + 1 (SYN and SYN-ACK are the
// caller's, who gives their round trip to rtt.sample). Sequence numbers include the FIN.
//
// For each acceptable ACK: onAck. Then, while allowance() covers it: first nextLost (send it, then onResend), then
// new data within SND.WND (send it, then onSend). Then arm the one retransmission timer for deadline(). When it
// expires: onTimeout, then do what that says, and arm it anew.
//
// When the peer's window is zero and nothing is in flight, deadline() is Never: the persist timer is the caller's.
//
// What every segment and every ACK touches comes first in the struct and in those within.
type recovery struct {
	config      *recoveryConfig
	state       recoveryState
	sackOK      bool
	timestamps  bool
	dupAcks     uint8 // of a peer without SACK
	probed      bool  // a tail loss probe is under way, up to probeEnd (RFC 8985, section 7)
	probeResent bool  // it was a retransmission
	undoable    bool  // the last reduction of the window may turn out to be for nothing

	point    wire.Seq // SND.NXT when the recovery began (recover of RFC 6582, RecoveryPoint of RFC 6675)
	roundEnd wire.Seq // SND.NXT when the round trip under way began

	rtoAt, probeAt, reorderAt int64 // deadlines; 0: none
	lastSend                  int64

	rtt   rtt
	board scoreboard
	cc    congestion

	undo     undo
	probeEnd wire.Seq
}

type recoveryState uint8

const (
	stateOpen recoveryState = iota
	stateRecovery
	stateLoss // after a retransmission timeout
)

// recoveryConfig has what all connections of a Host share.
type recoveryConfig struct {
	algorithm  Algorithm
	initialRTO int64
	minRTO     int64
	maxRTO     int64
	maxAckWait int64 // the longest a peer may delay an ACK (RFC 8985, 7.2)
	minProbe   int64 // the least time before a tail loss probe: that of a peer that has something else to do
	blocks     *blocks
}

// ackEvent is what the caller knows about an acceptable ACK (SND.UNA <= Ack <= SND.NXT), and what came of it.
type ackEvent struct {
	Now     int64
	Ack     wire.Seq
	Blocks  []sackRange // of the SACK option, unchecked; they are put in order
	Data    bool        // the segment carried data, SYN or FIN, or changed the window: no duplicate ACK (RFC 5681)
	HasEcho bool        // the segment has a timestamp
	Echo    uint32      // TSecr

	Acked     int  // out: bytes by which SND.UNA moved
	Delivered int  // out: bytes newly known to have arrived
	Spurious  bool // out: the last reduction of the window was undone
}

// timeoutAction is what the caller has to do after onTimeout.
type timeoutAction uint8

const (
	// nothing: it was early; arm the timer for deadline() anew.
	doNothing timeoutAction = iota
	// doSend: segments may have become lost; go on as after an ACK.
	doSend
	// doProbe: send one segment of new data if there is any and SND.WND allows it, whatever allowance() says (then
	// onSend); otherwise the segment lastSent() (then onResend). In both cases call onProbe after. (RFC 8985, 7.3)
	doProbe
	// doRTO: the retransmission timeout. Count it against the limit of retries; otherwise as doSend: allowance() and
	// nextLost() give the first segment.
	doRTO
)

// init prepares for a connection not yet established; the RTT is usable from here on.
func (r *recovery) init(c *recoveryConfig) {
	*r = recovery{config: c}
	r.rtt.init(c.initialRTO, c.minRTO, c.maxRTO)
	r.board.start(0, c.blocks)
}

// start sets SND.UNA = SND.NXT = next; mss is the effective one for sending, without options' room.
func (r *recovery) start(next wire.Seq, mss int, sackOK, timestamps bool, now int64) {
	r.board.start(next, r.config.blocks)
	r.cc.init(r.config.algorithm, mss)
	r.sackOK, r.timestamps = sackOK, timestamps
	r.point, r.roundEnd, r.lastSend = next-1, next, now
}

// setMSS follows the path MTU. Segments in flight that are too long now count as lost, which costs no window.
func (r *recovery) setMSS(mss int) {
	if mss < r.cc.mss {
		r.board.split(mss)
	}
	r.cc.setMSS(mss)
}

// full tells that no more segments can be noted; nothing new may be sent until an ACK has come.
func (r *recovery) full() bool { return r.board.full() }

// smallSegments is how many times as many segments may be in flight as full ones would fill the window. The window is
// in bytes, but what queues and receivers have room for are packets.
const smallSegments = 8

// allowance tells how many bytes congestion control lets leave now; may be negative. A segment may leave if it is at
// least its length, or if nothing is in flight.
func (r *recovery) allowance() int {
	if int(r.board.flying)*r.cc.mss >= smallSegments*r.cc.cwnd {
		return 0
	}
	return r.cc.cwnd - r.inFlight()
}

// inFlight is "pipe": bytes sent that are neither acknowledged, SACKed, nor lost.
func (r *recovery) inFlight() int {
	n := r.board.pipe()
	if r.dupAcks > 0 { // each tells that something has arrived
		n = max(0, n-int(r.dupAcks)*r.cc.mss)
	}
	return n
}

// outstanding tells whether anything is unacknowledged.
func (r *recovery) outstanding() bool { return r.board.una != r.board.nxt }

// onSend notes that [SND.NXT, end) has left as one segment.
func (r *recovery) onSend(end wire.Seq, now int64) {
	if r.board.n == 0 {
		r.rtoAt = now + r.rtt.timeout() // RFC 6298, 5.1
	}
	if r.state == stateRecovery {
		r.cc.prr.out += end.Since(r.board.nxt)
	}
	r.board.sent(end, now)
	r.lastSend = now
	r.armProbe(now)
}

// onWindowProbe notes, when the peer has acknowledged it, that a zero-window probe had left with [SND.NXT, end); onAck
// follows. Nobody knows which of the probes arrived, so it gives no round trip.
func (r *recovery) onWindowProbe(end wire.Seq, now int64) {
	r.onSend(end, now)
	r.board.at(r.board.base + r.board.n - 1).flags |= isResent
}

// nextLost gives the segment that is to be sent again next, of at most the MSS.
func (r *recovery) nextLost() (start, end wire.Seq, ok bool) {
	if r.board.lostSegs == 0 {
		return 0, 0, false
	}
	p := r.board.nextLost()
	return p.start, r.cut(p), true
}

// lastSent gives the segment with the highest sequence number in flight, of at most the MSS, for a probe.
func (r *recovery) lastSent() (start, end wire.Seq, ok bool) {
	if r.board.n == 0 {
		return 0, 0, false
	}
	p := r.board.at(r.board.base + r.board.n - 1)
	return p.start, r.cut(p), p.flags&isSacked == 0
}

// cut is the end of a record, or of the piece of it that may be sent (see scoreboard.split). A FIN needs no room.
func (r *recovery) cut(p *record) wire.Seq {
	if p.end.Since(p.start) > r.cc.mss+1 {
		return p.start + wire.Seq(r.cc.mss)
	}
	return p.end
}

// onResend notes that the segment which nextLost or lastSent gave has left again. stamp is its TSval.
func (r *recovery) onResend(start wire.Seq, now int64, stamp uint32) {
	n := r.board.resent(start, now, stamp)
	if r.state == stateRecovery {
		r.cc.prr.out += n
	}
	r.undo.resent(n, stamp)
	r.lastSend = now
	if start == r.board.una {
		r.rtoAt = now + r.rtt.timeout()
	}
}

// onIdle is called before data is sent when nothing is outstanding: after a pause of more than an RTO the window is
// that of the beginning (RFC 5681, 4.1).
func (r *recovery) onIdle(now int64) {
	if now-r.lastSend > r.rtt.rto {
		r.cc.restart()
	}
}

// reset frees what the scoreboard has.
func (r *recovery) reset() {
	r.board.start(r.board.nxt, r.config.blocks)
	r.rtoAt, r.probeAt, r.reorderAt = 0, 0, 0
}

// deadline is when the retransmission timer is due (RTO, probe or reordering, whichever it is now); Never if nothing
// is in flight.
func (r *recovery) deadline() int64 {
	if r.board.n == 0 {
		return timer.Never
	}
	at := r.rtoAt
	if r.probeAt != 0 {
		at = min(at, r.probeAt)
	}
	if r.reorderAt != 0 {
		at = min(at, r.reorderAt)
	}
	return at
}

// onTimeout is called when deadline has passed.
func (r *recovery) onTimeout(now int64) timeoutAction {
	switch {
	case now < r.deadline():
		return doNothing
	case now >= r.rtoAt:
		r.expire(now)
		return doRTO
	case r.reorderAt != 0 && now >= r.reorderAt:
		lost := r.detect(now, 0, 0)
		r.reduce(0, lost)
		return doSend
	}
	r.probeAt = 0
	return doProbe
}

// expire is the retransmission timeout (RFC 6298, 5.4 to 5.6; RFC 8985, 6.3).
func (r *recovery) expire(now int64) {
	b := &r.board
	if r.state != stateLoss {
		r.cc.reduce(b.nxt.Since(b.una))
		r.undoable, r.undo = true, undo{from: b.una}
	}
	r.state, r.point = stateLoss, b.nxt
	r.dupAcks, r.probed = 0, false
	if r.sackOK {
		b.expire(now, &r.rtt)
	} else {
		b.loseAll()
	}
	b.join(r.cc.mss)
	r.cc.collapse(b.pipe())
	r.rtt.backOff()
	r.rtoAt = now + r.rtt.timeout()
	r.probeAt, r.reorderAt = 0, 0
}

// onProbe says that what was just sent is the probe that doProbe asked for; resent, that it was lastSent().
func (r *recovery) onProbe(now int64, resent bool) {
	r.probed, r.probeResent, r.probeEnd = true, resent, r.board.nxt
	r.probeAt = 0
	r.rtoAt = now + r.rtt.timeout()
}

// armProbe sets the time of the tail loss probe (RFC 8985, 7.2), after new data was sent or acknowledged.
func (r *recovery) armProbe(now int64) {
	b := &r.board
	r.probeAt = 0
	if !r.sackOK || r.state != stateOpen || r.probed || b.sackedSegs+b.lostSegs > 0 || b.n == 0 {
		return
	}
	d := int64(1_000_000_000)
	if r.rtt.srtt != 0 {
		d = max(2*r.rtt.srtt, r.config.minProbe)
		if b.n == 1 {
			d += r.config.maxAckWait
		}
	}
	if at := now + d; at < r.rtoAt {
		r.probeAt = at
	}
}
