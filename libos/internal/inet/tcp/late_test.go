package tcp

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// replied makes a connection on which b has answered a request of a, with an ACK that a has not taken in yet.
func replied(t *testing.T) (r *lab, c, s *Conn) {
	r, cs, ss, _ := manyPairs(t, 1)
	c, s = cs[0], ss[0]
	r.run(second)
	c.Write([]byte("request"))
	c.Push()
	r.now += 30_000
	r.b.poll(r.now)
	s.Write([]byte("reply"))
	s.Push()
	r.now += 20_000
	r.a.poll(r.now)
	require.Same(t, c, r.a.late.acks[0].conn)
	require.NotEqual(t, c.sndNxt, c.sndUna, "taken in before its time")
	return r, c, s
}

func TestAckWithDataWaitsForTheAnswer(t *testing.T) {
	r, c, s := replied(t)
	r.now += 100_000
	r.a.ip.SetNow(r.now)
	before := c.recovery.rtt
	frames := r.b.dev.Counters().RxFrames
	c.Write([]byte("next"))
	c.Push()
	assert.Zero(t, r.a.late.n+int(c.late))
	assert.Equal(t, c.sndNxt-4, c.sndUna, "what was acknowledged before the answer left")
	assert.Equal(t, 4, c.snd.len())
	d := int64(50_000) - before.srtt // the round trip ended when the ACK came
	assert.InDelta(t, before.srtt+d/8, c.recovery.rtt.srtt, 1)
	r.b.poll(r.now)
	assert.Equal(t, frames+1, r.b.dev.Counters().RxFrames, "on its way when Push returns, without a Flush")
	assert.Equal(t, s.rcvNxt, c.sndNxt)
}

func TestLateAckIsTakenInByWhateverComesNext(t *testing.T) {
	for name, next := range map[string]func(r *lab, c, s *Conn){
		"a poll": func(r *lab, _, _ *Conn) { r.a.poll(r.now) },
		"info": func(_ *lab, c, _ *Conn) {
			var i Info
			c.Info(&i)
			assert.Zero(t, i.InFlight)
		},
		"a timer": func(r *lab, c, _ *Conn) { c.Expired(&c.timer, r.now) },
		"a segment": func(r *lab, _, s *Conn) {
			s.Write([]byte("more"))
			s.Push()
			r.a.ip.Poll(r.now)
		},
		"the end": func(_ *lab, c, _ *Conn) { c.Shutdown() },
	} {
		t.Run(name, func(t *testing.T) {
			r, c, s := replied(t)
			acked := c.sndNxt
			next(r, c, s)
			assert.Equal(t, acked, c.sndUna)
			assert.Zero(t, r.a.late.n+int(c.late))
			r.run(second)
			assert.Zero(t, c.recovery.board.n)
		})
	}
}

func TestLateAckDiesWithItsConnection(t *testing.T) {
	r, c, _ := replied(t)
	c.Abort()
	assert.Zero(t, r.a.late.n+int(c.late))
	r.settle()
}

// An ACK for which something waits is taken in at once, and so is one without data, behind which no answer comes.
func TestAckThatMovesSomethingDoesNotWait(t *testing.T) {
	r, cs, ss, _ := manyPairs(t, 1)
	c, s := cs[0], ss[0]
	r.run(second)
	c.recovery.cc.cwnd = c.mss
	c.Write(make([]byte, 3*c.mss))
	c.Push()
	r.a.dev.Flush()
	r.b.poll(r.now)
	s.Write([]byte("reply"))
	s.Push()
	before := c.sndNxt
	r.a.poll(r.now)
	assert.True(t, before.Before(c.sndNxt), "the rest may go")

	r.run(second)
	c.Write([]byte("no answer"))
	c.Push()
	r.b.poll(r.now)
	r.now += 50 * millisecond
	r.b.poll(r.now)
	r.a.ip.Poll(r.now)
	assert.Equal(t, c.sndNxt, c.sndUna)
}

// Each connection of a burst has an ACK of its own to wait; as many as there is room for.
func TestLateAcksOfManyConnections(t *testing.T) {
	const n = 40
	r, cs, ss, _ := manyPairs(t, n)
	r.run(second)
	for i, c := range cs {
		c.Write([]byte("request"))
		c.Push()
		if i%20 == 19 {
			r.a.dev.Flush()
			r.b.poll(r.now)
		}
	}
	for _, s := range ss {
		s.Write([]byte("reply"))
		s.Push()
	}
	r.b.dev.Flush()
	for range 2 { // bursts
		r.a.ip.Poll(r.now)
	}
	l := &r.a.late
	require.Equal(t, len(l.acks), l.n)
	waiting := func(c *Conn) bool { return c.late != 0 }
	assert.Equal(t, n-l.n, slices.IndexFunc(slices.Concat(cs[l.n:], cs), waiting), "the last ones were taken in at once")
	for _, i := range []int{31, 0, 7, 30, 29} { // from the middle, and from the end
		require.True(t, waiting(cs[i]))
		cs[i].Write([]byte("next"))
		cs[i].Push()
		assert.False(t, waiting(cs[i]))
		assert.Equal(t, cs[i].sndNxt-4, cs[i].sndUna)
	}
	cs[5].Abort()
	for i, a := range l.acks[:l.n] {
		assert.Equal(t, i+1, int(a.conn.late))
	}
	assert.Equal(t, len(l.acks)-6, l.n)
	r.a.Settle()
	for i, c := range cs {
		assert.False(t, waiting(c))
		if c.State() == Established && i != 31 && i != 0 && i != 7 && i != 30 && i != 29 {
			assert.Equal(t, c.sndNxt, c.sndUna, i)
		}
	}
	for _, a := range l.acks {
		assert.Nil(t, a.conn, "kept alive")
	}
}

// The timer is not set for what is in flight only because its ACK waits.
func TestLateAckSetsNoTimer(t *testing.T) {
	r, c, _ := replied(t)
	at := c.timerAt
	r.now += 100_000
	r.a.ip.SetNow(r.now)
	c.Write([]byte("next"))
	c.Push()
	assert.Equal(t, at, c.timerAt)
}

// A handler that ends the connection when it hears of room for more, while the next segment is at hand.
func TestLateAckWithSegmentForTheDead(t *testing.T) {
	r, c, s := replied(t)
	c.SetHandler(&quitter{})
	c.flags |= wantRoom // as after a Write that did not fit
	s.Write([]byte("more"))
	s.Push()
	r.b.dev.Flush()
	r.a.ip.Poll(r.now)
	assert.Equal(t, Closed, c.State())
	r.settle()
}

// quitter gives up as soon as it may go on.
type quitter struct{ taker }

func (*quitter) Writable(c *Conn) { c.Abort() }

// asker looks at the connection while it gets data.
type asker struct {
	taker
	working bool
}

func (k *asker) Received(c *Conn, p []byte) int {
	var i Info
	c.Info(&i)
	k.working = c.late == 0 && c.flags&working != 0
	return len(p)
}

func TestLateAckIsAskedForInReceived(t *testing.T) {
	r, c, s := replied(t)
	k := &asker{}
	c.SetHandler(k)
	r.settle()
	c.Write([]byte("next"))
	c.Push()
	r.settle()
	s.Write([]byte("reply"))
	s.Push()
	r.b.dev.Flush()
	r.a.poll(r.now)
	assert.True(t, k.working, "it was taken in, and Push has to wait for the end of Received")
	assert.Equal(t, c.sndNxt, c.sndUna)
}

// What an ACK lets leave leaves with it.
func TestAckIsFollowedByWhatWaits(t *testing.T) {
	start := func() (*lab, *Conn, *Conn) {
		r, cs, ss, _ := manyPairs(t, 1)
		r.run(second)
		return r, cs[0], ss[0]
	}
	answer := func(r *lab, s *Conn) {
		s.Write([]byte("reply"))
		s.Push()
		r.b.dev.Flush()
		r.a.poll(r.now)
	}
	t.Run("FIN", func(t *testing.T) {
		r, c, s := start()
		c.recovery.cc.cwnd = c.mss
		c.Write(make([]byte, c.mss))
		c.Push()
		c.Shutdown()
		require.Equal(t, c.queueEnd(), c.sndNxt, "no room for it")
		r.a.dev.Flush()
		r.b.poll(r.now)
		answer(r, s)
		assert.Equal(t, c.queueEnd()+1, c.sndNxt)
	})
	t.Run("lost", func(t *testing.T) { // as when a recovery turned out to be for nothing
		r, c, s := start()
		for range 2 {
			r.b.poll(r.now)
			c.Write([]byte("request"))
			c.Push()
			r.a.dev.Flush()
		}
		b := &c.recovery.board
		b.lose(b.base+1, b.at(b.base+1))
		answer(r, s)
		assert.Equal(t, uint64(1), c.resent)
	})
}
