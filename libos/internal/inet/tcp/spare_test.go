package tcp

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// door gives each connection that it accepts a peer of its own.
type door struct{ last *peer }

func (d *door) Acceptable(l *Listener) {
	d.last = newPeer()
	d.last.c = l.Accept()
	d.last.c.SetHandler(d.last)
	d.last.c.Pull()
}

// Connections come and go in all states, with ACKs delayed or put off, and are used again. None gets what is another's, none is lost from
// a list, and there are no more of them than there were at once, but for those that still were on a list.
func TestReuse(t *testing.T) {
	r := newLab(t, Config{TimeWait: millisecond}, Config{TimeWait: millisecond})
	d := &door{}
	l, err := r.b.Listen(0, testPort, 16, d)
	require.Zero(t, err)
	type pair struct {
		a, b *peer
		sent []byte
	}
	var live []*pair
	seen := map[*Conn]bool{}
	rnd := rand.New(rand.NewPCG(3, 3))
	for step := range 6000 {
		if n := rnd.IntN(10); len(live) == 0 || n < 4 && len(live) < 30 {
			p := &pair{a: r.connect()}
			d.last = nil
			r.settle()
			require.NotNil(t, d.last)
			p.b = d.last
			require.Same(t, p.a, p.a.c.handler)
			require.Equal(t, p.a.c.Local(), p.b.c.Remote())
			live = append(live, p)
			seen[p.a.c], seen[p.b.c] = true, true
		} else if p := live[rnd.IntN(len(live))]; n < 8 {
			if p.a.c.sndUna == p.a.c.sndNxt { // else a probe would leave before the ACK is due
				p.sent = append(p.sent, byte(step))
				p.a.write([]byte{byte(step)})
			}
			if n < 6 {
				r.settle()
			}
		} else {
			r.settle()
			require.Equal(t, p.sent, p.b.got)
			require.Empty(t, p.b.ended)
			for i, c := range []*Conn{p.a.c, p.b.c} {
				if (n+step+i)%3 == 0 {
					c.Abort()
				} else {
					c.Close()
				}
				if step%2 == 0 {
					r.settle()
				}
			}
			live = slices.DeleteFunc(live, func(q *pair) bool { return q == p })
		}
		if rnd.IntN(3) == 0 {
			r.run(rnd.Int64N(10 * millisecond))
		}
	}
	assert.Less(t, len(seen), 2*30+40)
	for _, h := range []*Host{r.a.Host, r.b.Host} {
		assert.Zero(t, h.Counters.Retransmits)
		assert.Zero(t, h.Counters.Timeouts)
	}
	l.Close()
}
