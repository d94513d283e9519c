package tcp

import (
	"bytes"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/runtime/abi"
)

func TestTransfer(t *testing.T) {
	for _, n := range []int{1, 100, 1448, 1449, 100_000, 3 << 20, 64 << 20} {
		if testing.Short() && n > 4<<20 {
			continue
		}
		r := newLab(t, Config{}, Config{Congestion: "reno"})
		a, b := r.pair()
		data := pattern(n)
		a.write(data)
		b.write(data)
		r.until(20*second, func() bool { return len(a.got) >= n && len(b.got) >= n })
		require.True(t, bytes.Equal(data, a.got))
		require.True(t, bytes.Equal(data, b.got))
		assert.Zero(t, r.a.Counters.Retransmits+r.b.Counters.Retransmits)
		a.c.Close()
		r.until(second, func() bool { return len(b.ended) == 1 })
		b.c.Close()
		r.run(second)
		assert.EqualValues(t, 1, r.a.Counters.TimeWaits)
		assert.Zero(t, r.b.Counters.TimeWaits)
		r.run(70 * second)
		for _, e := range []*end{r.a, r.b} {
			assert.Zero(t, e.Counters.TimeWaits)
			assert.Zero(t, e.Counters.Established)
			assert.Zero(t, e.Counters.Orphans)
			assert.Zero(t, e.table.n)
			assert.Zero(t, e.conns.n)
			assert.Zero(t, e.timers.Len())
		}
	}
}

func TestRefused(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	a := r.connect()
	r.run(second)
	assert.Equal(t, []abi.Errno{syscall.ECONNREFUSED}, a.connected)
	assert.Equal(t, Closed, a.c.State())
}
