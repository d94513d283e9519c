package timer

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const ms = int64(1e6)

// record collects what expires.
type record struct {
	fired []*Timer
	times []int64
	then  func(t *Timer, now int64)
}

func (r *record) Expired(t *Timer, now int64) {
	r.fired = append(r.fired, t)
	r.times = append(r.times, now)
	if r.then != nil {
		r.then(t, now)
	}
}

// links counts the timers that are in some list, and checks the links.
func links(t *testing.T, w *Wheel) (n int) {
	t.Helper()
	for i := range w.lists {
		var prev *Timer
		for e := w.lists[i].head; e != nil; prev, e = e, e.next {
			require.Same(t, prev, e.prev)
			require.Equal(t, i, int(e.list)-1)
			n++
		}
		require.Same(t, prev, w.lists[i].tail)
		if i < dueList {
			require.Equal(t, prev != nil, w.filled[i/slots]>>(i%slots)&1 == 1, "bitmap, list %d", i)
		}
	}
	return n
}

func TestExpiresWhenDueAndNotBefore(t *testing.T) {
	for _, d := range []int64{0, 1, 65535, 65536, 65537, ms, 40 * ms, 200 * ms, 60_000 * ms, 7_200_000 * ms, 1 << 60} {
		var r record
		now := 12345 * ms
		w := NewWheel(now)
		x := Timer{Owner: &r}
		assert.Equal(t, Never, w.Next())
		assert.Equal(t, Never, x.At())
		w.Set(&x, now+d)
		assert.True(t, x.Armed())
		assert.Equal(t, now+d, x.At())
		assert.Equal(t, 1, w.Len())
		if d > 0 {
			w.Advance(now + d - 1)
			require.Empty(t, r.fired, "%d: too early", d)
		}
		wakes := 0
		for at := w.Next(); at < now+d; at = w.Next() {
			w.Advance(at)
			wakes++
			require.Less(t, at, w.Next(), "%d: Next must pass the present", d)
		}
		assert.LessOrEqual(t, wakes, digits)
		require.Empty(t, r.fired, "%d: too early", d)
		w.Advance(now + d)
		require.Len(t, r.fired, 1, "%d", d)
		assert.False(t, x.Armed())
		assert.Zero(t, w.Len())
		assert.Zero(t, links(t, w))
	}
}

func TestLaterStopAndRemove(t *testing.T) {
	var r record
	w := NewWheel(0)
	x, y, z := Timer{Owner: &r}, Timer{Owner: &r}, Timer{Owner: &r}
	w.Set(&x, 10*ms)
	w.Set(&y, 10*ms)
	w.Set(&z, 10*ms)
	list := x.list
	w.Set(&x, 30*ms)
	assert.Equal(t, list, x.list, "moved later: stays where it is")
	w.Stop(&y)
	w.Stop(&y)
	w.Remove(&z)
	assert.Equal(t, 1, w.Len())
	assert.Equal(t, 2, links(t, w))
	w.Advance(10 * ms)
	assert.Empty(t, r.fired)
	assert.Equal(t, 1, links(t, w), "the stopped one is gone")
	w.Set(&x, 11*ms)
	w.Advance(11 * ms)
	assert.Equal(t, []*Timer{&x}, r.fired)

	w.Set(&y, 20*ms)
	w.Stop(&y)
	w.Set(&y, 25*ms)
	w.Advance(24 * ms)
	assert.Len(t, r.fired, 1)
	w.Advance(25 * ms)
	assert.Equal(t, []*Timer{&x, &y}, r.fired)
}

func TestOwnersMayDoAnything(t *testing.T) {
	w := NewWheel(0)
	var r record
	ts := make([]Timer, 6)
	for i := range ts {
		ts[i].Owner = &r
		w.Set(&ts[i], ms+int64(i))
	}
	r.then = func(x *Timer, now int64) {
		if x != &ts[0] || len(r.fired) > 1 {
			return
		}
		w.Set(&ts[0], now)    // again at once
		w.Remove(&ts[1])      // due as well
		w.Stop(&ts[2])        // likewise
		w.Set(&ts[3], 9*ms)   // due, and put off
		w.Set(&ts[4], now-ms) // stays due
	}
	w.Advance(2 * ms)
	w.Advance(2 * ms)
	assert.ElementsMatch(t, []*Timer{&ts[0], &ts[0], &ts[4], &ts[5]}, r.fired)
	assert.Equal(t, 1, w.Len())
	w.Advance(9 * ms)
	assert.Same(t, &ts[3], r.fired[len(r.fired)-1])
	assert.Zero(t, links(t, w))

	n := 0
	r.then = func(x *Timer, now int64) {
		n++
		require.Less(t, n, 100, "Advance does not end")
		w.Set(x, now)
	}
	w.Set(&ts[0], 10*ms)
	w.Advance(11 * ms)
	assert.NotZero(t, n)
}

// TestLikeModel compares a wheel with a set of deadlines, over random calls.
func TestLikeModel(t *testing.T) {
	for seed := range uint64(60) {
		fired := againstModel(t, seed)
		assert.Equal(t, fired, againstModel(t, seed), "the order must replay")
	}
}

func againstModel(t *testing.T, seed uint64) (order []int) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	now := rnd.Int64N(1 << 50)
	w := NewWheel(now)
	ts := make([]Timer, 1+rnd.IntN(200))
	model := map[*Timer]int64{}
	last, late := int64(0), false // late: some timer was set to the past
	set := func(x *Timer) {
		at := now + rnd.Int64N(1<<(1+rnd.IntN(44))) - rnd.Int64N(100)
		w.Set(x, at)
		model[x] = at
		late = late || at < now
	}
	var r record
	r.then = func(x *Timer, at int64) {
		want, ok := model[x]
		require.True(t, ok, "seed %d: not armed", seed)
		require.LessOrEqual(t, want, at, "seed %d: early", seed)
		delete(model, x)
		if rnd.IntN(4) == 0 {
			set(&ts[rnd.IntN(len(ts))])
			late = true
		}
		want = max(want, 0) >> tickBits
		if !late {
			require.GreaterOrEqual(t, want, last, "seed %d: out of order", seed)
		}
		last = want
		if rnd.IntN(4) == 0 {
			x := &ts[rnd.IntN(len(ts))]
			w.Stop(x)
			delete(model, x)
		}
		order = append(order, int(want))
	}
	for i := range ts {
		ts[i].Owner = &r
	}
	for range 2000 {
		switch x := &ts[rnd.IntN(len(ts))]; rnd.IntN(6) {
		case 0, 1, 2:
			set(x)
		case 3:
			w.Stop(x)
			delete(model, x)
		case 4:
			w.Remove(x)
			delete(model, x)
			require.Zero(t, x.list)
		case 5:
			least := Never
			for _, at := range model {
				least = min(least, at)
			}
			require.LessOrEqual(t, w.Next(), least, "seed %d", seed)
			if now += rnd.Int64N(1 << (1 + rnd.IntN(40))); rnd.IntN(2) == 0 && least != Never {
				now = max(now, least)
			}
			for last = 0; w.Next() <= now; late = true {
				w.Advance(now) // again for those that owners have set to the past
			}
			late = false
			for _, at := range model {
				require.Greater(t, at, now, "seed %d: not expired", seed)
			}
		}
		require.Equal(t, len(model), w.Len())
	}
	links(t, w)
	for i := range ts {
		w.Remove(&ts[i])
	}
	require.Zero(t, w.Len())
	require.Zero(t, links(t, w), "seed %d: leak", seed)
	return order
}

func TestNoAllocations(t *testing.T) {
	var r record
	w := NewWheel(0)
	ts := make([]Timer, 100)
	for i := range ts {
		ts[i].Owner = quiet{}
	}
	now := int64(0)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		for i := range ts {
			w.Set(&ts[i], now+int64(i)*ms)
			w.Set(&ts[i], now+int64(i)*2*ms)
		}
		w.Stop(&ts[50])
		w.Remove(&ts[51])
		now += 100 * ms
		w.Advance(now)
	}))
	assert.Empty(t, r.fired)
}

type quiet struct{}

func (quiet) Expired(*Timer, int64) {}

// BenchmarkRearm is what a connection does for every packet: put the timer off, with 10,000 others about.
func BenchmarkRearm(b *testing.B) {
	w := NewWheel(0)
	ts := make([]Timer, 10000)
	for i := range ts {
		ts[i].Owner = quiet{}
		w.Set(&ts[i], 200*ms)
	}
	now := int64(0)
	for i := 0; b.Loop(); i++ {
		now += 300
		w.Advance(now)
		x := &ts[i%len(ts)]
		w.Stop(x)
		w.Set(x, now+200*ms)
	}
}
