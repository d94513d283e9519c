// Package clock tells the monotonic time for less than a call of the operating system costs.
package clock

import (
	"math/bits"
	"os"
	"strings"
	"time"
)

const (
	// span is how long the time is taken from the processor's counter alone.
	span = int64(time.Millisecond)
	// quick is how many counts a reading of the system's clock may take to be trusted; longer ones were interrupted.
	quick = 1 << 14
	tries = 4
)

// Clock is a monotonic clock, for one thread at a time. Where the kernel relies on the processor's time stamp counter,
// so does the Clock between two looks at the system's clock, a millisecond apart; it then goes wrong by less than a
// microsecond. Elsewhere it is the system's clock.
type Clock struct {
	start   time.Time
	counter bool   // there is one to rely on
	at      uint64 // counter at the last look
	ns      int64  // the time then
	rate    uint64 // nanoseconds per count, times 2^32; 0: not known yet
	until   uint64 // counts after `at` for which rate holds
	last    int64  // what Now returned last
}

// New makes a clock that starts at zero.
func New() *Clock {
	source, _ := os.ReadFile("/sys/devices/system/clocksource/clocksource0/current_clocksource")
	c := &Clock{start: time.Now(), counter: strings.TrimSpace(string(source)) == "tsc"}
	if c.counter {
		c.at, c.ns, _ = c.look()
	}
	return c
}

// Now is the time in nanoseconds since New. It never goes back.
func (c *Clock) Now() int64 {
	if d := Count() - c.at; d < c.until {
		hi, lo := bits.Mul64(d, c.rate)
		if now := c.ns + int64(hi<<32|lo>>32); now > c.last {
			c.last = now
		}
		return c.last
	}
	return c.synchronize()
}

// synchronize looks at the system's clock.
func (c *Clock) synchronize() int64 {
	if !c.counter {
		return int64(time.Since(c.start))
	}
	at, ns, ok := c.look()
	c.last = max(c.last, ns)
	if !ok || ns-c.ns < span {
		return c.last // with what is known, or nothing yet
	}
	c.rate, c.until = pace(uint64(ns-c.ns), at-c.at)
	c.at, c.ns = at, ns
	return c.last
}

// pace is the rate of a counter that has counted so far in the nanoseconds that have passed, and for how many counts it
// holds: none if that is no clock.
func pace(passed, counts uint64) (rate, until uint64) {
	if counts <= passed>>6 || counts >= passed<<6 {
		return 0, 0
	}
	rate, _ = bits.Div64(passed>>32, passed<<32, counts)
	hi, lo := bits.Mul64(counts, uint64(span))
	until, _ = bits.Div64(hi, lo, passed)
	return rate, until
}

// look reads both clocks at once, as nearly as can be.
func (c *Clock) look() (at uint64, ns int64, ok bool) {
	for range tries {
		before := Count()
		ns = int64(time.Since(c.start))
		if at = Count(); at-before < quick {
			return before + (at-before)/2, ns, true
		}
	}
	return at, ns, false
}
