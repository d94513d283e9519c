package tcp

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// check recomputes all that a scoreboard keeps up to date.
func (s *scoreboard) check(t *testing.T) {
	t.Helper()
	var lost, sacked, lostSegs, sackedSegs int
	var flying []uint32
	at := s.una
	for id := s.base; id != s.base+s.n; id++ {
		r := s.at(id)
		require.Equal(t, at, r.start)
		require.True(t, r.start.Before(r.end))
		at = r.end
		switch n := r.end.Since(r.start); {
		case r.flags&isSacked != 0:
			require.Zero(t, r.flags&isLost)
			sacked += n
			sackedSegs++
			for k := id; k != r.next; k++ {
				require.NotZero(t, s.at(k).flags&isSacked, "all up to next are SACKed")
			}
		case r.flags&isLost != 0:
			lost += n
			lostSegs++
			require.LessOrEqual(t, s.lostHint, id)
		default:
			flying = append(flying, id)
		}
	}
	require.Equal(t, s.nxt, at)
	require.Equal(t, [4]int{lost, sacked, lostSegs, sackedSegs}, [4]int{s.lost, s.sacked, s.lostSegs, s.sackedSegs})
	require.Len(t, flying, int(s.flying))
	var linked []uint32
	id, sent := s.oldest, int64(0)
	for range s.flying {
		r := s.at(id)
		require.GreaterOrEqual(t, r.sentAt, sent, "in the order of sending")
		linked, sent = append(linked, id), r.sentAt
		if id != s.newest {
			require.Equal(t, id, s.at(r.next).prev)
		}
		id = r.next
	}
	slices.Sort(linked)
	require.Equal(t, flying, linked)
}

func TestScoreboardModel(t *testing.T) {
	for seed := range uint64(15) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		var b blocks
		var s scoreboard
		base := wire.Seq(rnd.Uint32())
		s.start(base, &b)
		// The model: one byte of state for each byte, at its distance from base.
		var model []byte // 0 in flight, 'S', 'L', 'A'
		var cuts []int   // where segments begin
		now, una := int64(1), 0
		for range 400 {
			now += int64(rnd.IntN(3))
			switch op := rnd.IntN(9); {
			case op < 4 && len(model) < 30_000:
				if s.full() {
					t.Fatal("full")
				}
				n := 1 + rnd.IntN(100)
				cuts = append(cuts, len(model))
				model = append(model, make([]byte, n)...)
				s.sent(base+seq(len(model)), now)
			case op == 4 && una < len(model): // an ACK, most at the end of a segment
				to := una + 1 + rnd.IntN(min(300, len(model)-una))
				a := arrival{now: now}
				s.ack(base+seq(to), &a)
				delivered := 0
				for i := una; i < to; i++ {
					if model[i] != 'S' {
						delivered++
					}
					model[i] = 'A'
				}
				una = to
				require.Equal(t, delivered, a.delivered)
				if una < len(model) && !slices.Contains(cuts, una) {
					cuts = append(cuts, una)
					slices.Sort(cuts)
				}
			case op == 5 && una < len(model):
				from := una + rnd.IntN(len(model)-una)
				to := from + 1 + rnd.IntN(len(model)-from)
				a := arrival{now: now}
				s.sack(sackRange{base + seq(from), base + seq(to)}, &a)
				delivered := 0
				for i, c := range cuts {
					end := len(model)
					if i+1 < len(cuts) {
						end = cuts[i+1]
					}
					if c >= from && end <= to && c >= una && model[c] != 'S' {
						delivered += end - c
						for k := c; k < end; k++ {
							model[k] = 'S'
						}
					}
				}
				require.Equal(t, delivered, a.delivered)
			case op == 6 && s.flying > 0:
				id := s.oldest
				for range rnd.IntN(int(s.flying)) {
					id = s.at(id).next
				}
				r := s.at(id)
				for k := r.start; k != r.end; k++ {
					model[k.Since(base)] = 'L'
				}
				s.lose(id, r)
			case op == 7 && s.lostSegs > 0:
				r := s.nextLost()
				from := r.start.Since(base)
				require.Equal(t, slices.Index(model, 'L'), from)
				n := s.resent(r.start, now, 0)
				clear(model[from : from+n])
			case op == 8 && rnd.IntN(20) == 0:
				what, gone := s.renege, byte('S')
				if rnd.IntN(2) == 0 {
					what, gone = s.findLost, 'L'
				}
				what()
				for i := range model {
					if model[i] == gone {
						model[i] = 0
					}
				}
			}
			s.check(t)
			inFlight := 0
			for _, c := range model {
				if c == 0 {
					inFlight++
				}
			}
			require.Equal(t, inFlight, s.pipe(), "seed %d", seed)
		}
		s.ack(s.nxt, &arrival{now: now})
		s.check(t)
		require.Zero(t, s.pipe())
		require.Zero(t, b.count, "an empty scoreboard has no block")
		b.close()
	}
}

func TestScoreboardSplit(t *testing.T) {
	var b blocks
	var s scoreboard
	s.start(1000, &b)
	for i := range 5 {
		require.False(t, s.full())
		s.sent(1000+seq(3000*(i+1)), int64(i+1))
	}
	s.sack(sackRange{4000, 7000}, &arrival{now: 10})
	s.split(1400)
	s.check(t)
	require.Equal(t, 12000, s.lost)
	require.Equal(t, uint32(15), s.n)
	s.split(1400)
	require.Equal(t, uint32(15), s.n)
	for s.lostSegs > 0 {
		r := s.nextLost()
		require.LessOrEqual(t, r.end.Since(r.start), 1400)
		require.Positive(t, s.resent(r.start, 20, 0))
		s.check(t)
	}
	s.release()
	b.close()

	b = blocks{limit: 1}
	s.start(0, &b)
	s.sent(3000, 1)
	s.sent(6000, 1)
	s.split(1000)
	require.Equal(t, uint32(2), s.n, "no memory")
	require.True(t, s.full())
}

func TestScoreboardJoin(t *testing.T) {
	var b blocks
	var s scoreboard
	s.start(1000, &b)
	for i := range 30 {
		require.False(t, s.full())
		s.sent(s.nxt+10, int64(i+1))
	}
	s.sack(sackRange{1100, 1110}, &arrival{now: 50})
	s.loseAll()
	s.resent(1000, 60, 7)
	s.join(55)
	s.check(t)
	var sizes []int
	for id := s.base; id != s.base+s.n; id++ {
		sizes = append(sizes, s.at(id).end.Since(s.at(id).start))
	}
	require.Equal(t, []int{10, 50, 40, 10, 50, 50, 50, 40}, sizes)
	require.Equal(t, [2]int{280, 6}, [2]int{s.lost, s.lostSegs})
	s.ack(s.nxt, &arrival{now: 60})
	s.check(t)
	s.sent(s.nxt+50, 70)
	s.sent(s.nxt+50, 70)
	s.loseAll()
	s.join(100)
	require.Equal(t, uint32(2), s.n, "not worth it")
	s.release()
	b.close()
}

func TestScoreboardAllocs(t *testing.T) {
	var b blocks
	var s scoreboard
	s.start(0, &b)
	burst := func() {
		for range 100 {
			s.full()
			s.sent(s.nxt+100, 1)
		}
		s.sack(sackRange{s.una + 5000, s.una + 6000}, &arrival{now: 2})
		s.lose(s.oldest, s.at(s.oldest))
		s.ack(s.nxt, &arrival{now: 2})
	}
	burst()
	require.Zero(t, testing.AllocsPerRun(100, burst))
	b.close()
}
