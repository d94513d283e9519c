package tcp

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	usec = int64(1000)
	msec = 1000 * usec
	sec  = 1000 * msec
)

func TestRTT(t *testing.T) {
	var r rtt
	r.init(sec, 10*msec, 60*sec)
	require.Equal(t, sec, r.timeout())
	require.Zero(t, r.minimum())
	r.sample(100*msec, 0)
	require.Equal(t, 100*msec, r.srtt)
	require.Equal(t, 50*msec, r.rttvar)
	require.Equal(t, 300*msec, r.timeout())
	r.sample(180*msec, 0)
	require.Equal(t, 110*msec, r.srtt)      // 7/8 * 100 + 1/8 * 180
	require.Equal(t, 57500*usec, r.rttvar)  // 3/4 * 50 + 1/4 * 80
	require.Equal(t, 340*msec, r.timeout()) // 110 + 4 * 57.5
	require.Equal(t, 100*msec, r.minimum())
	r.backOff()
	require.Equal(t, 680*msec, r.timeout())
	for range 100 {
		r.backOff()
	}
	require.Equal(t, 60*sec, r.timeout())
	for range 200 {
		r.sample(100*msec, 0)
	}
	require.InDelta(t, 110*msec, r.timeout(), float64(msec), "srtt + the minimum")
	for range 200 {
		r.sample(0, 0)
	}
	require.Positive(t, r.srtt)
	require.InDelta(t, 10*msec, r.timeout(), float64(msec))
	r.sample(1000*sec, 0)
	require.Equal(t, 60*sec, r.timeout())
}

func TestRTTMinimum(t *testing.T) {
	var r rtt
	r.init(sec, 10*msec, 60*sec)
	at := sec
	r.sample(3*msec, at)
	for range 10 {
		at += sec / 2
		r.sample(5*msec, at)
	}
	require.Equal(t, 3*msec, r.minimum())
	for range 50 {
		at += sec / 2
		r.sample(5*msec, at)
	}
	require.Equal(t, 5*msec, r.minimum(), "the old minimum is forgotten")
}
