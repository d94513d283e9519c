package tcp

import "github.com/libdmtr/libdmtr/libos/internal/inet/wire"

// onAck takes in an ACK.
func (r *recovery) onAck(e *ackEvent) {
	b := &r.board
	flight, open := r.inFlight(), r.state == stateOpen
	a := arrival{now: e.Now, echo: e.HasEcho && r.timestamps, echoed: e.Echo, minRTT: r.rtt.minimum()}
	if e.Acked = e.Ack.Since(b.una); e.Acked > 0 {
		b.ack(e.Ack, &a)
	}
	acked := a.delivered // what of it was not SACKed before
	duplicate := sackRange{}
	if !r.sackOK {
		r.renoAck(e, &a)
	} else if len(e.Blocks) > 0 {
		duplicate = r.takeBlocks(e, &a)
	}
	e.Delivered, e.Spurious = a.delivered, false
	r.takeRTT(e, &a, flight)
	if r.probed {
		r.probeAcked(e, duplicate)
	}
	if r.undoable {
		r.undoIfSpurious(e, &a, duplicate)
	}
	lost := r.detect(e.Now, e.Acked, a.delivered-acked)
	r.leave(e.Ack)
	switch {
	case r.state == stateRecovery:
		r.reduce(a.delivered, lost || e.Acked == 0)
	case r.state == stateLoss:
		r.cc.growAfterTimeout(a.delivered)
	case open && e.Acked > 0: // not for duplicate ACKs (RFC 3042, section 2), nor for the one that ended a recovery
		r.cc.grow(e.Acked, flight, e.Now, r.rtt.srtt)
	}
	if e.Acked > 0 {
		r.rtoAt = e.Now + r.rtt.timeout() // RFC 6298, 5.3
		r.armProbe(e.Now)
	}
}

// takeRTT measures the round trip: of the first segment acknowledged, since the delay of an ACK belongs to it.
func (r *recovery) takeRTT(e *ackEvent, a *arrival, flight int) {
	switch {
	case a.first != 0 && !a.resent:
		r.rtt.sample(e.Now-a.first, e.Now)
		r.rtt.sampleMin(e.Now-a.last, e.Now)
		if r.cc.firstSlowStart() && r.cc.limits(flight) {
			round := !e.Ack.Before(r.roundEnd)
			if round {
				r.roundEnd = r.board.nxt
			}
			r.cc.sample(e.Now-a.last, round)
		}
	case a.resent && a.echo:
		r.rtt.endBackOff() // the timestamp tells that the path works
	}
}

// takeBlocks takes in the SACK option. Of blocks that cannot be, nothing is believed. It returns the D-SACK (RFC
// 2883), if there is one.
func (r *recovery) takeBlocks(e *ackEvent, a *arrival) (duplicate sackRange) {
	blocks := e.Blocks
	if d := blocks[0]; d.Start.Before(d.End) && (d.End.AtMost(e.Ack) ||
		len(blocks) > 1 && blocks[1].Start.AtMost(d.Start) && d.End.AtMost(blocks[1].End)) {
		duplicate = d
		r.board.rack.dsack(r.board.una, r.board.nxt)
		blocks = blocks[1:]
	}
	// In the order of the data, or RACK would see reordering.
	for i := 1; i < len(blocks); i++ {
		for k := i; k > 0 && blocks[k].Start.Before(blocks[k-1].Start); k-- {
			blocks[k], blocks[k-1] = blocks[k-1], blocks[k]
		}
	}
	for _, s := range blocks {
		if r.board.una.AtMost(s.Start) && s.Start.Before(s.End) && s.End.AtMost(r.board.nxt) {
			r.board.sack(s, a)
		}
	}
	return duplicate
}

// renoAck is for a peer without SACK: duplicate ACKs tell that something arrived, partial ones what did not (RFC
// 6582). That something is taken for a segment of one MSS.
func (r *recovery) renoAck(e *ackEvent, a *arrival) {
	b := &r.board
	switch {
	case e.Acked > 0:
		counted := min(int(r.dupAcks), (e.Acked-1)/r.cc.mss)
		r.dupAcks -= uint8(counted)
		a.delivered = max(0, a.delivered-counted*r.cc.mss)
		if r.state == stateOpen {
			r.dupAcks = 0
		}
	case !e.Data && b.n > 0 && r.state != stateLoss && int(r.dupAcks) < min(255, int(b.n)):
		r.dupAcks++
		a.delivered += r.cc.mss
	}
	if b.n == 0 {
		r.dupAcks = 0
		return
	}
	first := b.at(b.base)
	if first.flags&isLost != 0 {
		return
	}
	fast := r.state == stateOpen && r.dupAcks >= dupThresh && r.point.Before(b.una)
	partial := r.state == stateRecovery && e.Acked > 0 && b.una.Before(r.point) && first.flags&isResent == 0
	if fast || partial {
		b.lose(b.base, first)
	}
}

// detect looks for losses, and begins a recovery if there are any in the open state; acked and newlySacked are what
// the ACK brought. It tells whether there were new ones.
func (r *recovery) detect(now int64, acked, newlySacked int) bool {
	b := &r.board
	before := b.lostSegs
	if r.reorderAt = 0; r.sackOK {
		r.reorderAt = b.detect(now, r.state != stateOpen, &r.rtt)
		if b.lostSegs == before {
			return false
		}
	} else if before == 0 {
		return false
	}
	if r.state == stateOpen {
		r.enter(acked, newlySacked)
	}
	return true
}

// enter begins a fast recovery (RFC 6675, section 5).
func (r *recovery) enter(acked, newlySacked int) {
	b := &r.board
	outstanding := b.nxt.Since(b.una)
	r.cc.reduce(outstanding + acked)
	r.cc.prr.enter(outstanding, acked, b.sacked, newlySacked)
	r.state, r.point = stateRecovery, b.nxt
	r.probed, r.probeAt = false, 0
	r.undoable, r.undo = true, undo{from: b.una}
}

// reduce sets the window in recovery. more: the ACK did not advance, or more was found to be lost.
func (r *recovery) reduce(delivered int, more bool) {
	if r.state == stateRecovery {
		r.cc.cwnd = r.cc.prr.onAck(delivered, r.inFlight(), r.cc.ssthresh, r.cc.mss, !more)
	}
}

// leave ends a recovery when all that was outstanding at its beginning has been acknowledged. What was sent since and
// is lost begins the next one.
func (r *recovery) leave(una wire.Seq) {
	if r.state == stateOpen || una.Before(r.point) {
		return
	}
	if r.state == stateRecovery {
		r.cc.cwnd = r.cc.ssthresh
	}
	r.state, r.dupAcks = stateOpen, 0
	r.board.rack.recovered()
	if r.board.lostSegs > 0 {
		r.enter(0, 0)
	}
}

// probeAcked finds out whether a tail loss probe has repaired a loss, which costs the window what a recovery would
// (RFC 8985, 7.4.2).
func (r *recovery) probeAcked(e *ackEvent, duplicate sackRange) {
	switch {
	case e.Ack.Before(r.probeEnd):
		return
	case !r.probeResent, duplicate.Start != duplicate.End && duplicate.End == r.probeEnd:
		r.probed = false
	case r.probeEnd.Before(e.Ack):
		r.probed = false
		if r.state == stateOpen {
			r.cc.reduce(r.board.nxt.Since(r.board.una) + e.Acked)
			r.cc.cwnd = r.cc.ssthresh
			r.undoable = false
		}
	case e.Acked == 0 && !e.Data && len(e.Blocks) == 0:
		r.probed = false // both arrived, and the peer has no D-SACK
	}
}

// undo finds out that a reduction of the window was for nothing.
type undo struct {
	stamped bool
	stamp   uint32   // TSval of the first retransmission since
	from    wire.Seq // SND.UNA at the reduction
	bytes   int      // sent again since and not reported as duplicate
}

func (u *undo) resent(n int, stamp uint32) {
	if !u.stamped {
		u.stamped, u.stamp = true, stamp
	}
	u.bytes += n
}

// undoIfSpurious restores the window if an ACK shows that nothing was lost: it echoes a segment that was sent before
// the first retransmission (Eifel, RFC 3522 and 4015), or all that was sent again has been reported as duplicate
// (RFC 3708).
func (r *recovery) undoIfSpurious(e *ackEvent, a *arrival, duplicate sackRange) {
	u := &r.undo
	if !u.stamped {
		return
	}
	if duplicate.Start != duplicate.End && u.from.AtMost(duplicate.Start) {
		u.bytes -= duplicate.End.Since(duplicate.Start)
	}
	eifel := r.state != stateOpen && a.resent && a.echo && int32(a.stamp-u.stamp) >= 0 && int32(a.echoed-u.stamp) < 0
	if !eifel && u.bytes > 0 {
		return
	}
	e.Spurious = true
	r.cc.undo()
	r.undoable = false
	r.dupAcks = 0
	if r.state != stateOpen {
		r.state = stateOpen
		r.board.rack.reorderSeen = true
		r.board.findLost()
	}
}
