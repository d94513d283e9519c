package tcp

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// A peer that acknowledges and SACKs what it likes: nothing breaks, and an honest ACK ends it.
func TestRecoveryHostile(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 6))
		g := newRig(t, rnd.IntN(4) > 0, rnd.IntN(2) == 0)
		g.b.limit = 1 << rnd.IntN(24)
		g.r.cc.algorithm = Algorithm(rnd.IntN(2))
		start := wire.Seq(rnd.Uint32())
		g.r.start(start, 1000, g.r.sackOK, g.r.timestamps, g.now)
		near := func() wire.Seq { // somewhere about what is outstanding
			b := &g.r.board
			return b.una + wire.Seq(rnd.IntN(b.nxt.Since(b.una)+2000)) - 1000
		}
		for range 300 {
			g.now += rnd.Int64N(1 << rnd.IntN(32))
			for rnd.IntN(5) > 0 && !g.r.full() && (g.r.allowance() >= g.r.cc.mss || g.r.inFlight() == 0) {
				g.r.onSend(g.r.board.nxt+wire.Seq(1+rnd.IntN(g.r.cc.mss)), g.now)
			}
			switch rnd.IntN(12) {
			case 0:
				g.r.setMSS(50 + rnd.IntN(3000))
			case 1:
				if g.r.deadline() != timer.Never {
					g.now = max(g.now, g.r.deadline())
				}
				if g.r.onTimeout(g.now) == doProbe {
					if start, _, ok := g.r.lastSent(); ok {
						g.r.onResend(start, g.now, rnd.Uint32())
						g.r.onProbe(g.now, true)
					}
				}
			default:
				e := ackEvent{Now: g.now, Ack: g.r.board.una, Data: rnd.IntN(2) == 0, HasEcho: rnd.IntN(2) == 0, Echo: g.stamp() - uint32(rnd.IntN(3000))}
				if n := g.r.board.nxt.Since(g.r.board.una); rnd.IntN(3) == 0 {
					e.Ack += wire.Seq(rnd.IntN(n + 1))
				}
				for range rnd.IntN(5) {
					e.Blocks = append(e.Blocks, sackRange{near(), near()})
				}
				g.r.onAck(&e)
			}
			for rnd.IntN(3) > 0 {
				start, end, ok := g.r.nextLost()
				if !ok {
					break
				}
				require.LessOrEqual(t, end.Since(start), g.r.cc.mss+1)
				g.r.onResend(start, g.now, g.stamp())
			}
			g.r.board.check(t)
			require.GreaterOrEqual(t, g.r.inFlight(), 0)
			require.GreaterOrEqual(t, g.r.cc.cwnd, 0)
			require.LessOrEqual(t, g.r.cc.cwnd, maxWindow)
			require.Positive(t, g.r.rtt.timeout())
			if g.r.outstanding() {
				require.NotEqual(t, timer.Never, g.r.deadline())
			}
		}
		e := ackEvent{Now: g.now, Ack: g.r.board.nxt}
		g.r.onAck(&e)
		require.False(t, g.r.outstanding())
		require.Equal(t, timer.Never, g.r.deadline())
		require.Zero(t, g.b.count)
		g.b.close()
	}
}
