package clock

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// It runs as the system's clock does, across many looks and pauses.
func TestAgreesWithSystem(t *testing.T) {
	c := New()
	if !c.counter {
		t.Skip("the kernel does not rely on the counter here")
	}
	const allowed = int64(100 * time.Microsecond)
	last, worst, relied := int64(0), int64(0), 0
	for begin := time.Now(); time.Since(begin) < 300*time.Millisecond; {
		before := int64(time.Since(c.start))
		now := c.Now()
		after := int64(time.Since(c.start))
		require.GreaterOrEqual(t, now, last)
		last = now
		if c.rate != 0 {
			relied++
		}
		worst = max(worst, before-now, now-after)
		if relied%5000 == 4999 {
			time.Sleep(3 * time.Millisecond)
		}
	}
	assert.Positive(t, relied)
	assert.Less(t, worst, allowed)
}

// Without a counter it is the system's clock.
func TestWithoutCounter(t *testing.T) {
	c := &Clock{start: time.Now()}
	a := c.Now()
	time.Sleep(time.Millisecond)
	assert.GreaterOrEqual(t, c.Now()-a, int64(time.Millisecond))
	assert.Zero(t, c.rate)
}

// A counter that stands still or races is not relied on.
func TestPace(t *testing.T) {
	rate, until := pace(2e6, 6e6)
	assert.EqualValues(t, uint64(1<<32)/3, rate)
	assert.EqualValues(t, 3e6, until)
	rate, until = pace(1<<50, 3<<50) // after two weeks of silence
	assert.EqualValues(t, uint64(1<<32)/3, rate)
	assert.EqualValues(t, 3e6, until)
	for _, counts := range []uint64{0, 1e6 >> 6, 1 << 60} {
		rate, until = pace(1e6, counts)
		assert.Zero(t, rate)
		assert.Zero(t, until)
	}
}

func TestNoAllocations(t *testing.T) {
	c := New()
	assert.Zero(t, testing.AllocsPerRun(1000, func() { c.Now() }))
}

func BenchmarkNow(b *testing.B) {
	c := New()
	for b.Loop() {
		c.Now()
	}
}

func BenchmarkSystem(b *testing.B) {
	start := time.Now()
	for b.Loop() {
		_ = time.Since(start)
	}
}
