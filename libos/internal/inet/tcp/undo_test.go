package tcp

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Eifel (RFC 3522): the ACK echoes the original transmission.
func TestUndoByTimestamp(t *testing.T) {
	for _, rto := range []bool{true, false} {
		g := newRig(t, true, true)
		g.r.cc.cwnd = 20_000
		g.send(20)
		sent := g.stamp()
		if rto {
			g.now = g.r.rtoAt
			require.Equal(t, doRTO, g.r.onTimeout(g.now))
			require.Equal(t, 20_000, g.r.board.lost)
		} else {
			g.after(100*msec).ack(1, 2, 4)
		}
		require.Equal(t, []int{1}, g.resend())
		g.after(msec)
		e := ackEvent{Now: g.now, Ack: 2000, HasEcho: true, Echo: sent}
		g.r.onAck(&e)
		require.True(t, e.Spurious)
		require.Equal(t, stateOpen, g.r.state)
		require.GreaterOrEqual(t, g.r.cc.cwnd, 20_000)
		require.Equal(t, maxWindow, g.r.cc.ssthresh)
		require.Zero(t, g.r.board.lost)
		g.r.board.check(t)
	}
}

// RFC 3708: all that was sent again is reported as duplicate.
func TestUndoByDSACK(t *testing.T) {
	g := newRig(t, true, false)
	g.r.cc.cwnd = 20_000
	g.send(20)
	g.after(100*msec).ack(1, 3, 6)
	require.Equal(t, []int{1}, g.resend())
	g.ack(1, 3, 8)
	require.Equal(t, []int{2}, g.resend())
	g.after(10 * msec).ack(9)
	require.False(t, g.after(90*msec).ack(9, 1, 1).Spurious)
	require.Less(t, g.r.cc.ssthresh, 20_000)
	require.True(t, g.ack(9, 2, 2).Spurious)
	require.Equal(t, 20_000, g.r.cc.cwnd)
	require.Equal(t, maxWindow, g.r.cc.ssthresh)
}

// Karn: what was sent again gives no round trip, but an echoed timestamp ends the back-off.
func TestKarn(t *testing.T) {
	for _, stamps := range []bool{true, false} {
		g := newRig(t, true, stamps)
		g.send(1)
		g.now = g.r.rtoAt
		require.Equal(t, doRTO, g.r.onTimeout(g.now))
		require.Equal(t, []int{1}, g.resend())
		before := g.r.rtt
		require.Equal(t, uint8(1), before.backoff)
		e := ackEvent{Now: g.after(10 * msec).now, Ack: 2000, HasEcho: true, Echo: g.stamp()}
		g.r.onAck(&e)
		if stamps {
			before.backoff = 0
		}
		require.Equal(t, before, g.r.rtt)
	}
}

// A segment that was not sent again is acknowledged during a recovery, with a timestamp from before it: no proof that
// the recovery was for nothing.
func TestNoUndo(t *testing.T) {
	g := newRig(t, true, true)
	g.send(8)
	sent := g.stamp()
	g.after(100*msec).ack(1, 4, 6)
	require.Equal(t, []int{1, 2, 3}, g.resend())
	// Reordered, so that 1 is still under way, and found lost again; 2 is acknowledged by what was sent first.
	e := ackEvent{Now: g.after(50 * msec).now, Ack: 1000, HasEcho: true, Echo: sent, Blocks: []sackRange{{2000, 3000}, {4000, 9000}}}
	g.r.onAck(&e)
	require.False(t, e.Spurious, "what a SACK's timestamp says is about other data")
	require.Equal(t, stateRecovery, g.r.state)

	g = newRig(t, true, true)
	g.send(5)
	sent = g.stamp()
	g.after(100 * msec)
	g.r.board.lose(g.r.board.newest, g.r.board.at(g.r.board.newest))
	g.r.enter(0, 0)
	require.Equal(t, []int{5}, g.resend())
	e = ackEvent{Now: g.after(10 * msec).now, Ack: 2000, HasEcho: true, Echo: sent}
	g.r.onAck(&e)
	require.False(t, e.Spurious)
	require.Equal(t, stateRecovery, g.r.state)

	// It was sent again, but before the reduction in question.
	g = newRig(t, true, true)
	g.send(5)
	b := &g.r.board
	b.lose(b.oldest, b.at(b.oldest))
	g.r.enter(0, 0)
	require.Equal(t, []int{1}, g.resend())
	sent = g.stamp()
	g.after(100 * msec)
	b.lose(b.base+4, b.at(b.base+4))
	g.r.state = stateOpen
	g.r.enter(0, 0)
	require.Equal(t, []int{5}, g.resend())
	e = ackEvent{Now: g.after(10 * msec).now, Ack: 2000, HasEcho: true, Echo: sent}
	g.r.onAck(&e)
	require.False(t, e.Spurious)
}
