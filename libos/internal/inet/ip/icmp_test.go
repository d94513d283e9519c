package ip

import (
	"bytes"
	"encoding/binary"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

func ping(n int) frame {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i * 7)
	}
	return frame{proto: wire.ProtoICMP, data: icmp(wire.ICMPEcho, 0, 0x12345678, data)}
}

// split cuts a packet into fragments of n bytes.
func split(f frame, n int) (out [][]byte) {
	for at := 0; at < len(f.data); at += n {
		g := f
		g.fragment = uint16(at / 8)
		g.data = f.data[at:min(at+n, len(f.data))]
		if at+n < len(f.data) {
			g.fragment |= wire.MoreFragments
		}
		out = append(out, g.bytes())
	}
	return out
}

// joined puts the fragments of one packet together, which have to be in order.
func (r *rig) joined(frames [][]byte) (data []byte) {
	r.t.Helper()
	for i, b := range frames {
		p := r.sound(b)
		require.Equal(r.t, len(data), p.FragmentOffset())
		require.Equal(r.t, i < len(frames)-1, p.Flags()&wire.MoreFragments != 0)
		require.Equal(r.t, r.sound(frames[0]).ID(), p.ID())
		data = append(data, p.Payload()...)
	}
	return data
}

func TestEcho(t *testing.T) {
	r := newRig(t, nil)
	r.knows(peer, peerMAC)
	for _, n := range []int{0, 1, 56, 1471, 1472, 1473, 3000, 65000, 65507} {
		f := ping(n)
		out := r.feed(split(f, 1480)...)
		require.NotEmpty(t, out, n)
		m := r.joined(out)
		require.Equal(t, len(f.data), len(m))
		assert.True(t, wire.ICMP(m).SumGood())
		assert.Equal(t, wire.ICMPEchoReply, m[0])
		assert.Equal(t, f.data[4:], m[4:])
		p := r.sound(out[0])
		assert.Equal(t, peer, p.Dst())
		assert.Equal(t, us, p.Src())
	}
	assert.Equal(t, uint64(9), r.counters.EchoReplies)
	r.counters = Counters{}
	f := ping(5)
	f.to, f.dst = 0xffffffff, wire.Broadcast
	assert.Empty(t, r.feed(f.bytes()), "broadcast")
	assert.Empty(t, r.feed(frame{proto: wire.ProtoICMP, data: icmp(wire.ICMPEchoReply, 0, 0, nil)}.bytes()))
	assert.Empty(t, r.feed(frame{proto: wire.ProtoICMP, data: icmp(wire.ICMPRedirect, 0, 0, make([]byte, 28))}.bytes()))
	r.counts(map[string]uint64{"ICMPIgnored": 3})
	assert.Empty(t, r.feed(frame{proto: wire.ProtoICMP, data: make([]byte, 7)}.bytes()))
	assert.Empty(t, r.feed(changed(ping(5).bytes(), func(b []byte) { b[40]++ })))
	r.counts(map[string]uint64{"ICMPBad": 2})
}

// TestEchoSums: the checksum of the reply is right for every checksum of the request.
func TestEchoSums(t *testing.T) {
	r := newRig(t, nil)
	r.knows(peer, peerMAC)
	for i := range 65536 {
		f := frame{proto: wire.ProtoICMP, data: icmp(wire.ICMPEcho, 0, uint32(i)<<16, nil)}
		if !wire.ICMP(r.feed(f.bytes())[0][headLen:]).SumGood() {
			t.Fatal(i)
		}
	}
}

func TestPingSelf(t *testing.T) {
	r := newRig(t, nil)
	for _, a := range []wire.Addr{us, addr(127, 0, 0, 1)} {
		m := icmp(wire.ICMPEcho, 0, 0, []byte("x"))
		p := r.path(us, a)
		copy(r.Buffer(p), m)
		r.Send(p, len(m), wire.ProtoICMP, -1)
		r.poll()
		assert.Equal(t, a, r.answer.Local)
	}
	assert.Equal(t, uint64(2), r.counters.EchoReplies)
	assert.Empty(t, r.sent())
}

// about is an ICMP error about a packet of ours to far.
func about(typ, code uint8, rest uint32, change func(p wire.IPv4)) []byte {
	p := wire.IPv4(make([]byte, 28))
	p.Put(1500, 1, wire.DontFragment, 60, wire.ProtoTCP, us, far)
	copy(p[20:], "ABCDEFGH")
	if change != nil {
		change(p)
	}
	return frame{from: gateway, proto: wire.ProtoICMP, data: icmp(typ, code, rest, p)}.bytes()
}

func TestErrorsIn(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		typ, code uint8
		rest      uint32
		err       abi.Errno
		hard      bool
		mtu       int
	}{
		{3, 0, 0, syscall.ENETUNREACH, false, 0},
		{3, 1, 0, syscall.EHOSTUNREACH, false, 0},
		{3, 2, 0, syscall.ENOPROTOOPT, true, 0},
		{3, 3, 0, syscall.ECONNREFUSED, true, 0},
		{3, 4, 1400, syscall.EMSGSIZE, false, 1400},
		{3, 4, 0, syscall.EMSGSIZE, false, 1492},
		{3, 13, 0, syscall.EHOSTUNREACH, false, 0},
		{11, 0, 0, syscall.EHOSTUNREACH, false, 0},
		{12, 0, 0, syscall.EPROTO, false, 0},
	} {
		r.tcp.lost = nil
		r.feed(about(c.typ, c.code, c.rest, nil))
		require.Len(t, r.tcp.lost, 1)
		assert.Equal(t, Failure{Errno: c.err, Local: us, Remote: far, Data: []byte("ABCDEFGH"), MTU: c.mtu, Hard: c.hard}, r.tcp.lost[0])
	}
	r.counters, r.tcp.lost = Counters{}, nil
	bad := [][]byte{
		about(3, 1, 0, func(p wire.IPv4) { p[0] = 0x65 }),
		about(3, 1, 0, func(p wire.IPv4) { p[0] = 0x44 }),
		about(3, 1, 0, func(p wire.IPv4) { p[0] = 0x4f }),
		about(3, 1, 0, func(p wire.IPv4) { p[7] = 1 }), // not the first fragment
		about(3, 1, 0, func(p wire.IPv4) { p[15]++ }),  // not sent by us
		about(3, 1, 0, func(p wire.IPv4) { p[0] = 0x46 }),
		frame{proto: wire.ProtoICMP, data: icmp(3, 1, 0, nil)}.bytes(),
	}
	r.feed(bad...)
	r.counts(map[string]uint64{"ICMPBad": uint64(len(bad))})
	r.feed(about(3, 16, 0, nil), about(4, 0, 0, nil), about(3, 1, 0, func(p wire.IPv4) { p[9] = 99 }))
	r.counts(map[string]uint64{"ICMPIgnored": 3})
	assert.Empty(t, r.tcp.lost)
}

func TestUnknownProtocol(t *testing.T) {
	r := newRig(t, nil)
	r.knows(peer, peerMAC)
	f := frame{proto: 99, data: bytes.Repeat([]byte("0123456789"), 100), options: []byte{1, 1, 1, 0}}
	out := r.feed(f.bytes())
	require.Len(t, out, 1)
	p := r.sound(out[0])
	assert.Equal(t, 576, p.TotalLen())
	m := wire.ICMP(p.Payload())
	assert.True(t, m.SumGood())
	assert.Equal(t, []byte{3, 2}, []byte(m[:2]))
	assert.Equal(t, f.bytes()[14:14+548], []byte(m[8:]))
	r.counts(map[string]uint64{"UnknownProto": 1, "UnreachOut": 1})
}

// TestNoErrorAbout: RFC 1122, section 3.2.2.
func TestNoErrorAbout(t *testing.T) {
	r := newRig(t, nil)
	r.knows(peer, peerMAC)
	assert.Empty(t, r.feed(frame{proto: 99, to: 0xffffffff, dst: wire.Broadcast, data: make([]byte, 8)}.bytes()))
	for _, typ := range []byte{3, 4, 5, 11, 12, 99} {
		r.Unreachable(&Packet{Src: peer, Dst: us, proto: wire.ProtoICMP, Data: icmp(typ, 0, 0, nil)}, 3)
	}
	r.Unreachable(&Packet{Src: peer, Dst: us, proto: wire.ProtoICMP}, 3)
	r.Unreachable(&Packet{Src: peer, Dst: us, proto: wire.ProtoUDP, Group: true}, 3)
	assert.Empty(t, r.sent())
	r.counts(map[string]uint64{"UnknownProto": 1})
}

func TestErrorRate(t *testing.T) {
	r := newRig(t, func(c *Config) { c.ICMPErrors = 100 })
	r.knows(peer, peerMAC)
	for range 10_000 {
		r.feed(frame{proto: 99}.bytes())
		r.at += ms
	}
	assert.InDelta(t, 1000+errorBurst, r.counters.UnreachOut, 50)
	assert.Equal(t, uint64(10_000), r.counters.UnreachOut+r.counters.ICMPLimited)

	// The burst cannot be counted exactly.
	seen := map[uint64]bool{}
	for range 20 {
		r.at += 10 * second
		r.counters.UnreachOut = 0
		for range 100 {
			r.feed(frame{proto: 99}.bytes())
		}
		seen[r.counters.UnreachOut] = true
	}
	assert.Greater(t, len(seen), 3)
}

func TestPlateau(t *testing.T) {
	for n, want := range map[int]int{65535: 32000, 1500: 1492, 1492: 1006, 576: 508, 297: 296, 296: 68, 0: 68} {
		assert.Equal(t, want, plateau(n))
	}
	f := about(3, 4, 0, func(p wire.IPv4) { binary.BigEndian.PutUint16(p[2:], 20) })
	r := newRig(t, nil)
	r.feed(f)
	assert.Equal(t, uint64(1), r.counters.ICMPBad, "too short to tell whose it is")
}
