package tcp

import "math"

// Constants of RFC 9438, section 4.6 and after.
const (
	cubicC     = 0.4
	cubicBeta  = 0.7
	cubicAlpha = 3 * (1 - cubicBeta) / (1 + cubicBeta) // 4.3
)

// cubic is the state of CUBIC (RFC 9438); windows are in segments, times in seconds.
type cubic struct {
	wMax       float64
	wEst       float64 // what Reno would have
	cwndPrior  float64 // at the last loss, for wEst
	k          float64
	epochStart int64 // ns; 0: congestion avoidance has not begun since the last loss
}

// cubicGrow is for an ACK of acked bytes in congestion avoidance (4.2 to 4.5).
func (c *congestion) cubicGrow(acked int, now int64, srtt int64) {
	q := &c.cubic
	mss := float64(c.mss)
	cwnd := float64(c.cwnd)/mss + c.fraction
	if q.epochStart == 0 {
		q.epochStart = now
		if q.wMax < cwnd {
			q.wMax, q.k = cwnd, 0 // 4.8, 4.10
		} else {
			q.k = math.Cbrt((q.wMax - cwnd) / cubicC)
		}
		q.wEst = cwnd
	}
	segs := float64(acked) / mss

	// The Reno-friendly region.
	alpha := cubicAlpha
	if q.wEst >= q.cwndPrior {
		alpha = 1
	}
	q.wEst += alpha * segs / cwnd

	t := float64(now-q.epochStart)/1e9 - q.k
	if cubicC*t*t*t+q.wMax < q.wEst {
		if q.wEst > cwnd {
			c.setWindow(q.wEst)
		}
		return
	}
	// The target is the window one round trip from now.
	t += float64(srtt) / 1e9
	target := min(max(cubicC*t*t*t+q.wMax, cwnd), 1.5*cwnd)
	c.setWindow(cwnd + (target-cwnd)/cwnd*segs)
}

// cubicReduce returns the new ssthresh after a loss, and remembers the window (4.6, 4.7).
func (c *congestion) cubicReduce(flight int) int {
	q := &c.cubic
	cwnd := float64(c.cwnd) / float64(c.mss)
	q.epochStart = 0
	q.cwndPrior = cwnd
	if cwnd < q.wMax {
		q.wMax = cwnd * (1 + cubicBeta) / 2 // fast convergence
	} else {
		q.wMax = cwnd
	}
	return int(float64(flight) * cubicBeta)
}

// setWindow sets the congestion window to so many segments and keeps the fraction of a byte.
func (c *congestion) setWindow(segs float64) {
	bytes := segs * float64(c.mss)
	c.cwnd = int(min(bytes, maxWindow))
	c.fraction = (bytes - float64(c.cwnd)) / float64(c.mss)
	if c.cwnd == maxWindow {
		c.fraction = 0
	}
}
