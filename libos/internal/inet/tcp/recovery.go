package tcp

import "github.com/libdmtr/libdmtr/libos/internal/inet/wire"

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
type recovery struct {
	board scoreboard
	rtt   rtt
	cc    congestion
}

// recoveryConfig has what all connections of a Host share.
type recoveryConfig struct {
	algorithm  Algorithm
	initialRTO int64
	minRTO     int64
	maxRTO     int64
	maxAckWait int64 // the longest a peer may delay an ACK (RFC 8985, 7.2)
}

// ackEvent is what the caller knows about an acceptable ACK (SND.UNA <= Ack <= SND.NXT), and what came of it.
type ackEvent struct {
	Now     int64
	Ack     wire.Seq
	Blocks  []sackRange // of the SACK option, unchecked
	Data    bool        // the segment carried data, SYN or FIN, or changed the window: no duplicate ACK (RFC 5681)
	HasEcho bool        // the segment has a timestamp
	Echo    uint32      // TSecr
	EchoRTT int64       // Now minus the time that Echo stands for, in ns; only used if HasEcho

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
	// onSend); otherwise the segment lastSent() (then onResend). In both cases call onProbe before. (RFC 8985, 7.3)
	doProbe
	// doRTO: the retransmission timeout. Count it against the limit of retries; otherwise as doSend: allowance() and
	// nextLost() give the first segment.
	doRTO
)

// init prepares for a connection not yet established; the RTT is usable from here on.
func (r *recovery) init(c *recoveryConfig) { panic("todo") }

// start sets SND.UNA = SND.NXT = next; mss is the effective one for sending, without options' room.
func (r *recovery) start(next wire.Seq, mss int, sackOK, timestamps bool, now int64) { panic("todo") }

// setMSS follows the path MTU. Segments in flight are split when they are to be sent again.
func (r *recovery) setMSS(mss int) { panic("todo") }

// onSend notes that [SND.NXT, end) has left as one segment.
func (r *recovery) onSend(end wire.Seq, now int64) { panic("todo") }

// full tells that no more segments can be noted; nothing new may be sent until an ACK has come.
func (r *recovery) full() bool { panic("todo") }

// onAck takes in an ACK.
func (r *recovery) onAck(e *ackEvent) { panic("todo") }

// allowance tells how many bytes congestion control lets leave now; may be negative. A segment may leave if it is at
// least its length, or if nothing is in flight.
func (r *recovery) allowance() int { panic("todo") }

// inFlight is "pipe": bytes sent that are neither acknowledged, SACKed, nor lost.
func (r *recovery) inFlight() int { panic("todo") }

// outstanding tells whether anything is unacknowledged.
func (r *recovery) outstanding() bool { return r.board.una != r.board.nxt }

// nextLost gives the segment that is to be sent again next, of at most the MSS.
func (r *recovery) nextLost() (start, end wire.Seq, ok bool) { panic("todo") }

// lastSent gives the segment with the highest sequence number in flight, of at most the MSS, for a probe.
func (r *recovery) lastSent() (start, end wire.Seq, ok bool) { panic("todo") }

// onProbe says that what is sent next is the probe that doProbe asked for.
func (r *recovery) onProbe() { panic("todo") }

// onResend notes that the segment which nextLost or lastSent gave has left again. stamp is its TSval.
func (r *recovery) onResend(start, end wire.Seq, now int64, stamp uint32) { panic("todo") }

// deadline is when the retransmission timer is due (RTO, probe or reordering, whichever it is now); Never if nothing
// is in flight.
func (r *recovery) deadline() int64 { panic("todo") }

// onTimeout is called when deadline has passed.
func (r *recovery) onTimeout(now int64) timeoutAction { panic("todo") }

// onIdle is called before data is sent when nothing is outstanding: after a pause of more than an RTO the window is
// that of the beginning (RFC 5681, 4.1).
func (r *recovery) onIdle(now int64) { panic("todo") }

// reset frees what the scoreboard has.
func (r *recovery) reset() { panic("todo") }
