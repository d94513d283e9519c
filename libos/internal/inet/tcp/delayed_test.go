package tcp

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Delayed ACKs of many connections leave when it is their time, and leave nothing behind.
func TestDelayedACKs(t *testing.T) {
	r, cs, ss, _ := manyPairs(t, 200)
	r.run(5 * second)
	rnd := rand.New(rand.NewPCG(1, 1))
	sent := make([]int64, len(cs))
	exact := 0
	for range 5000 {
		i := rnd.IntN(len(cs))
		switch {
		case rnd.IntN(4) == 0: // the answer carries it
			ss[i].Write([]byte("y"))
			ss[i].Push()
		case sent[i] == 0 && cs[i].sndUna == cs[i].sndNxt:
			cs[i].Write([]byte("x"))
			cs[i].Push()
			sent[i] = r.now
		}
		r.run(rnd.Int64N(millisecond))
		for i, c := range cs {
			if sent[i] != 0 && c.sndUna == c.sndNxt {
				wait := r.now - sent[i]
				require.Less(t, wait, 41*millisecond+millisecond)
				if wait >= 40*millisecond {
					exact++
				}
				sent[i] = 0
			}
		}
	}
	assert.Greater(t, exact, 100)
	for i := range cs {
		cs[i].Abort()
		ss[i].Abort()
	}
	r.settle()
	r.empty()
	assert.Zero(t, r.b.delayed.n)
}
