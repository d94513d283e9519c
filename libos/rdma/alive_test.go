package rdma

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/libos/rdma/verbs"
	"github.com/libdmtr/libdmtr/libos/rdma/verbs/fake"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
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

// late is a device that has news of the connection manager before the messages that came with them.
type late struct {
	*fake.Device
	held []verbs.Completion
}

func (d *late) Poll(c []verbs.Completion, e []verbs.Event) (nc, ne int) {
	nc = copy(c, d.held)
	d.held = d.held[:copy(d.held, d.held[nc:])]
	n, ne := d.Device.Poll(c[nc:], e)
	if ne == 0 {
		return nc + n, ne
	}
	d.held = append(d.held, c[nc:nc+n]...)
	return nc, ne
}

// The same, if the device tells of the end first.
func TestMessagesAfterTheNewsOfTheEnd(t *testing.T) {
	w := onFabric(t)
	w.Options.New = func(e *engine.Engine, cfg *config.Config) (engine.LibOS, error) {
		return open(e, cfg, &late{Device: w.fabric.Join()}, w.fabric.Now)
	}
	w.Options.Addr = func(o engine.LibOS) [4]byte { return o.(*LibOS).attr.Addr }
	_, l := opened(t, w)
	s, qd := accepted(t, w, l)
	s.say(data(text("last words")), text("last words"))
	s.poll()
	s.dev.Destroy(s.id)
	assert.Equal(t, "last words", l.PopText(qd))
	_, err := l.Wait(l.Token(l.Pop(qd, 0)))
	assert.Equal(t, abi.Errno(unix.ECONNRESET), err)
}
