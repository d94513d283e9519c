package tcp

// Algorithm is a congestion control.
type Algorithm uint8

// Congestion controls.
const (
	Cubic Algorithm = iota
	Reno
)

const (
	maxWindow     = 1 << 30
	initialWindow = 10 // segments (RFC 6928)
)

// congestion is congestion control in bytes: slow start, congestion avoidance by CUBIC or Reno, and proportional rate
// reduction in recovery. It is used through recovery.
type congestion struct {
	mss       int
	cwnd      int
	ssthresh  int
	lastGrow  int64 // time of the last ACK outside recovery
	algorithm Algorithm

	credit   int     // bytes acknowledged that have not yet grown the window (Reno)
	fraction float64 // of cwnd, in segments (CUBIC)
	cubic    cubic
	prr      prr
	hystart  hystart

	// To undo the last reduction.
	priorCwnd, priorSsthresh int
	priorCubic               cubic
}

func (c *congestion) init(a Algorithm, mss int) {
	*c = congestion{algorithm: a, mss: mss, cwnd: initialWindow * mss, ssthresh: maxWindow}
	c.hystart.init()
}

// setMSS keeps the window in segments at least the smallest there is.
func (c *congestion) setMSS(mss int) {
	c.mss = mss
	c.cwnd = max(c.cwnd, mss)
}

// slowStart tells whether the window is below the threshold.
func (c *congestion) slowStart() bool { return c.cwnd < c.ssthresh }

// grow is for an ACK of acked bytes outside recovery, when before it flight bytes were in flight.
func (c *congestion) grow(acked, flight int, now, srtt int64) {
	pause := now - c.lastGrow
	c.lastGrow = now
	if c.slowStart() {
		if !c.limits(flight) {
			return
		}
		n := min(acked, c.ssthresh-c.cwnd)
		if c.firstSlowStart() {
			n = c.hystart.limit(n, c.mss)
		}
		c.cwnd = min(c.cwnd+n, maxWindow)
		if acked -= n; c.slowStart() {
			return
		}
	}
	if flight+c.mss < c.cwnd {
		if c.cubic.epochStart != 0 {
			c.cubic.epochStart += pause // RFC 9438, 5.8: the curve stands still while the window is not used
		}
		return
	}
	if c.algorithm == Reno {
		c.renoGrow(acked)
	} else {
		c.cubicGrow(acked, now, srtt)
	}
}

// growAfterTimeout is for an ACK between a retransmission timeout and the end of what was outstanding then.
func (c *congestion) growAfterTimeout(delivered int) {
	c.cwnd = max(c.cwnd, min(c.cwnd+delivered, c.ssthresh))
}

// firstSlowStart tells that nothing was ever lost.
func (c *congestion) firstSlowStart() bool { return c.ssthresh == maxWindow }

// limits tells whether the window, in slow start, is what holds the sender back, when flight bytes were in flight.
func (c *congestion) limits(flight int) bool { return 2*flight >= c.cwnd }

// sample takes in a round trip of the first slow start; round says that it is the first one of a new round.
func (c *congestion) sample(d int64, round bool) {
	if round && c.hystart.round() {
		c.ssthresh = c.cwnd
		return
	}
	c.hystart.sample(d)
}

// reduce sets ssthresh after a loss, with flight bytes outstanding, and remembers what was. Where SACKed data is part
// of the flight it may be far more than the window.
func (c *congestion) reduce(flight int) {
	flight = min(flight, c.cwnd)
	c.priorCwnd, c.priorSsthresh, c.priorCubic = c.cwnd, c.ssthresh, c.cubic
	if c.algorithm == Reno {
		c.ssthresh = flight / 2
	} else {
		c.ssthresh = c.cubicReduce(flight)
	}
	c.ssthresh = max(c.ssthresh, 2*c.mss)
	c.credit, c.fraction = 0, 0
}

// collapse is for the retransmission timeout, with pipe bytes still in flight: one segment may leave (RFC 5681, 3.1).
func (c *congestion) collapse(pipe int) {
	c.cwnd = pipe + c.mss
	c.fraction = 0
}

// undo restores what was before reduce.
func (c *congestion) undo() {
	c.cwnd, c.ssthresh, c.cubic = max(c.cwnd, c.priorCwnd), max(c.ssthresh, c.priorSsthresh), c.priorCubic
	c.fraction = 0
}

// restart is for the end of an idle period that was longer than the RTO (RFC 5681, 4.1).
func (c *congestion) restart() {
	c.cwnd = min(c.cwnd, initialWindow*c.mss)
	c.fraction = 0
}
