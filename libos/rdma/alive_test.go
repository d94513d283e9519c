package rdma

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/libos/rdma/verbs/fake"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
)

// Who only pops hears of a peer that has vanished without a word, and not of one that has nothing to say.
func TestKeepalive(t *testing.T) {
	w := onFabric(t)
	w.change = func(cfg *config.Config) { cfg.Rdma.KeepaliveMillis = 10 }
	o, l := opened(t, w)
	s, qd := accepted(t, w, l)
	pop := l.Token(l.Pop(qd, 0))
	start := o.now()
	for o.now() < start+100e6 {
		l.Drive(100)
		s.poll()
	}
	_, err := l.Result(pop)
	assert.Equal(t, unix.EAGAIN, err, "a peer that is there")
	assert.InDelta(t, 10, o.stats.Keepalives, 5)
	w.fabric.Kill(s.dev.(*fake.Device), true)
	start = o.now()
	_, err = l.Wait(pop)
	assert.Equal(t, unix.ETIMEDOUT, err)
	assert.Less(t, o.now()-start, int64(30e6))
}

// Connections on which something happens are not asked, be it that they get or that they send.
func TestNoKeepaliveUnderTraffic(t *testing.T) {
	w := onFabric(t)
	w.change = func(cfg *config.Config) { cfg.Rdma.KeepaliveMillis = 1 }
	o, l := opened(t, w)
	a, b := l.Pair()
	before := o.stats.Keepalives
	for start := o.now(); o.now() < start+100e6; {
		l.Pushed(a, libostest.Text(t, "x"))
		assert.Equal(t, "x", l.PopText(b))
		l.Drive(50)
	}
	assert.LessOrEqual(t, o.stats.Keepalives-before, uint64(2))
}

// What a peer has sent before its end is popped, also if the news of the end come before it does: a poll takes only so much at a time.
func TestAllThatCameBeforeTheEnd(t *testing.T) {
	w := onFabric(t)
	w.change = func(cfg *config.Config) { cfg.Rdma.ReceiveBuffers = 4 * batch }
	_, l := opened(t, w)
	s, qd := accepted(t, w, l)
	const sent = 2*batch + 10
	for range sent / 10 {
		for range 10 {
			s.say(data(text("x")), text("x"))
		}
		s.poll()
	}
	s.dev.Destroy(s.id)
	for range sent / 10 * 10 {
		assert.Equal(t, "x", l.PopText(qd))
	}
	_, err := l.Wait(l.Token(l.Pop(qd, 0)))
	assert.Equal(t, abi.Errno(unix.ECONNRESET), err)
}
