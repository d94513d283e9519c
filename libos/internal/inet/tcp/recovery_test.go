package tcp

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// rig is a recovery whose test plays network and peer. Segments have 1000 bytes and numbers from 1, the first byte of
// segment n is 1000 n, and the round trip is 100 ms.
type rig struct {
	t   *testing.T
	r   recovery
	b   blocks
	now int64
}

func newRig(t *testing.T, sack, stamps bool) *rig {
	g := &rig{t: t, now: 10 * sec}
	g.r.init(&recoveryConfig{initialRTO: sec, minRTO: 200 * msec, maxRTO: 60 * sec, maxAckWait: 200 * msec,
		minProbe: msec, blocks: &g.b})
	for range 50 {
		g.r.rtt.sample(100*msec, g.now)
	}
	g.r.start(1000, 1000, sack, stamps, g.now)
	return g
}

// send sends new segments up to number n.
func (g *rig) send(n int) {
	for g.r.board.nxt != seq(1000*(n+1)) {
		require.False(g.t, g.r.full())
		g.r.onSend(g.r.board.nxt+1000, g.now)
	}
}

// resend sends again what is to be sent again, and returns the numbers.
func (g *rig) resend() (list []int) {
	for {
		start, end, ok := g.r.nextLost()
		if !ok || g.r.inFlight() > 0 && g.r.allowance() < end.Since(start) {
			return list
		}
		g.r.onResend(start, g.now, g.stamp())
		list = append(list, int(start/1000))
	}
}

func (g *rig) stamp() uint32 { return uint32(g.now/msec) + 3<<30 }

// ack is an ACK that expects segment n next and SACKs segments from..to for each pair.
func (g *rig) ack(n int, pairs ...int) *ackEvent {
	e := ackEvent{Now: g.now, Ack: seq(1000 * n)}
	for i := 0; i < len(pairs); i += 2 {
		e.Blocks = append(e.Blocks, sackRange{seq(1000 * pairs[i]), seq(1000 * (pairs[i+1] + 1))})
	}
	g.r.onAck(&e)
	g.r.board.check(g.t)
	return &e
}

func (g *rig) after(d int64) *rig { g.now += d; return g }

// RFC 8985, 3.1 and 6: P1 is lost, the ACKs of P2 and later tell, however few they are.
func TestRACKFast(t *testing.T) {
	g := newRig(t, true, true)
	g.send(5)
	g.after(100*msec).ack(1, 2, 2)
	require.Empty(t, g.resend(), "within the reordering window, of a quarter of the minimum RTT")
	require.InDelta(t, g.now+25*msec, g.r.deadline(), 10)
	require.Equal(t, doNothing, g.r.onTimeout(g.now))
	g.after(25 * msec)
	require.Equal(t, doSend, g.r.onTimeout(g.now))
	require.Equal(t, []int{1}, g.resend())
	require.Equal(t, stateRecovery, g.r.state)

	g = newRig(t, true, true)
	g.send(5)
	g.after(100*msec).ack(1, 2, 4)
	require.Equal(t, []int{1}, g.resend(), "three of them tell at once")
	e := g.after(100 * msec).ack(5)
	require.Equal(t, [2]int{4000, 1000}, [2]int{e.Acked, e.Delivered})
	require.Equal(t, stateRecovery, g.r.state)
	g.ack(6)
	require.Equal(t, stateOpen, g.r.state)
	require.Equal(t, timer.Never, g.r.deadline())
	require.Equal(t, g.r.cc.ssthresh, g.r.cc.cwnd)
}

// A retransmission that is lost again is found by what was sent after it.
func TestRACKLostRetransmission(t *testing.T) {
	g := newRig(t, true, true)
	g.send(8)
	g.after(100*msec).ack(1, 2, 7)
	require.Equal(t, []int{1}, g.resend())
	g.after(msec)
	g.send(10)
	g.after(99*msec).ack(1, 2, 8)
	require.Empty(t, g.resend())
	g.after(msec).ack(1, 2, 9)
	require.Equal(t, []int{1}, g.resend())
}

func TestRACKReordering(t *testing.T) {
	g := newRig(t, true, true)
	g.send(6)
	g.after(100*msec).ack(1, 2, 2)
	g.after(10 * msec).ack(3) // P1 was late
	require.True(t, g.r.board.rack.reorderSeen)
	g.ack(3, 4, 6)
	require.Empty(t, g.resend(), "three SACKed are not enough any more")
	require.NotZero(t, g.r.reorderAt)
	g.after(30 * msec)
	require.Equal(t, doSend, g.r.onTimeout(g.now))
	require.Equal(t, []int{3}, g.resend())
	// Step 4: a duplicate widens the window, once each round trip.
	mult := func() uint8 { return g.r.board.rack.reoWndMult }
	g.send(9)
	g.after(10*msec).ack(7, 3, 3)
	require.Equal(t, uint8(2), mult())
	g.ack(7, 3, 3)
	require.Equal(t, uint8(2), mult())
	g.after(100 * msec).ack(10)
	g.send(12)
	g.after(100*msec).ack(11, 10, 10)
	require.Equal(t, uint8(3), mult())
	for range keepReoWnd {
		require.Greater(t, mult(), uint8(1))
		g.r.board.rack.recovered()
	}
	require.Equal(t, uint8(1), mult())
}

// RFC 8985, section 7: the tail is lost.
func TestTailLossProbe(t *testing.T) {
	g := newRig(t, true, true)
	g.send(5)
	require.Equal(t, g.now+2*100*msec, g.r.deadline())
	g.after(100 * msec).ack(3)
	require.Equal(t, g.now+2*g.r.rtt.srtt, g.r.deadline())
	g.now = g.r.deadline()
	require.Equal(t, doProbe, g.r.onTimeout(g.now))
	start, end, ok := g.r.lastSent()
	require.True(t, ok)
	require.Equal(t, [2]wire.Seq{5000, 6000}, [2]wire.Seq{start, end})
	g.r.onResend(start, g.now, g.stamp())
	g.r.onProbe(g.now, true)
	require.Equal(t, g.r.rtoAt, g.r.deadline(), "one probe")
	g.after(100*msec).ack(3, 5, 5)
	g.after(50 * msec)
	g.r.onTimeout(g.now)
	require.Equal(t, []int{3}, g.resend())
	g.after(100*msec).ack(4, 5, 5)
	require.Equal(t, []int{4}, g.resend())
	g.after(100 * msec).ack(6)
	require.Equal(t, stateOpen, g.r.state)

	// The probe alone repairs the loss: that costs the window as well.
	for _, seen := range []string{"repaired", "duplicate", "dup ack"} {
		g := newRig(t, true, true)
		g.r.cc.cwnd = 20_000
		g.send(20)
		g.after(100 * msec).ack(19)
		g.now = g.r.deadline()
		require.Equal(t, doProbe, g.r.onTimeout(g.now))
		g.r.onResend(20_000, g.now, g.stamp())
		g.r.onProbe(g.now, true)
		before := g.r.cc.cwnd
		g.after(100 * msec).ack(21)
		require.True(t, g.r.probed)
		switch seen {
		case "duplicate":
			g.ack(21, 20, 20)
			require.False(t, g.r.probed)
		case "dup ack":
			g.ack(21)
			require.False(t, g.r.probed)
		}
		g.send(22)
		g.after(100 * msec).ack(23)
		require.False(t, g.r.probed)
		if seen == "repaired" {
			require.Less(t, g.r.cc.cwnd, before)
		} else {
			require.GreaterOrEqual(t, g.r.cc.cwnd, before)
		}
	}
}

func TestProbeWithNewData(t *testing.T) {
	g := newRig(t, true, true)
	g.send(2)
	g.now = g.r.deadline()
	require.Equal(t, doProbe, g.r.onTimeout(g.now))
	g.send(3)
	g.r.onProbe(g.now, false)
	before := g.r.cc.cwnd
	g.after(100 * msec).ack(4)
	require.False(t, g.r.probed)
	require.GreaterOrEqual(t, g.r.cc.cwnd, before)
}

func TestProbeOfOne(t *testing.T) {
	g := newRig(t, true, true)
	g.r.rtt.minRTO = micros(sec)
	g.r.rtt.sample(100*msec, g.now)
	g.send(1)
	require.Equal(t, g.now+400*msec, g.r.deadline(), "the peer may delay the ACK of one segment")
	g = newRig(t, false, true)
	g.send(2)
	require.Equal(t, g.r.rtoAt, g.r.deadline(), "no probes without SACK")
}

// RFC 6298, section 5.
func TestRTO(t *testing.T) {
	g := newRig(t, true, true)
	g.r.cc.cwnd = 20_000
	g.send(20)
	rto := g.r.rtt.timeout()
	require.Equal(t, g.now+rto, g.r.rtoAt)
	g.after(150 * msec).ack(2)
	require.Equal(t, g.now+g.r.rtt.timeout(), g.r.rtoAt, "5.3")
	g.r.probeAt = 0
	g.now = g.r.rtoAt
	rto = g.r.rtt.timeout()
	require.Equal(t, doRTO, g.r.onTimeout(g.now))
	require.Equal(t, g.now+2*rto, g.r.deadline(), "5.5, 5.6")
	require.Equal(t, 1000, g.r.cc.cwnd)
	require.Equal(t, 13_300, g.r.cc.ssthresh)
	require.Equal(t, []int{2}, g.resend())
	require.Equal(t, g.now+2*rto, g.r.rtoAt)
	g.now = g.r.deadline()
	require.Equal(t, doRTO, g.r.onTimeout(g.now))
	require.Equal(t, 13_300, g.r.cc.ssthresh, "once for each window (RFC 5681, 3.1)")
	require.Equal(t, []int{2}, g.resend())
	g.after(100 * msec).ack(3)
	require.Equal(t, []int{3, 4}, g.resend(), "slow start")
	g.after(100 * msec).ack(5)
	require.Equal(t, []int{5, 6, 7, 8}, g.resend())
	g.after(100 * msec).ack(21)
	require.Equal(t, stateOpen, g.r.state)
}

// RFC 8985, 6.3: what was sent less than a round trip ago is not lost yet.
func TestRTOKeepsYoung(t *testing.T) {
	g := newRig(t, true, true)
	g.r.cc.cwnd = 20_000
	g.send(5)
	g.after(100 * msec).ack(2)
	g.now = g.r.rtoAt - 50*msec
	g.send(8)
	g.now = g.r.rtoAt
	require.Equal(t, doRTO, g.r.onTimeout(g.now))
	require.Equal(t, 3000, g.r.inFlight())
	require.Equal(t, []int{2}, g.resend())
	require.Equal(t, 3000, g.r.board.lost)
}

// RFC 2018, section 8: the receiver may throw away what it had SACKed.
func TestReneging(t *testing.T) {
	g := newRig(t, true, true)
	g.send(5)
	g.after(100*msec).ack(1, 2, 5)
	require.Equal(t, []int{1}, g.resend())
	g.after(100 * msec).ack(2)
	require.Empty(t, g.resend())
	g.now = g.r.deadline()
	require.Equal(t, doRTO, g.r.onTimeout(g.now))
	require.Equal(t, []int{2}, g.resend())
	for n := 3; n <= 6; n++ {
		g.after(100 * msec).ack(n)
		g.resend()
	}
	require.False(t, g.r.outstanding())
}

// RFC 6582: without SACK.
func TestNewReno(t *testing.T) {
	g := newRig(t, false, false)
	g.send(10)
	g.after(100 * msec).ack(2)
	g.ack(2)
	g.ack(2)
	require.Empty(t, g.resend())
	require.Equal(t, 7000, g.r.inFlight(), "limited transmit (RFC 3042)")
	g.ack(2)
	require.Equal(t, []int{2}, g.resend())
	require.Equal(t, stateRecovery, g.r.state)
	for range 4 {
		g.ack(2)
	}
	g.after(100 * msec).ack(5)
	require.Equal(t, []int{5}, g.resend(), "a partial ACK tells of the next loss")
	g.after(100 * msec).ack(11)
	require.Equal(t, stateOpen, g.r.state)
	require.Zero(t, g.r.dupAcks)
	g.send(15)
	for range 3 {
		g.ack(11)
	}
	require.Empty(t, g.resend(), "3.2, step 2: late duplicates of what was sent again")
	for range 300 { // more duplicate ACKs than there are segments
		g.ack(11)
	}
	require.Zero(t, g.r.inFlight())
	require.Equal(t, uint8(5), g.r.dupAcks)
	data := ackEvent{Now: g.now, Ack: 11_000, Data: true}
	g.r.dupAcks = 0
	g.r.onAck(&data)
	require.Zero(t, g.r.dupAcks)
}

func TestSACKLies(t *testing.T) {
	g := newRig(t, true, true)
	g.send(5)
	g.after(100 * msec).ack(2)
	for _, s := range []sackRange{{7000, 8000}, {5000, 7000}, {3000, 3000}, {4000, 3000}, {1000, 3000}, {1 << 31, 1<<31 + 5000}} {
		e := ackEvent{Now: g.now, Ack: 2000, Blocks: []sackRange{{3000, 3001}, s}}
		g.r.onAck(&e)
		require.Zero(t, e.Delivered)
	}
	require.Zero(t, g.r.board.sacked)
	e := g.ack(2, 3, 5, 3, 5, 3, 4, 5, 5)
	require.Equal(t, 3000, e.Delivered, "once")
	g.after(100 * msec).ack(6)
	require.False(t, g.r.outstanding())
	require.Zero(t, g.ack(6, 1, 5, 2, 3).Delivered)
}

func TestSmallerMTU(t *testing.T) {
	g := newRig(t, true, true)
	g.send(3)
	g.after(msec)
	g.r.setMSS(400)
	require.Equal(t, 3000, g.r.board.lost)
	window := g.r.cc.cwnd
	var sizes []int
	for {
		start, end, ok := g.r.nextLost()
		if !ok {
			break
		}
		sizes = append(sizes, end.Since(start))
		g.r.onResend(start, g.now, 0)
	}
	require.Equal(t, []int{400, 400, 200, 400, 400, 200, 400, 400, 200}, sizes)
	require.Equal(t, window, g.r.cc.cwnd)
	require.Equal(t, stateOpen, g.r.state)
	g.after(100 * msec).ack(4)
	require.Equal(t, timer.Never, g.r.deadline())
}

func TestIdleRestart(t *testing.T) {
	g := newRig(t, true, true)
	g.r.cc.cwnd = 100_000
	g.send(1)
	g.after(100 * msec).ack(2)
	g.r.onIdle(g.after(50 * msec).now)
	require.Equal(t, 100_000, g.r.cc.cwnd)
	g.r.onIdle(g.after(sec).now)
	require.Equal(t, 10_000, g.r.cc.cwnd)
}

func TestWindowProbe(t *testing.T) {
	g := newRig(t, true, true)
	before := g.r.rtt
	g.after(sec)
	require.False(t, g.r.full())
	g.r.onWindowProbe(1001, g.now)
	e := ackEvent{Now: g.now, Ack: 1001}
	g.r.onAck(&e)
	require.Equal(t, before, g.r.rtt)
	require.False(t, g.r.outstanding())
}

func TestRecoveryAllocs(t *testing.T) {
	g := newRig(t, true, true)
	echo := func() {
		g.r.full()
		g.r.onSend(g.r.board.nxt+64, g.now)
		g.r.deadline()
		g.now += msec
		e := ackEvent{Now: g.now, Ack: g.r.board.nxt}
		g.r.onAck(&e)
	}
	echo()
	require.Zero(t, testing.AllocsPerRun(1000, echo))
}

func BenchmarkRecoveryEcho(b *testing.B) {
	g := newRig(nil, true, true)
	for b.Loop() {
		g.r.full()
		if g.r.allowance() < 64 {
			b.Fatal()
		}
		g.r.onSend(g.r.board.nxt+64, g.now)
		g.r.deadline()
		g.now += msec
		e := ackEvent{Now: g.now, Ack: g.r.board.nxt, HasEcho: true, Echo: 5}
		g.r.onAck(&e)
	}
}

func BenchmarkRecoveryBulk(b *testing.B) {
	g := newRig(nil, true, true)
	g.r.cc.cwnd = 1 << 20
	for b.Loop() {
		for range 2 {
			g.r.full()
			g.r.onSend(g.r.board.nxt+1000, g.now)
		}
		g.r.deadline()
		g.now += usec
		if n := g.r.board.nxt.Since(g.r.board.una); n > 500_000 {
			e := ackEvent{Now: g.now, Ack: g.r.board.una + 2000, HasEcho: true, Echo: 5}
			g.r.onAck(&e)
		}
	}
}

// What was sent during a recovery and is lost begins the next one.
func TestNextRecovery(t *testing.T) {
	g := newRig(t, true, true)
	g.r.cc.cwnd = 20_000
	g.send(10)
	g.after(100*msec).ack(1, 2, 5)
	require.Equal(t, []int{1}, g.resend())
	rto := g.now + g.r.rtt.timeout()
	require.Equal(t, rto, g.r.rtoAt, "sending SND.UNA again restarts the timer")
	g.after(10 * msec)
	g.send(16)
	g.after(10*msec).ack(1, 2, 10)
	g.after(100*msec).ack(11, 13, 16)
	require.Equal(t, stateRecovery, g.r.state)
	require.Equal(t, seq(17_000), g.r.point)
	require.Equal(t, []int{11, 12}, g.resend())
	require.Less(t, g.r.cc.ssthresh, 14_000, "reduced again")
}

// RFC 6582 without a recovery before: the very first segment may be lost.
func TestNewRenoFirst(t *testing.T) {
	g := newRig(t, false, false)
	g.send(5)
	g.after(100 * msec)
	for range 3 {
		g.ack(1)
	}
	require.Equal(t, []int{1}, g.resend())
}

func TestOneProbe(t *testing.T) {
	g := newRig(t, true, true)
	g.send(3)
	g.now = g.r.deadline()
	require.Equal(t, doProbe, g.r.onTimeout(g.now))
	g.r.onResend(3000, g.now, g.stamp())
	g.r.onProbe(g.now, true)
	g.send(4)
	require.Zero(t, g.r.probeAt, "until the first is answered")
	g.after(100*msec).ack(4, 1, 1) // a duplicate, but not of the probe
	require.True(t, g.r.probed)
	g.ack(4, 3, 3)
	require.False(t, g.r.probed)
}
