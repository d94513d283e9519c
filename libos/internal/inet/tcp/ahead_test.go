package tcp

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Bursts for many connections, among them strangers: each gets what is its own, and nothing is left over.
func TestForesight(t *testing.T) {
	r, cs, _, k := manyPairs(t, manyConns+50)
	r.run(second)
	from, to := addrA, addrB
	r.b.Foresee(from, to, 1, testPort) // nobody's
	assert.Equal(t, 1, r.b.ahead.n)
	for range 2 * len(r.b.ahead.segs) {
		r.b.Foresee(from, to, cs[0].Local().Port, testPort)
	}
	assert.Equal(t, len(r.b.ahead.segs), r.b.ahead.n)
	for range 2 * len(r.b.ahead.segs) {
		r.b.Near()
	}
	before := k.n
	for _, c := range cs {
		c.Write([]byte("x"))
		c.Push()
	}
	r.settle()
	assert.Equal(t, before+len(cs), k.n)
	assert.Equal(t, r.b.ahead.n, r.b.ahead.near)

	few, cs, _, _ := manyPairs(t, 2)
	few.b.Foresee(from, to, cs[0].Local().Port, testPort)
	assert.Zero(t, few.b.ahead.n, "not worth it")
}

// What was foreseen for a connection that the segment before has ended is for nobody.
func TestForesightOfTheDead(t *testing.T) {
	r, cs, ss, _ := manyPairs(t, manyConns)
	c, s := cs[7], ss[7]
	r.run(second)
	c.Write([]byte("x"))
	c.sendReset()
	c.Push()
	r.a.dev.Flush()
	before := r.b.Counters.NoConnection
	r.b.poll(r.now)
	assert.Equal(t, Closed, s.State())
	assert.Equal(t, before+1, r.b.Counters.NoConnection)
}
