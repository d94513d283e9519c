package dpdk

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// Datagrams that the device has no room for wait, in memory of the library's if the program wants its own back.
func TestOwnDatagram(t *testing.T) {
	var port *hubPort
	h := onHub()
	opt := &libostest.Options{Addr: hubAddr, New: func(e *engine.Engine, cfg *config.Config) (engine.LibOS, error) {
		o, err := h(e, cfg)
		if err == nil {
			port = o.(*LibOS).dev.(*hubPort)
		}
		return o, err
	}}
	there := libostest.Open(t, opt, nil)
	b, addr := there.Bound(engine.KindDatagram)
	l := libostest.Open(t, opt, nil)
	a, _ := l.Bound(engine.KindDatagram)
	first := libostest.Text(t, "first")
	first.Addr = addr
	l.Pushed(a, first) // now the address is resolved
	assert.Equal(t, "first", there.PopText(b))

	frames := port.free
	port.free = nil
	sga := libostest.Array(t, []byte("in two "), []byte("segments"))
	sga.Addr = addr
	qts := []uint64{l.Token(l.Push(a, sga)), l.Token(l.Push(a, sga)), l.Token(l.Push(a, sga))}
	for _, qt := range qts {
		_, err := l.Result(qt)
		require.Equal(t, unix.EAGAIN, err)
		require.Zero(t, l.Own(qt))
	}
	clear(sga.Bytes(0))
	clear(sga.Bytes(1))
	require.Zero(t, l.Drop(qts[1]))
	port.free = frames
	last := libostest.Text(t, "last")
	last.Addr = addr
	l.Pushed(a, last)
	for _, want := range []string{"in two segments", "in two segments", "last"} {
		assert.Equal(t, want, there.PopText(b))
	}
	for _, qt := range []uint64{qts[0], qts[2]} {
		r, err := l.Wait(qt)
		assert.Zero(t, err)
		assert.Equal(t, *sga, r.SGA)
	}
}
