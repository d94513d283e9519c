package tcp

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
)

// exchange sends n bytes both ways through impairments, closes, and looks for what was left behind.
func exchange(t *testing.T, seed uint64, n int, im link.Impairment, ca, cb Config) (took int64) {
	r := newLossyLab(t, seed, im, ca, cb)
	b := r.listen(16)
	a := r.connect()
	data := pattern(n)
	b.send = data
	a.write(data)
	start := r.now
	defer func() {
		if t.Failed() {
			var i Info
			a.c.Info(&i)
			t.Logf("a: %+v got %d left %d conn %v ended %v flags %x", i, len(a.got), len(a.send), a.connected, a.ended, a.c.flags)
			if b.c != nil {
				b.c.Info(&i)
				t.Logf("b: %+v got %d left %d ended %v flags %x", i, len(b.got), len(b.send), b.ended, b.c.flags)
			}
			t.Logf("n %d now %d\na: %+v\nb: %+v", n, r.now, r.a.Counters, r.b.Counters)
		}
	}()
	r.until(2000*second, func() bool {
		if b.c != nil && len(b.send) == n {
			b.pump()
		}
		return len(a.got) >= n && len(b.got) >= n
	})
	took = r.now - start
	require.True(t, bytes.Equal(data, a.got))
	require.True(t, bytes.Equal(data, b.got))
	a.c.Close()
	b.c.Close()
	r.run(1000 * second)
	for _, e := range []*end{r.a, r.b} {
		assert.Zero(t, e.table.n)
		assert.Zero(t, e.conns.n)
		assert.Zero(t, e.blocks.count)
		assert.Zero(t, e.timers.Len())
		assert.Zero(t, e.Counters.Timeouts)
	}
	return took
}

func TestImpairments(t *testing.T) {
	ms := millisecond
	for name, im := range map[string]link.Impairment{
		"loss":      {Loss: 0.05, Delay: 2 * ms},
		"heavy":     {Loss: 0.25, Delay: 1 * ms},
		"duplicate": {Duplicate: 0.2, Delay: 1 * ms},
		"reorder":   {Reorder: 0.2, ReorderBy: 3 * ms, Delay: 2 * ms, Jitter: ms},
		"corrupt":   {Corrupt: 0.05, Delay: ms},
		"all":       {Loss: 0.03, Duplicate: 0.03, Corrupt: 0.03, Reorder: 0.03, ReorderBy: ms, Delay: ms, Jitter: ms},
		"slow":      {Rate: 10_000_000, Queue: 30_000, Delay: 5 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(6) {
				var ca, cb Config
				switch seed % 6 {
				case 1:
					ca.Congestion = "reno"
				case 2:
					cb.NoSACK = true
				case 3:
					ca.NoTimestamps = true
				case 4:
					ca.Nagle, cb.NoScale = true, true
				case 5:
					ca.ReceiveBuffer, cb.SendBuffer = 20000, 10000
				}
				n := 150_000
				if seed == 0 {
					n = 1_000_000
				}
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					took := exchange(t, seed, n, im, ca, cb)
					t.Logf("%d bytes: %.3f s", n, float64(took)/1e9)
				})
			}
		})
	}
}
