package udp

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

const loopback = wire.Addr(127<<24 | 1)

func simple(t testing.TB) *rig { return newRig(t, Config{}, link.Config{}, link.Config{}) }

func bound(t testing.TB, e *end, addr wire.Addr, port uint16) (*Socket, *sink) {
	k := &sink{}
	s := e.Open(k)
	require.Zero(t, s.Bind(addr, port))
	return s, k
}

func TestSendAndReceive(t *testing.T) {
	for _, offload := range []link.Flags{0, link.SumTransport} {
		r := newRig(t, Config{}, link.Config{Offloads: offload}, link.Config{Offloads: offload})
		a, got := bound(t, &r.a, 0, 1000)
		b, answers := bound(t, &r.b, addrB, 0)
		for n := range 3000 {
			text := strings.Repeat("x", n)
			require.Zero(t, b.Send(addrA, 1000, parts(text[:n/3], text[n/3:])))
			r.run()
			require.Len(t, got.got, 1)
			require.Equal(t, text, got.got[0])
			_, port := b.Local()
			require.Equal(t, []uint16{port}, got.ports)
			require.Equal(t, []wire.Addr{addrB}, got.from)
			require.Zero(t, a.Send(addrB, port, parts(text)))
			r.run()
			require.Equal(t, []string{text}, answers.got)
			*got, *answers = sink{}, sink{}
		}
		assert.Zero(t, r.a.counters.BadSum+r.a.counters.BadHeader+r.b.counters.BadSum)
	}
}

func TestLarge(t *testing.T) {
	r := simple(t)
	_, got := bound(t, &r.a, 0, 1000)
	b, _ := bound(t, &r.b, 0, 2000)
	for _, n := range []int{1472, 1473, 1480, 2960, 2961, 9000, 65506, MaxPayload} {
		text := strings.Repeat("0123456789abcde", n/15+1)[:n]
		require.Zero(t, b.Send(addrA, 1000, parts(text[:100], text[100:])))
		r.run()
		require.Len(t, got.got, 1, n)
		require.Equal(t, text, got.got[0])
		*got = sink{}
	}
	assert.Equal(t, syscall.EMSGSIZE, b.Send(addrA, 1000, [][]byte{make([]byte, MaxPayload+1)}))
	assert.Equal(t, syscall.EMSGSIZE, b.Send(addrA, 1000, [][]byte{make([]byte, MaxPayload), {1}}))
}

func TestErrorsOfCalls(t *testing.T) {
	r := simple(t)
	s := r.a.Open(&sink{})
	assert.Equal(t, syscall.EDESTADDRREQ, s.Send(0, 0, parts("x")))
	assert.Equal(t, syscall.EINVAL, s.Send(addrB, 0, parts("x")))
	assert.Equal(t, syscall.EADDRNOTAVAIL, s.Bind(addrB, 1))
	assert.Equal(t, syscall.ENETUNREACH, s.Connect(wire.AddrFrom([4]byte{192, 0, 2, 1}), 1))
	assert.Equal(t, syscall.ENETUNREACH, s.Send(wire.AddrFrom([4]byte{224, 0, 0, 1}), 1, parts("x")))
	assert.Zero(t, s.Connect(addrB, 9))
	assert.Equal(t, syscall.EINVAL, s.Bind(0, 5), "connect has bound it")
	local, port := s.Local()
	assert.Equal(t, addrA, local)
	assert.GreaterOrEqual(t, port, uint16(32768))
	remote, rport := s.Remote()
	assert.Equal(t, addrB, remote)
	assert.Equal(t, uint16(9), rport)
	s.Close()
	s.Close()
	assert.Equal(t, syscall.EBADF, s.Send(addrB, 1, parts("x")))
	assert.Equal(t, syscall.EBADF, s.Bind(0, 1))
	assert.Equal(t, syscall.EBADF, s.Connect(addrB, 1))

	inside, _ := bound(t, &r.a, loopback, 7)
	assert.Equal(t, syscall.EINVAL, inside.Send(addrB, 1, parts("x")))
}

func TestPorts(t *testing.T) {
	r := simple(t)
	one, _ := bound(t, &r.a, addrA, 1000)
	_, _ = bound(t, &r.a, loopback, 1000)
	s := r.a.Open(&sink{})
	assert.Equal(t, syscall.EADDRINUSE, s.Bind(0, 1000))
	assert.Equal(t, syscall.EADDRINUSE, s.Bind(addrA, 1000))
	one.Close()
	assert.Zero(t, s.Bind(addrA, 1000))
	_, _ = bound(t, &r.a, 0, 1001)
	assert.Equal(t, syscall.EADDRINUSE, r.a.Open(&sink{}).Bind(addrA, 1001))
	assert.Equal(t, 3, r.a.Len())
}

func TestEphemeralPorts(t *testing.T) {
	r := newRig(t, Config{FirstPort: 40000, LastPort: 40299}, link.Config{}, link.Config{})
	seen := map[uint16]bool{}
	var all []*Socket
	ascending := 0
	for last := uint16(0); len(seen) < 300; {
		s, _ := bound(t, &r.a, 0, 0)
		_, port := s.Local()
		require.False(t, seen[port])
		require.True(t, port >= 40000 && port <= 40299)
		seen[port] = true
		if port == last+1 {
			ascending++
		}
		last = port
		all = append(all, s)
	}
	assert.Less(t, ascending, 150, "ports can be guessed")
	assert.Equal(t, syscall.EADDRINUSE, r.a.Open(&sink{}).Bind(0, 0))
	assert.Equal(t, syscall.EAGAIN, r.a.Open(&sink{}).Send(addrB, 1, parts("x")))
	for _, s := range all {
		s.Close()
	}
	assert.Zero(t, r.a.Len())
	_, _ = bound(t, &r.a, 0, 0)
}

func TestDemux(t *testing.T) {
	r := simple(t)
	_, any := bound(t, &r.a, 0, 7)
	one, exact := bound(t, &r.a, 0, 8)
	two, _ := bound(t, &r.b, 0, 3000)
	other, _ := bound(t, &r.b, 0, 3001)
	require.Zero(t, one.Connect(addrB, 3000))
	send := func(s *Socket, to wire.Addr, port uint16) {
		require.Zero(t, s.Send(to, port, parts("x")))
		r.run()
	}
	send(two, addrA, 8)
	assert.Len(t, exact.got, 1)
	send(other, addrA, 8)
	assert.Len(t, exact.got, 1, "connected to somebody else")
	assert.Equal(t, uint64(1), r.a.counters.NoPort)
	send(other, addrA, 7)
	assert.Len(t, any.got, 1)
	send(other, 0xffffffff, 7)
	send(other, wire.AddrFrom([4]byte{10, 0, 0, 255}), 7)
	assert.Len(t, any.got, 3, "broadcast")
	send(two, 0xffffffff, 8)
	assert.Len(t, exact.got, 1, "not for sockets with an address")
	assert.Equal(t, uint64(1), r.a.host.Counters().UnreachOut)

	// The socket of an address is preferred to the one of all.
	_, inside := bound(t, &r.a, loopback, 9)
	_, outside := bound(t, &r.a, addrA, 9)
	self, _ := bound(t, &r.a, 0, 0)
	send(self, loopback, 9)
	send(self, addrA, 9)
	assert.Equal(t, []wire.Addr{loopback}, inside.from)
	assert.Equal(t, []wire.Addr{addrA}, outside.from)
}

func TestRefused(t *testing.T) {
	r := simple(t)
	k := &sink{}
	s := r.a.Open(k)
	require.Zero(t, s.Connect(addrB, 77))
	require.Zero(t, s.Send(0, 0, parts("x")))
	r.run()
	assert.Equal(t, []abi.Errno{syscall.ECONNREFUSED}, k.errs)

	// In this host, too; and what is not connected does not hear of it.
	loose, quiet := bound(t, &r.a, 0, 0)
	require.Zero(t, loose.Send(loopback, 77, parts("x")))
	require.Zero(t, s.Connect(loopback, 77))
	require.Zero(t, s.Send(0, 0, parts("x")))
	r.run()
	assert.Len(t, k.errs, 2)
	l := r.a.Open(k)
	require.Zero(t, l.Connect(loopback, 77))
	require.Zero(t, l.Send(0, 0, parts("x")))
	r.run()
	assert.Len(t, k.errs, 3)
	assert.Empty(t, quiet.errs)
}

func TestQueue(t *testing.T) {
	r := newRig(t, Config{QueueDatagrams: 10, QueueBytes: 64 << 10, AllBytes: 128 << 10}, link.Config{}, link.Config{})
	b, _ := bound(t, &r.b, 0, 2000)
	var full []*Socket
	for port := range uint16(3) {
		s, k := bound(t, &r.a, 0, 1000+port)
		k.refuse = true
		full = append(full, s)
		for i := range 20 {
			require.Zero(t, b.Send(addrA, 1000+port, parts(fmt.Sprint(i))))
			r.run()
		}
	}
	assert.Equal(t, uint64(30), r.a.counters.Queued)
	assert.Equal(t, uint64(30), r.a.counters.QueueFull)
	for i := range 10 {
		p, src, port, ok := full[0].Next()
		require.True(t, ok)
		assert.Equal(t, fmt.Sprint(i), string(p))
		assert.Equal(t, addrB, src)
		assert.Equal(t, uint16(2000), port)
	}
	_, _, _, ok := full[0].Next()
	assert.False(t, ok)

	// Large ones: memory is bounded, for one and for all.
	big := [][]byte{make([]byte, 60000)}
	for range 5 {
		for port := range uint16(3) {
			require.Zero(t, b.Send(addrA, 1000+port, big))
			r.run()
		}
	}
	assert.LessOrEqual(t, r.a.store.used, 128<<10)
	assert.LessOrEqual(t, full[0].bytes, 128<<10)
	for _, s := range full {
		s.Close()
	}
	assert.Zero(t, r.a.store.used)
	assert.Zero(t, r.a.Len())
}

// TestClosedByHandler: a handler may close its socket.
func TestClosedByHandler(t *testing.T) {
	r := simple(t)
	k := &closer{}
	k.s = r.a.Open(k)
	require.Zero(t, k.s.Bind(0, 5))
	b, _ := bound(t, &r.b, 0, 2000)
	for range 2 {
		require.Zero(t, b.Send(addrA, 5, parts("x")))
		r.run()
	}
	assert.Zero(t, r.a.store.used)
	assert.Equal(t, uint64(1), r.a.counters.NoPort)
}

type closer struct{ s *Socket }

func (c *closer) Received([]byte, wire.Addr, uint16) bool { c.s.Close(); return false }
func (c *closer) Failed(abi.Errno)                        {}
