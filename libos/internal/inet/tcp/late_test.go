package tcp

import (
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
	require.Same(t, c, r.a.late.conn)
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
	assert.Nil(t, r.a.late.conn)
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
			assert.Nil(t, r.a.late.conn)
			r.run(second)
			assert.Zero(t, c.recovery.board.n)
		})
	}
}

func TestLateAckDiesWithItsConnection(t *testing.T) {
	r, c, _ := replied(t)
	c.Abort()
	assert.Nil(t, r.a.late.conn)
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
