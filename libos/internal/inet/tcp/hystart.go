package tcp

import "github.com/libdmtr/libdmtr/libos/internal/inet/timer"

// hystart leaves slow start when round trips become longer, before anything is lost (HyStart++, RFC 9406).
type hystart struct {
	lastMin, curMin int64 // RTT of the last round and of this one
	baseline        int64 // curMin when conservative slow start began; 0: plain slow start
	samples         uint8 // in this round
	rounds          uint8 // of conservative slow start
}

// Constants of RFC 9406, 4.3.
const (
	hystartMinThresh = 4_000_000
	hystartMaxThresh = 16_000_000
	hystartDivisor   = 8
	hystartSamples   = 8
	hystartGrowth    = 4
	hystartRounds    = 5
	hystartBurst     = 8 // L, without pacing
)

func (h *hystart) init() { *h = hystart{lastMin: timer.Never, curMin: timer.Never} }

// limit bounds the growth by an ACK.
func (h *hystart) limit(acked, mss int) int {
	n := min(acked, hystartBurst*mss)
	if h.baseline != 0 {
		return n / hystartGrowth
	}
	return n
}

// round begins a new round trip. It returns true if slow start is to end now.
func (h *hystart) round() bool {
	h.lastMin, h.curMin, h.samples = h.curMin, timer.Never, 0
	if h.baseline == 0 {
		return false
	}
	h.rounds++
	return h.rounds >= hystartRounds
}

// sample takes in a round trip.
func (h *hystart) sample(d int64) {
	h.curMin = min(h.curMin, d)
	if h.samples < hystartSamples {
		if h.samples++; h.samples < hystartSamples {
			return
		}
	}
	if h.baseline != 0 {
		if h.curMin < h.baseline { // it was not a queue: slow start goes on
			h.baseline, h.rounds = 0, 0
		}
		return
	}
	if h.lastMin == timer.Never || h.curMin == timer.Never {
		return
	}
	thresh := min(max(h.lastMin/hystartDivisor, hystartMinThresh), hystartMaxThresh)
	if h.curMin >= h.lastMin+thresh {
		h.baseline, h.rounds = h.curMin, 0
	}
}
