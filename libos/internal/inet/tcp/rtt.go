package tcp

// rtt estimates the round-trip time (RFC 6298) and its minimum of late.
type rtt struct {
	srtt, rttvar   int64 // ns; srtt 0: no sample yet
	rto            int64 // without back-off
	minRTO, maxRTO int64
	latest         int64
	backoff        uint8 // doublings of the RTO
	min            windowedMin
}

// windowedMin is the minimum over the last minWindow ns.
type windowedMin struct {
	best [3]struct{ rtt, at int64 }
}

// init sets the bounds of the RTO; initial is the RTO before the first sample (RFC 6298: 1 s; 3 s after a lost SYN).
func (r *rtt) init(initial, minRTO, maxRTO int64) { panic("todo") }

// sample takes in a measured round trip (never of a retransmitted segment, by Karn, unless timestamps tell) and ends
// the back-off.
func (r *rtt) sample(d, now int64) { panic("todo") }

// timeout is the RTO with back-off.
func (r *rtt) timeout() int64 { panic("todo") }

// backOff doubles the timeout (RFC 6298, 5.5).
func (r *rtt) backOff() { panic("todo") }

// endBackOff is called when an ACK shows that the path works though no sample could be taken.
func (r *rtt) endBackOff() { r.backoff = 0 }

// minimum is the smallest sample of late, 0 if there was none.
func (r *rtt) minimum() int64 { panic("todo") }
