package tcp

// minWindow is how long a minimum of the RTT is believed, in ns; it may live twice as long.
const minWindow = 10_000_000_000

// rtt estimates the round-trip time (RFC 6298) and its minimum of late.
type rtt struct {
	srtt, rttvar int64 // ns; srtt 0: no sample yet
	rto          int64 // without back-off
	// The minimum of the window under way, which began at windowAt, and that of the one before.
	min, lastMin, windowAt int64
	minRTO, maxRTO         uint32 // µs
	backoff                uint8  // doublings of the RTO
}

const microsecond = 1000

// init sets the bounds of the RTO; initial is the RTO before the first sample (RFC 6298: 1 s; 3 s after a lost SYN).
func (r *rtt) init(initial, minRTO, maxRTO int64) {
	*r = rtt{rto: initial, minRTO: micros(minRTO), maxRTO: micros(maxRTO)}
}

// sample takes in a measured round trip (never of a retransmitted segment, by Karn, unless timestamps tell) and ends
// the back-off.
func (r *rtt) sample(d, now int64) {
	d = max(d, 1)
	r.backoff = 0
	if r.srtt == 0 {
		r.srtt, r.rttvar = d, d/2 // RFC 6298, 2.2
	} else {
		e := d - r.srtt // 2.3, alpha 1/8, beta 1/4
		r.srtt = max(1, r.srtt+e>>3)
		if e < 0 {
			e = -e
		}
		r.rttvar += (e - r.rttvar) >> 2
	}
	// The minimum bounds the part for the variance and not the sum: what it is there for, delayed ACKs, adds to the
	// round trip however long that is.
	r.rto = min(r.srtt+max(4*r.rttvar, microsecond*int64(r.minRTO)), r.limit())
	r.sampleMin(d, now)
}

// sampleMin takes in a sample that is good for the minimum only.
func (r *rtt) sampleMin(d, now int64) {
	if now-r.windowAt >= minWindow || r.min == 0 {
		r.lastMin, r.min, r.windowAt = r.min, d, now
	}
	r.min = min(r.min, d)
}

// limit is the largest RTO.
func (r *rtt) limit() int64 { return microsecond * int64(r.maxRTO) }

func micros(d int64) uint32 { return uint32(min(d/microsecond, 1<<32-1)) }

// timeout is the RTO with back-off.
func (r *rtt) timeout() int64 {
	if r.backoff == 0 {
		return r.rto
	}
	if t := r.rto << r.backoff; t>>r.backoff == r.rto {
		return min(t, r.limit())
	}
	return r.limit()
}

// backOff doubles the timeout (RFC 6298, 5.5).
func (r *rtt) backOff() {
	if r.backoff < 31 {
		r.backoff++
	}
}

// endBackOff is called when an ACK shows that the path works though no sample could be taken.
func (r *rtt) endBackOff() { r.backoff = 0 }

// minimum is the smallest sample of late, 0 if there was none.
func (r *rtt) minimum() int64 {
	if r.lastMin != 0 {
		return min(r.lastMin, r.min)
	}
	return r.min
}
