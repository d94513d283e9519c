package tcp

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func peekAll(r *ring, off, n int) []byte {
	a, b := r.peek(off, n)
	return append(append([]byte{}, a...), b...)
}

func TestRingModel(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		var b blocks
		var r ring
		var model []byte
		limit := 1 + rnd.IntN(40<<10)
		for range 300 {
			switch rnd.IntN(3) {
			case 0:
				p := make([]byte, rnd.IntN(1<<rnd.IntN(14)))
				for i := range p {
					p[i] = byte(rnd.Uint32())
				}
				n := r.write(&b, p, limit)
				require.Equal(t, max(0, min(len(p), limit-len(model))), n)
				model = append(model, p[:n]...)
			case 1:
				n := rnd.IntN(len(model) + 1)
				if rnd.IntN(4) == 0 {
					n = len(model)
				}
				r.discard(&b, n, false)
				model = model[n:]
			case 2:
				off := rnd.IntN(len(model) + 1)
				n := rnd.IntN(len(model) - off + 1)
				require.Equal(t, append([]byte{}, model[off:off+n]...), peekAll(&r, off, n))
			}
			require.Equal(t, len(model), r.len())
			require.Equal(t, min(1, len(model)), min(1, b.count), "no block while empty")
		}
		r.release(&b)
		require.Zero(t, b.count)
		require.Zero(t, b.used)
		b.close()
	}
}

// A receiver: segments in any order and overlapping, read as they become contiguous.
func TestRingOutOfOrder(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		var b blocks
		var r ring
		var a assembler
		data := make([]byte, 50_000)
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		next, read := 0, 0 // RCV.NXT, and how far the program has read
		for next < len(data) {
			window := read + 20_000 - next
			from := next
			if window > 1 && rnd.IntN(2) == 0 {
				from = min(len(data)-1, next+rnd.IntN(window))
			}
			to := min(len(data), from+rnd.IntN(1500)+1, read+20_000)
			reach := r.len() + a.reach(seq(next)).Since(seq(next))
			switch {
			case to <= from:
			case from == next:
				require.True(t, r.writeAt(&b, r.len(), data[from:to], reach))
				end := int(a.advance(seq(to)))
				r.commit(end - next)
				next = end
			case a.add(seq(from), seq(to)):
				require.True(t, r.writeAt(&b, r.len()+from-next, data[from:to], reach))
			}
			n := rnd.IntN(r.len() + 1)
			require.Equal(t, data[read:read+n], peekAll(&r, 0, n))
			read += n
			r.discard(&b, n, !a.empty())
		}
		require.Equal(t, data[read:], peekAll(&r, 0, r.len()))
		r.discard(&b, r.len(), false)
		require.Zero(t, b.count)
		b.close()
	}
}

func TestBlocksLimit(t *testing.T) {
	b := blocks{limit: 4096 + 2*minBlock}
	x, y := b.get(1), b.get(4096)
	require.Len(t, x, minBlock)
	require.Len(t, y, 4096)
	require.Nil(t, b.get(4096))
	var r ring
	require.Equal(t, minBlock, r.write(&b, make([]byte, 10_000), 1<<20), "as much as there is memory for")
	require.Zero(t, r.write(&b, make([]byte, 10), 1<<20))
	require.False(t, r.writeAt(&b, 4000, make([]byte, 10), 2048))
	b.put(x)
	b.put(y)
	require.Nil(t, b.get(maxBlock+1))
	require.Equal(t, minBlock, r.write(&b, make([]byte, 10_000), 8000), "while a larger block is filled the old one is in use")
	r.release(&b)
	require.Zero(t, b.count)
	require.Zero(t, b.used)
	b.close()
}

func TestRingAllocs(t *testing.T) {
	var b blocks
	var r ring
	p := make([]byte, 64)
	big := make([]byte, 100_000)
	echo := func() {
		r.write(&b, p, 1<<20)
		r.discard(&b, 64, false)
		r.write(&b, big, 1<<20)
		r.write(&b, big, 1<<20)
		r.discard(&b, 200_000, false)
	}
	echo()
	require.Zero(t, testing.AllocsPerRun(100, echo))
	b.close()
}

func BenchmarkRingEcho(b *testing.B) {
	var bl blocks
	var r ring
	p := make([]byte, 64)
	for b.Loop() {
		r.write(&bl, p, 1<<20)
		r.peek(0, 64)
		r.discard(&bl, 64, false)
	}
	bl.close()
}
