package posix

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// A socket is hot while it alone has traffic, and none while many have.
func TestHotSockets(t *testing.T) {
	var os *LibOS
	l := libostest.Open(t, &libostest.Options{New: func(e *engine.Engine, c *config.Config) (engine.LibOS, error) {
		lib, err := New(e, c)
		os = lib.(*LibOS)
		return lib, err
	}}, nil)
	const n = 30
	var clients, servers [n]int32
	var pops [n]uint64
	for i := range n {
		clients[i], servers[i] = l.Pair()
		pops[i] = l.Token(l.Engine.Pop(servers[i], 0))
	}
	request := func(i int) {
		l.Wait(l.Token(l.Engine.Push(clients[i], libostest.Text(t, "request"))))
		r, err := l.Wait(pops[i])
		assert.Zero(t, err)
		assert.NotZero(t, r.SGA.Len())
		pops[i] = l.Token(l.Engine.Pop(servers[i], 0))
	}
	for range 10 {
		for i := range n {
			request(i)
		}
	}
	assert.Nil(t, os.hot)
	for range 10 {
		request(7)
	}
	require.NotNil(t, os.hot)
	assert.Equal(t, servers[7], os.hot.QD())
}
