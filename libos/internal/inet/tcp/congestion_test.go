package tcp

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// avoid acknowledges whole windows, one each rtt, for d ns.
func avoid(c *congestion, now *int64, d, rtt int64) {
	for end := *now + d; *now < end; {
		for n := c.cwnd; n > 0; n -= 2 * c.mss {
			c.grow(min(n, 2*c.mss), c.cwnd, *now, rtt)
		}
		*now += rtt
	}
}

func TestSlowStart(t *testing.T) {
	var c congestion
	c.init(Cubic, 1000)
	require.Equal(t, 10_000, c.cwnd)
	c.grow(2000, 10_000, 1, msec)
	require.Equal(t, 12_000, c.cwnd)
	c.grow(2000, 5000, 1, msec)
	require.Equal(t, 12_000, c.cwnd, "not limited by the window")
	c.ssthresh = 13_000
	c.algorithm = Reno
	c.grow(2000, 12_000, 1, msec)
	require.Equal(t, 13_000, c.cwnd, "slow start ends at the threshold")
	require.Equal(t, 1000, c.credit)
}

func TestReno(t *testing.T) {
	var c congestion
	c.init(Reno, 1000)
	c.cwnd = 40_000
	c.reduce(40_000)
	require.Equal(t, 20_000, c.ssthresh)
	c.cwnd = c.ssthresh
	now := sec
	avoid(&c, &now, 100*10*msec, 10*msec)
	require.InDelta(t, 120_000, c.cwnd, 2000, "one segment for each round trip")
	c.reduce(1000)
	require.Equal(t, 2000, c.ssthresh, "at least two segments")
	c.undo()
	require.InDelta(t, 120_000, c.cwnd, 2000)
	require.Equal(t, 20_000, c.ssthresh)
}

// The window is C (t - K)^3 + Wmax, with K the cube root of Wmax (1 - beta) / C (RFC 9438, 4.2).
func TestCubicCurve(t *testing.T) {
	var c congestion
	c.init(Cubic, 1000)
	c.cwnd = 10_000_000
	c.reduce(c.cwnd)
	require.Equal(t, 7_000_000, c.ssthresh)
	c.cwnd = c.ssthresh
	k := math.Cbrt(10_000 * 0.3 / 0.4)
	now := sec
	for now < 28*sec {
		avoid(&c, &now, sec/2, 50*msec)
		at := float64(now-sec) / 1e9
		want := 0.4*math.Pow(at-k, 3) + 10_000
		require.InEpsilon(t, want, float64(c.cwnd)/1000, 0.01, "%v s", at)
	}
}

func TestCubicFriendly(t *testing.T) {
	var c congestion
	c.init(Cubic, 1000)
	c.cwnd = 20_000
	c.reduce(c.cwnd)
	c.cwnd = c.ssthresh
	now := sec
	avoid(&c, &now, 11*msec, msec)
	// Alpha is 0.53 segments for each round trip until the old window is reached, and then 1.
	require.InDelta(t, 14_000+11*529, c.cwnd, 500)
	before := c.cwnd
	avoid(&c, &now, 20*msec, msec)
	require.InDelta(t, before+20_000, c.cwnd, 1500)
}

func TestCubicFastConvergence(t *testing.T) {
	var c congestion
	c.init(Cubic, 1000)
	c.cwnd = 1_000_000
	c.reduce(c.cwnd)
	require.InDelta(t, 1000, c.cubic.wMax, 1e-6)
	c.cwnd = 800_000
	c.reduce(c.cwnd)
	require.InDelta(t, 800*0.85, c.cubic.wMax, 1e-6)
	require.Equal(t, 560_000, c.ssthresh)
}

func TestCubicIdle(t *testing.T) {
	var c, d congestion
	for _, x := range []*congestion{&c, &d} {
		x.init(Cubic, 1000)
		x.cwnd = 1_000_000
		x.reduce(x.cwnd)
		x.cwnd = x.ssthresh
	}
	now, then := sec, sec
	avoid(&c, &now, 5*sec, 100*msec)
	avoid(&d, &then, sec, 100*msec)
	for range 100 { // the window is not used for 10 s
		d.grow(1000, 1000, then, 100*msec)
		then += 100 * msec
	}
	avoid(&d, &then, 4*sec, 100*msec)
	require.InEpsilon(t, c.cwnd, d.cwnd, 0.01)
	d.restart()
	require.Equal(t, 10_000, d.cwnd)
}

func TestCubicLarge(t *testing.T) {
	var c congestion
	c.init(Cubic, 1448)
	c.cwnd, c.ssthresh = maxWindow-10_000, 1000
	now := sec
	for range 1000 {
		c.grow(1<<20, c.cwnd, now, msec)
		now += sec
		require.LessOrEqual(t, c.cwnd, maxWindow)
	}
	require.Equal(t, maxWindow, c.cwnd)
	c.setMSS(500)
	c.cwnd = 10
	c.setMSS(600)
	require.Equal(t, 600, c.cwnd)
}

// RFC 6937, section 3.1: one lost of 20 segments, ssthresh 10: a segment leaves for every other ACK.
func TestPRRExample(t *testing.T) {
	var p prr
	const mss, ssthresh = 1000, 10_000
	p.enter(20_000, 0, 1000, 1000)
	require.Equal(t, 20_000, p.recoverFS)
	pipe, sent := 18_000, 0 // one SACKed, one lost
	for ack := range 18 {
		cwnd := p.onAck(1000, pipe, ssthresh, mss, false)
		for cwnd-pipe >= mss {
			pipe += mss
			p.out += mss
			sent++
		}
		if ack == 0 {
			require.Equal(t, 1, sent, "the retransmission leaves at once")
		}
		require.InDelta(t, float64(ack+1)/2, sent, 1)
		if ack < 17 {
			pipe -= mss
		}
	}
	require.InDelta(t, ssthresh, pipe, 2*mss)

	// 3.2: losses have taken pipe below ssthresh: PRR grows it back, by a segment more for each safe ACK.
	p.enter(20_000, 0, 1000, 1000)
	require.Equal(t, 5000, p.onAck(1000, 4000, ssthresh, mss, false))
	p.out += mss
	require.Equal(t, 6000, p.onAck(1000, 4000, ssthresh, mss, true))
	p.out += 2 * mss
	require.Equal(t, ssthresh, p.onAck(5000, 9000, ssthresh, mss, true), "not beyond ssthresh")
	require.Equal(t, 9000, p.onAck(0, 9000, 9000, mss, true))
}

func TestHyStart(t *testing.T) {
	var c congestion
	c.init(Cubic, 1000)
	round := func(d int64) {
		for i := range 10 {
			c.sample(d, i == 0)
		}
	}
	round(20 * msec)
	round(20 * msec)
	require.Equal(t, 8000, c.hystart.limit(100_000, 1000))
	round(23 * msec) // by less than 4 ms
	require.Zero(t, c.hystart.baseline)
	round(30 * msec)
	require.Equal(t, 30*msec, c.hystart.baseline)
	require.Equal(t, 2000, c.hystart.limit(100_000, 1000), "conservative slow start")
	round(29 * msec)
	require.Zero(t, c.hystart.baseline, "it was not a queue")
	round(40 * msec)
	for range hystartRounds {
		require.True(t, c.firstSlowStart())
		round(41 * msec)
	}
	require.Equal(t, c.cwnd, c.ssthresh)
	require.False(t, c.slowStart())
}
