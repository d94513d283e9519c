package ip

import (
	"bytes"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

func TestPathErrors(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Gateway = 0 })
	for _, c := range []struct {
		local, remote wire.Addr
		err           abi.Errno
	}{
		{0, peer, 0},
		{us, peer, 0},
		{0, 0xffffffff, 0},
		{0, addr(127, 1, 2, 3), 0},
		{0, us, 0},
		{us, addr(127, 0, 0, 1), 0},
		{addr(127, 0, 0, 1), us, 0},
		{peer, us, syscall.EADDRNOTAVAIL},
		{0, far, syscall.ENETUNREACH},
		{0, 0, syscall.ENETUNREACH},
		{0, addr(224, 0, 0, 1), syscall.ENETUNREACH},
		{0, addr(250, 0, 0, 1), syscall.ENETUNREACH},
		{addr(127, 0, 0, 1), peer, syscall.EINVAL},
	} {
		assert.Equal(t, c.err, r.Path(&Path{}, c.local, c.remote), "%v %v", c.local, c.remote)
	}
}

// TestNoRouteForGroups: not even by way of the gateway.
func TestNoRouteForGroups(t *testing.T) {
	r := newRig(t, nil)
	for _, a := range []wire.Addr{0, 1, addr(224, 0, 0, 1), addr(250, 0, 0, 1)} {
		assert.Equal(t, syscall.ENETUNREACH, r.Path(&Path{}, 0, a))
	}
}

func TestRoutes(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Routes = []Route{
			{Net: addr(192, 0, 2, 99), Prefix: 24, Gateway: other},
			{Net: addr(192, 0, 2, 128), Prefix: 25, Gateway: peer},
			{Net: addr(198, 51, 100, 0), Prefix: 24},
		}
	})
	for to, hop := range map[wire.Addr]wire.Addr{
		peer:                   peer,
		far:                    other,
		addr(192, 0, 2, 200):   peer,
		addr(203, 0, 113, 1):   gateway,
		addr(198, 51, 100, 20): addr(198, 51, 100, 20),
	} {
		got, ok := r.nextHop(to)
		assert.True(t, ok)
		assert.Equal(t, hop, got, "%v", to)
	}
	r.knows(other, mac3)
	r.push(r.path(0, far), wire.ProtoUDP, "x")
	out := r.sent()
	require.Len(t, out, 1)
	assert.Equal(t, mac3, wire.Ethernet(out[0]).Dst())
	assert.Equal(t, far, r.sound(out[0]).Dst())
}

func TestSendForm(t *testing.T) {
	r := newRig(t, nil)
	r.knows(peer, peerMAC)
	p := r.path(0, peer)
	require.Equal(t, 1500, p.MTU())
	require.Len(t, r.Buffer(p), 1480)
	ids := map[uint16]bool{}
	for i := range 1472 {
		b := r.Buffer(p)
		for j := range b {
			b[j] = byte(i * j)
		}
		r.Send(p, 8+i, wire.ProtoUDP, 6)
		q := r.sound(r.sent()[0])
		assert.Equal(t, 28+i, q.TotalLen())
		assert.Equal(t, uint16(0), q.Flags())
		assert.Equal(t, uint16(0xffff), wire.Fold(wire.Sum(q.Payload(), wire.PseudoSum(us, peer, wire.ProtoUDP, 8+i))))
		assert.Equal(t, uint8(64), q.TTL())
		ids[q.ID()] = true
	}
	assert.Len(t, ids, 1472)
	r.push(p, wire.ProtoTCP, "x")
	assert.Equal(t, wire.DontFragment, r.sound(r.sent()[0]).Flags())
	b := r.Buffer(p)
	clear(b)
	b[2], b[3] = 0xab, 0xcd
	r.Send(p, 8, wire.ProtoICMP, -1)
	q := r.sound(r.sent()[0])
	assert.Equal(t, []byte{0, 0, 0xab, 0xcd, 0, 0, 0, 0}, []byte(q.Payload()))

	r.push(r.path(0, 0xffffffff), wire.ProtoUDP, "x")
	out := r.sent()
	assert.Equal(t, wire.Broadcast, wire.Ethernet(out[0]).Dst())

	// Leaving out the Send is allowed.
	_ = r.Buffer(p)
	r.push(p, wire.ProtoUDP, "x")
	assert.Len(t, r.sent(), 1)
}

// TestZeroSum: a checksum of UDP that comes out as 0 is sent as 0xffff (RFC 768), one of TCP is not touched.
func TestZeroSum(t *testing.T) {
	r := newRig(t, nil)
	r.knows(peer, peerMAC)
	p := r.path(0, peer)
	for proto, want := range map[uint8]byte{wire.ProtoUDP: 0xff, wire.ProtoTCP: 0} {
		b := r.Buffer(p)
		clear(b[:10])
		rest := ^wire.Fold(wire.PseudoSum(us, peer, proto, 10))
		b[8], b[9] = byte(rest>>8), byte(rest)
		r.Send(p, 10, proto, 6)
		q := r.sound(r.sent()[0])
		assert.Equal(t, []byte{want, want}, []byte(q.Payload()[6:8]))
	}
}

// TestHeaderSums: for every identification and the longest carry.
func TestHeaderSums(t *testing.T) {
	r := newRig(t, nil)
	r.knows(gateway, peerMAC)
	p := r.path(0, addr(96, 0, 0, 1))
	for id := range 65536 {
		r.Buffer(p)
		r.emit(p, 8, wire.ProtoUDP, 0x3fff, uint16(id), 0)
		if !wire.IPv4(r.sent()[0][wire.EthernetLen:]).SumGood() {
			t.Fatal(id)
		}
	}
}

// TestLargeSum: what was in the place of the checksum does not matter.
func TestLargeSum(t *testing.T) {
	r := newRig(t, nil)
	r.knows(peer, peerMAC)
	data := bytes.Repeat([]byte{0xab}, 3001)
	require.Zero(t, r.SendLarge(r.path(0, peer), data, wire.ProtoUDP, 6))
	got := r.joined(r.sent())
	assert.Equal(t, uint16(0xffff), wire.Fold(wire.Sum(got, wire.PseudoSum(us, peer, wire.ProtoUDP, len(got)))))
}

func TestOffload(t *testing.T) {
	r := newRig(t, nil)
	r.offloads = link.SumTransport
	r.knows(peer, peerMAC)
	p := r.path(0, peer)
	r.push(p, wire.ProtoTCP, "x")
	q := r.sound(r.sent()[0])
	assert.Equal(t, wire.Fold(wire.PseudoSum(us, peer, wire.ProtoTCP, 9)), uint16(q.Payload()[6])<<8|uint16(q.Payload()[7]))
}

func TestNoBuffer(t *testing.T) {
	r := newRig(t, nil)
	r.knows(peer, peerMAC)
	p := r.path(0, peer)
	r.dev.full = true
	assert.Nil(t, r.Buffer(p))
	assert.Equal(t, syscall.EAGAIN, r.SendLarge(p, make([]byte, 3000), wire.ProtoUDP, 6))
	r.feed(arpIn(wire.ARPRequest, peerMAC, peer, us), frame{proto: wire.ProtoICMP, data: icmp(8, 0, 0, nil)}.bytes())
	r.counts(map[string]uint64{"NoBuffer": 4, "ARPRepliesOut": 1})
}

func TestLoopback(t *testing.T) {
	r := newRig(t, nil)
	p := r.path(0, addr(127, 0, 0, 1))
	assert.Equal(t, addr(127, 0, 0, 1), p.Local)
	r.push(p, wire.ProtoUDP, "one")
	assert.Empty(t, r.udp.packets, "not within Send")
	// Packets that come meanwhile wait for the next round.
	n := 0
	r.udp.each = func(*Packet) {
		if n++; n < 100 {
			r.push(p, wire.ProtoUDP, "more")
		}
	}
	assert.True(t, r.Poll(r.at))
	require.Len(t, r.udp.packets, 1)
	assert.True(t, r.udp.packets[0].SumGood)
	assert.Equal(t, "one", string(r.udp.packets[0].Data[8:]))
	r.poll()
	assert.Len(t, r.udp.packets, 100)
	assert.Empty(t, r.sent())

	// It is bounded.
	r.udp.each, r.udp.packets = nil, nil
	q := r.path(0, us)
	for range loopSlots {
		require.NotNil(t, r.Buffer(q))
		r.push(q, wire.ProtoUDP, "x")
	}
	assert.Nil(t, r.Buffer(q))
	r.poll()
	assert.Len(t, r.udp.packets, loopSlots)
	assert.NotNil(t, r.Buffer(q))

	// Fragments go that way, too.
	r.udp.packets = nil
	big := make([]byte, maxPayload)
	big[60000] = 7
	require.Zero(t, r.SendLarge(q, big, wire.ProtoUDP, 6))
	r.poll()
	require.Len(t, r.udp.packets, 1)
	assert.Equal(t, big, r.udp.packets[0].Data)
	assert.Equal(t, syscall.EMSGSIZE, r.SendLarge(q, make([]byte, maxPayload+1), wire.ProtoUDP, 6))
}

func tooBig(p *Path, mtu int) *Failure { return &Failure{Remote: p.Remote, MTU: mtu} }

func TestMTU(t *testing.T) {
	r := newRig(t, nil)
	r.knows(gateway, peerMAC)
	p := r.path(0, far)
	require.Equal(t, 1500, p.MTU())
	r.TooBig(tooBig(p, 1400))
	require.Equal(t, 1400, p.MTU())
	require.Len(t, r.Buffer(p), 1380)
	r.TooBig(tooBig(p, 1399))
	require.Len(t, r.Buffer(p), 1379)
	r.TooBig(tooBig(p, 1398))
	assert.Equal(t, 1500, r.path(0, addr(192, 0, 2, 8)).MTU())
	for _, n := range []int{1400, 1450, 9000, 0, -1} { // never raised, nor believed without a number
		r.TooBig(tooBig(p, n))
		require.Equal(t, 1398, p.MTU())
	}
	r.counts(map[string]uint64{"MTULowered": 3, "MTUIgnored": 5})
	r.push(p, wire.ProtoTCP, "x")
	assert.Equal(t, wire.DontFragment, r.sound(r.sent()[0]).Flags())
	r.TooBig(tooBig(p, 68)) // not believed; packets may be fragmented from now on
	require.Equal(t, leastPath, p.MTU())
	r.push(p, wire.ProtoTCP, "x")
	assert.Equal(t, uint16(0), r.sound(r.sent()[0]).Flags())
	r.wait(300 * second)
	require.Equal(t, leastPath, p.MTU())
	r.wait(301 * second)
	require.Equal(t, 1500, p.MTU(), "forgotten")
	assert.Equal(t, uint64(1), r.counters.MTUForgotten)

	// Large datagrams are cut to size.
	r.TooBig(tooBig(p, 1000))
	r.dev.out = nil
	require.Zero(t, r.SendLarge(p, make([]byte, 2000), wire.ProtoUDP, 6))
	for i, b := range r.sent() {
		if wire.Ethernet(b).Type() == wire.TypeIPv4 {
			assert.LessOrEqual(t, r.sound(b).TotalLen(), 1000, i)
		}
	}
}

func TestMTUBounded(t *testing.T) {
	r := newRig(t, nil)
	for i := range 10_000 {
		r.TooBig(&Failure{Remote: wire.Addr(0xc0000000 + i), MTU: 1000})
	}
	n := 0
	for i := range r.mtus.sets {
		for _, e := range r.mtus.sets[i] {
			if e.addr != 0 {
				n++
			}
		}
	}
	assert.Equal(t, mtuSets*mtuWays, n)
	r.wait(300 * second)
	r.TooBig(&Failure{Remote: far, MTU: 1000}) // in the place of another
	r.wait(301 * second)
	assert.Equal(t, uint64(n-1), r.counters.MTUForgotten)
	r.wait(300 * second)
	assert.Zero(t, r.timers.Len())
	assert.Equal(t, uint64(n), r.counters.MTUForgotten)
}
