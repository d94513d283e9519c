package inet

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// talker is both ends of a connection.
type talker struct {
	c   *tcp.Conn
	got int
}

func (k *talker) Connected(*tcp.Conn, abi.Errno) {}
func (k *talker) Received(_ *tcp.Conn, p []byte) int {
	k.got += len(p)
	return len(p)
}
func (k *talker) Writable(*tcp.Conn)         {}
func (k *talker) Ended(*tcp.Conn, abi.Errno) {}
func (k *talker) Acceptable(l *tcp.Listener) {
	k.c = l.Accept()
	k.c.SetHandler(k)
}

func (k *talker) say(t *testing.T, s *Stack, n int) {
	require.Equal(t, n, k.c.Write(make([]byte, n)))
	k.c.Push()
	s.Flush()
}

// TestLateACKs: what TCP puts off is done by the next poll, and before a sleep.
func TestLateACKs(t *testing.T) {
	pa, pb := link.NewPipe(link.Config{}, link.Config{})
	now := int64(5e9)
	var stacks [2]*Stack
	for i, dev := range []link.Device{pa, pb} {
		s, err := New(dev, &Config{IP: ip.Config{Addr: fuzzAddr + wire.Addr(i), Prefix: 24}}, now)
		require.Zero(t, err)
		stacks[i] = s
	}
	a, b := stacks[0], stacks[1]
	var client, server talker
	_, err := b.TCP().Listen(0, 7, 1, &server)
	require.Zero(t, err)
	client.c, err = a.TCP().Connect(0, 0, fuzzAddr+1, 7, &client)
	require.Zero(t, err)
	for range 3000 {
		now += 1e6
		a.Poll(now)
		b.Poll(now)
	}
	require.NotNil(t, server.c)
	for _, then := range []func(){func() { a.Poll(now) }, func() { a.Next() }} {
		client.say(t, a, 64)
		b.Poll(now)
		server.say(t, b, 64)
		a.Poll(now)
		bytes, _ := a.TCP().Memory()
		require.NotZero(t, bytes, "the ACK has been put off")
		then()
		bytes, _ = a.TCP().Memory()
		assert.Zero(t, bytes)
	}
	assert.Equal(t, 128, client.got)
	a.Close()
	b.Close()
}

// TestLook: looking finds what Poll will handle, and loses nothing.
func TestLook(t *testing.T) {
	a, b := link.NewPipe(link.Config{}, link.Config{})
	now := int64(5e9)
	s, err := New(a, &Config{IP: ip.Config{Addr: fuzzAddr, Prefix: 24}}, now)
	require.Zero(t, err)
	assert.False(t, s.Look())
	for range 40 {
		n := copy(b.Buffer(), make([]byte, 60))
		b.Send(n, 0)
	}
	b.Flush()
	for range 3 {
		assert.True(t, s.Look())
	}
	s.Poll(now)
	assert.True(t, s.Look())
	s.Poll(now)
	assert.False(t, s.Look())
	assert.Equal(t, uint64(40), s.IP().Counters().FramesForeign+s.IP().Counters().FramesMulticast+s.IP().Counters().FramesSource)

	e := &echo{}
	e.s = s.UDP().Open(e)
	require.Zero(t, e.s.Bind(0, 7))
	require.Zero(t, e.s.Send(fuzzAddr, 7, [][]byte{[]byte("to itself")}))
	assert.True(t, s.Look())
	s.Close()

	a, _ = link.NewPipe(link.Config{}, link.Config{})
	s, err = New(link.NewFault(a, link.FaultConfig{}), &Config{IP: ip.Config{Addr: fuzzAddr, Prefix: 24}}, now)
	require.Zero(t, err)
	assert.True(t, s.Look(), "the device needs the time")
	s.Close()
}
