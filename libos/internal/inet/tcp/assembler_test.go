package tcp

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// naiveAssembler keeps one flag and one time per byte.
type naiveAssembler struct {
	base wire.Seq
	next int   // RCV.NXT - base
	came []int // when each byte came last, 0: not yet
}

// runs are the ranges beyond next, latest first.
func (m *naiveAssembler) runs() (out []sackRange) {
	type run struct{ from, to, at int }
	var all []run
	for i := m.next; i < len(m.came); i++ {
		if m.came[i] == 0 {
			continue
		}
		r := run{i, i, 0}
		for ; i < len(m.came) && m.came[i] != 0; i++ {
			r.to, r.at = i+1, max(r.at, m.came[i])
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(x, y run) int { return y.at - x.at })
	for _, r := range all {
		out = append(out, sackRange{m.base + wire.Seq(r.from), m.base + wire.Seq(r.to)})
	}
	return out
}

func TestAssemblerModel(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		size := 20 + rnd.IntN(400)
		m := naiveAssembler{base: wire.Seq(rnd.Uint32()), came: make([]int, size)}
		if seed%2 == 0 {
			m.base = wire.Seq(0) - wire.Seq(size/2) // wraps in the middle
		}
		var a assembler
		for at := 1; m.next < size; at++ {
			from := m.next
			if rnd.IntN(3) > 0 && m.next+1 < size {
				from += 1 + rnd.IntN(size-m.next-1)
			}
			to := min(size, from+1+rnd.IntN(20))
			for i := from; i < to; i++ {
				m.came[i] = at
			}
			start, end := m.base+wire.Seq(from), m.base+wire.Seq(to)
			if from == m.next {
				for m.next < size && m.came[m.next] != 0 {
					m.next++
				}
				require.Equal(t, m.base+wire.Seq(m.next), a.advance(end))
			} else {
				require.True(t, a.add(start, end))
			}
			a.dsack = sackRange{}
			want, got := m.runs(), make([]sackRange, 1+rnd.IntN(4))
			n := a.report(got)
			require.Equal(t, min(len(want), len(got)), n, "seed %d", seed)
			require.Equal(t, want[:n], append([]sackRange(nil), got[:n]...), "seed %d", seed)
			require.Equal(t, len(want) == 0, a.empty())
			require.Len(t, a.ranges, len(want))
			reach := m.next
			for i := range m.came {
				if m.came[i] != 0 {
					reach = max(reach, i+1)
				}
			}
			require.Equal(t, m.base+wire.Seq(reach), a.reach(m.base+wire.Seq(m.next)))
		}
	}
}

func TestAssemblerBounded(t *testing.T) {
	var a assembler
	for i := range maxRanges {
		require.True(t, a.add(wire.Seq(10+10*i), wire.Seq(12+10*i)))
	}
	require.False(t, a.add(5, 6))
	require.False(t, a.add(1<<20, 1<<20+1))
	require.True(t, a.add(12, 13), "what needs no range more is taken")
	require.Len(t, a.ranges, maxRanges)
	require.Equal(t, wire.Seq(13), a.advance(10))
	require.True(t, a.add(14, 15))
	a.advance(1 << 20)
	require.Nil(t, a.ranges, "and gives the memory back")
}

func TestAssemblerDSACK(t *testing.T) {
	var a assembler
	var out [4]sackRange
	require.True(t, a.add(100, 200))
	require.False(t, func() bool { a.report(out[:]); return a.dsack != sackRange{} }())
	// RFC 2883, 4.2: a duplicate of what is out of order: the duplicate first, then the range that has it.
	require.True(t, a.add(150, 180))
	require.Equal(t, 2, a.report(out[:]))
	require.Equal(t, []sackRange{{150, 180}, {100, 200}}, out[:2])
	require.Equal(t, 1, a.report(out[:]), "reported once")
	// 4.1: a duplicate below RCV.NXT.
	a.duplicate(10, 20)
	require.Equal(t, 2, a.report(out[:]))
	require.Equal(t, sackRange{10, 20}, out[0])
	require.True(t, a.pending())
	a.reset()
	require.False(t, a.pending())
}

func TestAssemblerAllocs(t *testing.T) {
	var a assembler
	var out [4]sackRange
	next := wire.Seq(1)
	round := func() {
		for i := wire.Seq(1); i < 20; i += 2 {
			a.add(next+10*i, next+10*i+10)
			a.report(out[:])
		}
		for i := wire.Seq(0); i < 20; i += 2 {
			next = a.advance(next + 10)
		}
	}
	round()
	require.Zero(t, testing.AllocsPerRun(100, round))
	require.True(t, a.empty())
}

func seq(n int) wire.Seq { return wire.Seq(n) }
