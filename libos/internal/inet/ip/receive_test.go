package ip

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// TestDropped: each bad frame is dropped for its cause, and no other.
func TestDropped(t *testing.T) {
	good := func() []byte { return frame{data: []byte("hello, world")}.bytes() }
	options := func(o ...byte) []byte {
		for len(o)%4 != 0 {
			o = append(o, 0)
		}
		return frame{options: o, data: []byte("x")}.bytes()
	}
	for _, c := range []struct {
		name  string
		bytes []byte
		count string
	}{
		{"empty", nil, "FramesShort"},
		{"one byte too short", good()[:33], "FramesShort"},
		{"too long", make([]byte, 65550), "FramesLong"},
		{"of somebody else", frame{dst: mac3}.bytes(), "FramesForeign"},
		{"multicast", frame{dst: wire.MAC{1, 0, 0x5e, 0, 0, 1}}.bytes(), "FramesMulticast"},
		{"from a group", frame{src: wire.MAC{3}}.bytes(), "FramesSource"},
		{"type", changed(good(), func(b []byte) { b[12], b[13] = 0x86, 0xdd }), "FramesType"},
		{"length field of 802.3", changed(good(), func(b []byte) { b[12], b[13] = 0, 46 }), "FramesType"},
		{"version 6", changed(good(), func(b []byte) { b[14] = 0x65 }), "BadHeader"},
		{"header of 16 bytes", changed(good(), func(b []byte) { b[14] = 0x44 }), "BadHeader"},
		{"header beyond the end", changed(good(), func(b []byte) { b[14] = 0x4f }), "BadHeader"},
		{"longer than the frame", resum(changed(good(), func(b []byte) { b[17]++ })), "BadHeader"},
		{"shorter than its header", resum(changed(good(), func(b []byte) { b[17] = 19 })), "BadHeader"},
		{"sum", changed(good(), func(b []byte) { b[24]++ }), "BadSum"},
		{"sum with options", changed(options(1, 1, 1, 1), func(b []byte) { b[24]++ }), "BadSum"},
		{"loose source route", options(1, 0x83, 7, 4, 10, 0, 0, 9), "SourceRouted"},
		{"strict source route", options(0x89, 7, 4, 10, 0, 0, 9), "SourceRouted"},
		{"option of length 0", options(7, 0, 0, 0), "BadOptions"},
		{"option of length 1", options(7, 1, 0, 0), "BadOptions"},
		{"option beyond the header", options(7, 5, 0, 0), "BadOptions"},
		{"option without length", options(1, 1, 1, 7), "BadOptions"},
		{"to somebody else", frame{to: other}.bytes(), "NotForUs"},
		{"to multicast", frame{to: addr(224, 0, 0, 1)}.bytes(), "NotForUs"},
		{"to 127.0.0.1", frame{to: addr(127, 0, 0, 1)}.bytes(), "NotForUs"},
		{"to 0.0.0.0", changed(good(), func(b []byte) { clear(b[30:34]); resum(b) }), "NotForUs"},
		{"to the network itself", frame{to: addr(10, 0, 0, 0)}.bytes(), "NotForUs"},
		{"unicast in a broadcast frame", frame{dst: wire.Broadcast}.bytes(), "BadBroadcast"},
		{"from us", frame{from: us}.bytes(), "BadSource"},
		{"from 127.0.0.1", frame{from: addr(127, 0, 0, 1)}.bytes(), "BadSource"},
		{"from 0.0.0.0", changed(good(), func(b []byte) { clear(b[26:30]); resum(b) }), "BadSource"},
		{"from multicast", frame{from: addr(224, 0, 0, 1)}.bytes(), "BadSource"},
		{"from class E", frame{from: addr(240, 0, 0, 1)}.bytes(), "BadSource"},
		{"from broadcast", frame{from: addr(255, 255, 255, 255)}.bytes(), "BadSource"},
		{"from directed broadcast", frame{from: addr(10, 0, 0, 255)}.bytes(), "BadSource"},
		{"from the network itself", frame{from: addr(10, 0, 0, 0)}.bytes(), "BadSource"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			assert.Empty(t, r.feed(c.bytes))
			r.counts(map[string]uint64{c.count: 1})
			assert.Empty(t, r.udp.packets)
		})
	}
}

func TestDelivered(t *testing.T) {
	r := newRig(t, nil)
	check := func(b []byte, group bool) {
		t.Helper()
		r.udp.packets = nil
		assert.Empty(t, r.feed(b))
		require.Len(t, r.udp.packets, 1)
		k := r.udp.packets[0]
		assert.Equal(t, "hello", string(k.Data))
		assert.Equal(t, peer, k.Src)
		assert.Equal(t, group, k.Group)
		assert.Equal(t, uint8(64), k.TTL)
		assert.False(t, k.SumGood)
	}
	data := []byte("hello")
	check(frame{data: data}.bytes(), false)
	check(append(frame{data: data}.bytes(), "padding of the link"...), false)
	check(frame{data: data, options: []byte{7, 7, 4, 0, 0, 0, 0, 0}}.bytes(), false) // record route
	check(frame{data: data, options: []byte{1, 1, 148, 4, 0, 0, 0, 0xff}}.bytes(), false)
	check(frame{data: data, to: addr(255, 255, 255, 255), dst: wire.Broadcast}.bytes(), true)
	check(frame{data: data, to: addr(10, 0, 0, 255), dst: wire.Broadcast}.bytes(), true)
	check(frame{data: data, to: addr(10, 0, 0, 255)}.bytes(), true)
	ttl := frame{data: data}.bytes()
	ttl[22] = 0 // RFC 1122, section 3.2.1.7
	r.udp.packets = nil
	r.feed(resum(ttl))
	assert.Len(t, r.udp.packets, 1)
	r.counts(map[string]uint64{})

	r.dev.flags = link.SumsGood
	r.udp.packets = nil
	r.feed(changed(frame{data: data}.bytes(), func(b []byte) { b[24]++ }))
	require.Len(t, r.udp.packets, 1)
	assert.True(t, r.udp.packets[0].SumGood)
}

func TestNoBroadcastInSmallNetworks(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Addr, c.Prefix, c.Gateway = addr(10, 0, 0, 2), 31, 0 })
	assert.False(t, r.Broadcast(addr(10, 0, 0, 3)))
	r.feed(frame{from: addr(10, 0, 0, 3), to: addr(10, 0, 0, 2)}.bytes())
	assert.Len(t, r.udp.packets, 1)
}

func TestBusy(t *testing.T) {
	r := newRig(t, nil)
	for range 40 {
		r.dev.in = append(r.dev.in, frame{}.bytes())
	}
	assert.True(t, r.Poll(r.at))
	assert.Len(t, r.udp.packets, 32)
	assert.False(t, r.Poll(r.at))
	assert.Len(t, r.udp.packets, 40)
}

func TestBadConfig(t *testing.T) {
	for _, c := range []Config{
		{},
		{Addr: us, Prefix: 33},
		{Addr: us, Prefix: -1},
		{Addr: addr(224, 0, 0, 1), Prefix: 24},
		{Addr: addr(127, 0, 0, 1), Prefix: 24},
		{Addr: addr(10, 0, 0, 255), Prefix: 24},
		{Addr: us, Prefix: 24, MTU: 1501},
		{Addr: us, Prefix: 24, MTU: 67},
		{Addr: us, Prefix: 24, Gateway: us},
		{Addr: us, Prefix: 24, Gateway: addr(10, 0, 0, 255)},
		{Addr: us, Prefix: 24, Routes: []Route{{Prefix: 40}}},
		{Addr: us, Prefix: 24, Known: map[wire.Addr]wire.MAC{addr(224, 0, 0, 1): {}}},
		{Addr: us, Prefix: 24, Known: map[wire.Addr]wire.MAC{peer: wire.Broadcast}},
	} {
		_, err := New(&script{info: link.Info{MTU: 1500}}, nil, &c, 0)
		assert.NotZero(t, err, "%+v", c)
	}
}

// seer is TCP with foresight.
type seer struct {
	proto
	seen, near int
	ports      []uint16
	before     bool // all was foreseen before the first Input
}

func (s *seer) Input(k *Packet) {
	if len(s.packets) == 0 {
		s.before = s.seen == 3 && s.near == lead+1
	}
	s.proto.Input(k)
}

func (s *seer) Foresee(src, dst wire.Addr, srcPort, dstPort uint16) {
	if src == peer && dst == us {
		s.seen++
		s.ports = append(s.ports, srcPort, dstPort)
	}
}

func (s *seer) Near() { s.near++ }

func TestForesight(t *testing.T) {
	r := newRig(t, nil)
	s := &seer{}
	r.Register(wire.ProtoTCP, s)
	segment := func(from uint16) []byte {
		b := make([]byte, wire.TCPLen)
		wire.TCP(b).Put(from, 80, 1, 1, wire.TCPLen, wire.ACK, 1000)
		return frame{proto: wire.ProtoTCP, data: b}.bytes()
	}
	r.feed(segment(1))
	assert.Zero(t, s.seen, "one segment is no burst")
	s.packets = nil
	r.feed(segment(1), frame{proto: wire.ProtoUDP, data: make([]byte, 30)}.bytes(), segment(2), frame{proto: wire.ProtoTCP, data: []byte("short")}.bytes(), segment(0xffff))
	assert.True(t, s.before)
	assert.Equal(t, []uint16{1, 80, 2, 80, 0xffff, 80}, s.ports)
	assert.Equal(t, lead+5, s.near)
	assert.Len(t, s.packets, 4)
}
