package udp

import (
	"encoding/binary"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
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
	r := newRig(t, Config{QueueDatagrams: 10}, link.Config{}, link.Config{})
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

	for _, s := range full {
		s.Close()
	}
	assert.Zero(t, r.a.store.used)
	assert.Zero(t, r.a.Len())
}

// TestMemory: it is bounded, for one socket and for all, and is given back.
func TestMemory(t *testing.T) {
	const block = 64 << 10
	for _, c := range []struct {
		cfg      Config
		one, all int
	}{
		{Config{QueueBytes: 3 * block}, 3, 9},
		{Config{QueueBytes: 100 * block, AllBytes: 10 * block}, 10, 10},
		{Config{QueueBytes: 100 * block}, 80, 240},
	} {
		r := newRig(t, c.cfg, link.Config{}, link.Config{})
		b, _ := bound(t, &r.b, 0, 2000)
		var all []*Socket
		n := 0
		for port := range uint16(3) {
			s, k := bound(t, &r.a, 0, 1000+port)
			k.refuse = true
			all = append(all, s)
			for range 80 {
				require.Zero(t, b.Send(addrA, 1000+port, [][]byte{make([]byte, 60000)}))
				r.run()
			}
			if n += s.count; port == 0 {
				assert.Equal(t, c.one, s.count)
			}
		}
		assert.Equal(t, c.all, n)
		assert.Equal(t, n*block, r.a.store.used)
		for range 2 {
			for _, s := range all {
				for _, _, _, ok := s.Next(); ok; _, _, _, ok = s.Next() {
				}
				require.Zero(t, s.bytes)
			}
			assert.Zero(t, r.a.store.used)
			idle := 0
			for i := range r.a.store.idle {
				for d := r.a.store.idle[i]; d != nil; d = d.next {
					idle += len(d.data)
				}
			}
			assert.LessOrEqual(t, idle, mostIdle)
			assert.Equal(t, idle, r.a.store.unused)
			require.Zero(t, b.Send(addrA, 1000, parts("x")))
			require.Zero(t, b.Send(addrA, 1000, [][]byte{make([]byte, 60000)}))
			r.run()
			require.Equal(t, 2, all[0].count)
		}
	}
}

// TestOrder: while something waits, the handler is not offered what comes later.
func TestOrder(t *testing.T) {
	r := simple(t)
	s, k := bound(t, &r.a, 0, 1000)
	b, _ := bound(t, &r.b, 0, 2000)
	k.refuse = true
	for _, text := range []string{"1", "2", "3"} {
		require.Zero(t, b.Send(addrA, 1000, parts(text)))
		r.run()
		k.refuse = false
	}
	assert.Empty(t, k.got)
	for _, want := range []string{"1", "2", "3"} {
		p, _, _, _ := s.Next()
		assert.Equal(t, want, string(p))
	}
	require.Zero(t, b.Send(addrA, 1000, parts("4")))
	r.run()
	assert.Equal(t, []string{"4"}, k.got)
}

// datagramIn is a datagram as ip hands it over, with its checksum.
func datagramIn(src wire.Addr, from, to uint16, text string) *ip.Packet {
	u := wire.UDP(append(make([]byte, wire.UDPLen), text...))
	u.Put(from, to, len(u))
	binary.BigEndian.PutUint16(u[6:], ^wire.Fold(wire.Sum(u, wire.PseudoSum(src, addrA, wire.ProtoUDP, len(u)))))
	return &ip.Packet{Src: src, Dst: addrA, Data: u}
}

func TestBadDatagrams(t *testing.T) {
	r := simple(t)
	_, k := bound(t, &r.a, 0, 1000)
	try := func(change func(p *ip.Packet)) {
		p := datagramIn(addrB, 5, 1000, "hello")
		change(p)
		r.a.Input(p)
	}
	try(func(*ip.Packet) {})
	try(func(p *ip.Packet) { p.Data[6], p.Data[7] = 0, 0 }) // none
	try(func(p *ip.Packet) { p.Data[7] ^= 1; p.SumGood = true })
	try(func(p *ip.Packet) { p.Data = append(p.Data, "more than the length says"...) })
	require.Equal(t, []string{"hello", "hello", "hello", "hello"}, k.got)
	try(func(p *ip.Packet) { p.Data[7] ^= 1 })
	try(func(p *ip.Packet) { p.Data[9] ^= 1 })
	try(func(p *ip.Packet) { p.Src++ })
	assert.Equal(t, uint64(3), r.a.counters.BadSum)
	try(func(p *ip.Packet) { p.Data = p.Data[:7] })
	try(func(p *ip.Packet) { p.Data[5] = 7 })
	try(func(p *ip.Packet) { p.Data[5] = 14 })
	assert.Equal(t, uint64(3), r.a.counters.BadHeader)
	assert.Len(t, k.got, 4)
	assert.Zero(t, r.a.counters.NoPort)
}

// TestConnected: nobody but the peer gets through, and only errors about what was sent to it.
func TestConnected(t *testing.T) {
	r := simple(t)
	s, k := bound(t, &r.a, 0, 1000)
	require.Zero(t, s.Connect(addrB, 5))
	r.a.Input(datagramIn(addrB, 5, 1000, "x"))
	r.a.Input(datagramIn(addrB, 6, 1000, "x"))
	r.a.Input(datagramIn(addrB+1, 5, 1000, "x"))
	assert.Len(t, k.got, 1)

	good := ip.Failure{Errno: syscall.ECONNREFUSED, Local: addrA, Remote: addrB, Hard: true, Data: []byte{3, 0xe8, 0, 5, 0, 8, 0, 0}}
	for i, change := range []func(f *ip.Failure){
		func(f *ip.Failure) { f.Hard = false },
		func(f *ip.Failure) { f.Local = loopback },
		func(f *ip.Failure) { f.Remote++ },
		func(f *ip.Failure) { f.Data = []byte{3, 0xe9, 0, 5, 0, 8, 0, 0} },
		func(f *ip.Failure) { f.Data = []byte{3, 0xe8, 0, 6, 0, 8, 0, 0} },
	} {
		f := good
		change(&f)
		r.a.Failed(&f)
		assert.Equal(t, uint64(i+1), r.a.counters.ErrorsStray)
	}
	assert.Empty(t, k.errs)
	r.a.Failed(&good)
	assert.Equal(t, []abi.Errno{syscall.ECONNREFUSED}, k.errs)
	require.Zero(t, s.Connect(addrB, 6), "again")
	r.a.Input(datagramIn(addrB, 6, 1000, "x"))
	assert.Len(t, k.got, 2)
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
