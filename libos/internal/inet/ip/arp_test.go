package ip

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

func TestAnnouncements(t *testing.T) {
	dev := &script{info: link.Info{MAC: ourMAC, MTU: 1500}, room: make([]byte, 1514)}
	w := timer.NewWheel(0)
	h, err := New(dev, w, &Config{Addr: us, Prefix: 24}, 0)
	require.Zero(t, err)
	r := &rig{Host: h, dev: dev, t: t}
	r.wait(10 * ms)
	out := r.sent()
	require.Len(t, out, 1)
	r.arpOut(out[0], wire.Broadcast, wire.ARPRequest, us)
	r.wait(5 * second)
	assert.Len(t, r.sent(), 1)
	assert.Zero(t, w.Len())
}

func TestResolve(t *testing.T) {
	r := newRig(t, nil)
	p := r.path(0, peer)
	for i := range 3 {
		r.push(p, wire.ProtoUDP, fmt.Sprint(i))
	}
	out := r.sent()
	require.Len(t, out, 1, "one request")
	r.arpOut(out[0], wire.Broadcast, wire.ARPRequest, peer)
	out = r.feed(arpIn(wire.ARPReply, peerMAC, peer, us))
	require.Len(t, out, 3)
	for i := range out {
		q := r.sound(out[i])
		assert.Equal(t, peerMAC, wire.Ethernet(out[i]).Dst())
		assert.Equal(t, fmt.Sprint(i), string(q.Payload()[8:]))
		assert.Equal(t, uint16(0xffff), wire.Fold(wire.Sum(q.Payload(), wire.PseudoSum(us, peer, wire.ProtoUDP, 9))))
	}
	r.push(p, wire.ProtoUDP, "now")
	out = r.sent()
	require.Len(t, out, 1)
	assert.Equal(t, peerMAC, wire.Ethernet(out[0]).Dst())
	r.counts(map[string]uint64{"ARPRequestsOut": 1})
}

func TestResolveFails(t *testing.T) {
	r := newRig(t, nil)
	p := r.path(0, peer)
	r.push(p, wire.ProtoTCP, "lost")
	start := r.at
	var times []int64
	for r.tcp.lost == nil {
		r.wait(10 * ms)
		if n := len(r.sent()); n > 0 {
			times = append(times, (r.at-start)/ms)
		}
	}
	assert.Len(t, times, 3)
	assert.InDelta(t, 1000, times[1]-times[0], 20)
	assert.InDelta(t, 3000, (r.at-start)/ms, 30)
	f := r.tcp.lost[0]
	assert.Equal(t, Failure{Errno: syscall.EHOSTUNREACH, Local: us, Remote: peer, Data: f.Data, Here: true}, f)
	assert.Equal(t, "lost", string(f.Data[8:]))
	r.counts(map[string]uint64{"ARPFailed": 1, "ARPRequestsOut": 3, "ARPQueueDropped": 1})
	assert.Zero(t, r.timers.Len())

	// The next packet tries again, at the same rate.
	r.push(p, wire.ProtoTCP, "again")
	assert.Len(t, r.sent(), 1)
	r.wait(5 * second)
	for range 100 {
		r.push(p, wire.ProtoTCP, "x")
	}
	assert.Len(t, r.sent(), 3)
	require.Len(t, r.tcp.lost, 2)
	r.wait(100 * ms)
	r.feed(arpIn(wire.ARPReply, peerMAC, peer, us))
	r.counts(map[string]uint64{"ARPFailed": 1, "ARPRequestsOut": 4, "ARPQueueDropped": 1 + 100 - maxWaiting})
}

// TestRequestRate: a neighbour that is given up is not asked for more than once a second, whoever asks.
func TestRequestRate(t *testing.T) {
	r := newRig(t, nil)
	for i := range 100 {
		p := r.path(0, peer)
		r.push(p, wire.ProtoUDP, "x")
		if n := r.arp.find(peer); i%7 == 0 {
			n.failed()
		}
		r.wait(100 * ms)
	}
	assert.InDelta(t, 10, len(r.sent()), 1)
}

func TestFailedMaySend(t *testing.T) {
	r := newRig(t, nil)
	p := r.path(0, peer)
	r.tcp.failed = func(*Failure) { r.push(p, wire.ProtoTCP, "more") }
	for range 5 {
		r.push(p, wire.ProtoTCP, "x")
	}
	r.wait(3500 * ms)
	assert.Len(t, r.tcp.lost, 5)
	assert.Equal(t, 5, r.arp.find(peer).count)
	r.tcp.failed = nil
	r.wait(4 * second)
	assert.Len(t, r.tcp.lost, 10)
	assert.Equal(t, 0, r.arp.find(peer).count)
}

func TestAgeing(t *testing.T) {
	r := newRig(t, nil)
	r.knows(peer, peerMAC)
	p := r.path(0, peer)
	r.push(p, wire.ProtoUDP, "x")
	r.sent()
	r.wait(61 * second)
	out := r.sent()
	require.NotEmpty(t, out)
	r.arpOut(out[0], peerMAC, wire.ARPRequest, peer) // used lately: asked, by unicast
	r.push(p, wire.ProtoUDP, "x")
	assert.Equal(t, peerMAC, wire.Ethernet(r.sent()[0]).Dst(), "still known")
	r.feed(arpIn(wire.ARPReply, peerMAC, peer, us))
	r.wait(60*second + 500*ms) // since the first question it was used once
	assert.Len(t, r.sent(), 1)
	r.feed(arpIn(wire.ARPReply, peerMAC, peer, us))

	// Not used from now on: nothing is asked, and no timer runs.
	r.wait(61 * second)
	assert.Empty(t, r.sent())
	assert.Zero(t, r.timers.Len())
	r.push(p, wire.ProtoUDP, "x")
	out = r.sent()
	require.Len(t, out, 2, "used again: sent, and asked")
	r.arpOut(out[0], peerMAC, wire.ARPRequest, peer)

	// No answer: asked by broadcast, then given up.
	r.wait(2500 * ms)
	assert.Len(t, r.sent(), 2)
	r.wait(700 * ms)
	r.push(p, wire.ProtoUDP, "kept")
	out = r.sent()
	require.NotEmpty(t, out)
	for _, b := range out {
		r.arpOut(b, wire.Broadcast, wire.ARPRequest, peer)
	}
	out = r.feed(arpIn(wire.ARPReply, mac3, peer, us))
	require.Len(t, out, 1)
	assert.Equal(t, mac3, wire.Ethernet(out[0]).Dst())
}

// TestDoubt: a neighbour that came back with another address is found.
func TestDoubt(t *testing.T) {
	r := newRig(t, nil)
	p := &Path{}
	r.Doubt(p)
	r.Doubt(r.path(0, us))
	p = r.path(0, peer)
	r.Doubt(p)
	assert.Empty(t, r.sent())
	r.knows(peer, peerMAC)
	r.push(p, wire.ProtoTCP, "x")
	r.sent()
	for range 10 {
		r.Doubt(p)
		r.wait(110 * ms)
	}
	out := r.sent()
	require.Len(t, out, 2)
	r.arpOut(out[0], peerMAC, wire.ARPRequest, peer)
	r.arpOut(out[1], wire.Broadcast, wire.ARPRequest, peer)
	r.feed(arpIn(wire.ARPReply, mac3, peer, us))
	r.push(p, wire.ProtoTCP, "x")
	assert.Equal(t, mac3, wire.Ethernet(r.sent()[0]).Dst())
}

func TestNewAddressOfNeighbour(t *testing.T) {
	r := newRig(t, nil)
	r.knows(peer, peerMAC)
	p := r.path(0, peer)
	r.feed(arpIn(wire.ARPRequest, mac3, peer, peer)) // gratuitous
	r.push(p, wire.ProtoUDP, "x")
	assert.Equal(t, mac3, wire.Ethernet(r.sent()[0]).Dst())
	r.counts(map[string]uint64{"ARPChanged": 1})
}

func TestAnswers(t *testing.T) {
	r := newRig(t, nil)
	out := r.feed(arpIn(wire.ARPRequest, peerMAC, peer, us))
	require.Len(t, out, 1)
	r.arpOut(out[0], peerMAC, wire.ARPReply, peer)
	assert.Equal(t, 42, len(out[0]))
	require.NotNil(t, r.arp.find(peer), "learned from a request to us")
	r.push(r.path(0, peer), wire.ProtoUDP, "x")
	assert.Equal(t, peerMAC, wire.Ethernet(r.sent()[1]).Dst())

	// A probe (RFC 5227): answered, not learned from.
	out = r.feed(arpIn(wire.ARPRequest, mac3, 0, us))
	require.Len(t, out, 1)
	r.arpOut(out[0], mac3, wire.ARPReply, 0)
	assert.Nil(t, r.arp.find(0))
	r.counts(map[string]uint64{"ARPRepliesOut": 2, "ARPRequestsOut": 1})

	for _, b := range [][]byte{
		arpIn(wire.ARPRequest, mac3, other, peer), // between others
		arpIn(wire.ARPReply, mac3, other, us),     // not asked for
		arpIn(wire.ARPRequest, mac3, other, other),
		arpIn(wire.ARPRequest, ourMAC, other, us),
	} {
		assert.Empty(t, r.feed(b))
		r.counts(map[string]uint64{"ARPIgnored": 1})
	}
	for _, b := range [][]byte{
		arpIn(3, mac3, other, us),
		arpIn(wire.ARPRequest, wire.Broadcast, other, us)[:42],
		arpIn(wire.ARPRequest, wire.MAC{}, other, us),
		arpIn(wire.ARPRequest, mac3, addr(224, 0, 0, 1), us),
		arpIn(wire.ARPRequest, mac3, addr(127, 0, 0, 1), us),
		arpIn(wire.ARPRequest, mac3, addr(10, 0, 0, 255), us),
		changed(arpIn(wire.ARPRequest, mac3, other, us), func(b []byte) { b[15] = 6 }),
		arpIn(wire.ARPRequest, mac3, other, us)[:41],
	} {
		b[6] = 2 // the sender of the frame itself is sound
		assert.Empty(t, r.feed(b))
		r.counts(map[string]uint64{"ARPBad": 1})
	}
	assert.Nil(t, r.arp.find(other))

	// Answered, but not learned from: it is not on this network.
	assert.Len(t, r.feed(arpIn(wire.ARPRequest, mac3, far, us)), 1)
	assert.Nil(t, r.arp.find(far))
}

func TestConflict(t *testing.T) {
	r := newRig(t, nil)
	for range 5 {
		r.feed(arpIn(wire.ARPRequest, mac3, us, us))
		r.wait(second)
	}
	assert.Equal(t, uint64(5), r.counters.ARPConflicts)
	assert.Equal(t, uint64(1), r.counters.ARPAnnouncements)
	r.wait(6 * second)
	r.feed(arpIn(wire.ARPReply, mac3, us, peer))
	assert.Equal(t, uint64(2), r.counters.ARPAnnouncements)
	assert.Nil(t, r.arp.find(us))
}

func TestKnown(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Known = map[wire.Addr]wire.MAC{peer: peerMAC, far: mac3, us: ourMAC} })
	r.feed(arpIn(wire.ARPReply, wire.MAC{2, 9}, peer, us), arpIn(wire.ARPRequest, wire.MAC{2, 9}, peer, us))
	r.sent()
	r.wait(300 * second)
	r.push(r.path(0, peer), wire.ProtoUDP, "x")
	r.push(r.path(0, far), wire.ProtoUDP, "x")
	out := r.sent()
	require.Len(t, out, 2)
	assert.Equal(t, peerMAC, wire.Ethernet(out[0]).Dst())
	assert.Equal(t, mac3, wire.Ethernet(out[1]).Dst(), "not by way of the gateway")
}

func TestDisableARP(t *testing.T) {
	r := newRig(t, func(c *Config) { c.DisableARP, c.Known = true, map[wire.Addr]wire.MAC{peer: peerMAC} })
	assert.Empty(t, r.feed(arpIn(wire.ARPRequest, mac3, other, us)))
	r.counts(map[string]uint64{"ARPIgnored": 1})
	assert.Equal(t, syscall.EHOSTUNREACH, r.Path(&Path{}, 0, other))
	assert.Equal(t, syscall.EHOSTUNREACH, r.Path(&Path{}, 0, far))
	r.push(r.path(0, peer), wire.ProtoUDP, "x")
	out := r.sent()
	require.Len(t, out, 1)
	assert.Equal(t, peerMAC, wire.Ethernet(out[0]).Dst())
	assert.Zero(t, r.timers.Len())
}

// TestStorm: whatever comes, the cache is bounded, and who is being talked to stays in it.
func TestStorm(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Prefix, c.Neighbours, c.Gateway, c.ARPAge = 8, 100, 0, 1000*second })
	r.knows(peer, peerMAC)
	p := r.path(0, peer)
	for i := range 100_000 {
		src := addr(10, byte(i>>16)+1, byte(i>>8), byte(i))
		mac := wire.MAC{2, 1}
		binary.BigEndian.PutUint32(mac[2:], uint32(i))
		switch i % 3 {
		case 0:
			r.dev.in = append(r.dev.in, arpIn(wire.ARPRequest, mac, src, us))
		case 1:
			r.dev.in = append(r.dev.in, arpIn(wire.ARPReply, mac, src, us))
		case 2: // whose answer needs a neighbour
			r.dev.in = append(r.dev.in, frame{from: src, proto: wire.ProtoICMP, data: icmp(wire.ICMPEcho, 0, 0, nil)}.bytes())
		}
		if i%16 == 0 {
			r.poll()
			r.push(p, wire.ProtoUDP, "x")
			out := r.dev.out
			require.Equal(t, peerMAC, wire.Ethernet(out[len(out)-1]).Dst())
			r.dev.out = nil
		}
		if i%1000 == 0 {
			r.at += second
		}
	}
	assert.LessOrEqual(t, len(r.arp.all), 100)
	assert.LessOrEqual(t, r.arp.frames, maxAllWaiting)
	assert.LessOrEqual(t, r.timers.Len(), 101)
	assert.Equal(t, uint64(0), r.counters.ARPFailed)
	entries := 0
	for _, n := range r.arp.table {
		for ; n != nil; n = n.next {
			entries++
		}
	}
	assert.Equal(t, len(r.arp.all), entries)
	waiting := 0
	for _, n := range r.arp.all {
		waiting += n.count
	}
	idle := 0
	for w := r.arp.idle; w != nil; w = w.next {
		idle++
	}
	assert.Equal(t, r.arp.frames, waiting+idle)
}

// TestEvicted: a path to an entry that was given to another address is looked up again.
func TestEvicted(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Neighbours = 2 })
	r.knows(peer, peerMAC)
	p := r.path(0, peer)
	r.push(p, wire.ProtoUDP, "x")
	for i := range byte(10) {
		r.knows(addr(10, 0, 0, 10+i), wire.MAC{2, 2, i})
	}
	r.sent()
	r.push(p, wire.ProtoUDP, "x")
	out := r.sent()
	require.Len(t, out, 1)
	r.arpOut(out[0], wire.Broadcast, wire.ARPRequest, peer)
	assert.Len(t, r.arp.all, 2)
}

// TestEvictedWhileAsked: what waited for an address does not go to the one that took its place.
func TestEvictedWhileAsked(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Neighbours = 1 })
	p := r.path(0, peer)
	r.path(0, gateway)
	r.push(p, wire.ProtoUDP, "to peer")
	r.arpOut(r.sent()[0], wire.Broadcast, wire.ARPRequest, peer)
	q := r.path(0, other)
	assert.Equal(t, uint64(1), r.counters.ARPQueueDropped)
	assert.Zero(t, r.timers.Len())
	r.push(q, wire.ProtoUDP, "to other")
	r.sent()
	out := r.feed(arpIn(wire.ARPReply, mac3, other, us))
	require.Len(t, out, 1)
	assert.Equal(t, "to other", string(r.sound(out[0]).Payload()[8:]))
	r.path(0, gateway)
	r.push(p, wire.ProtoUDP, "to peer")
	out = r.sent()
	require.Len(t, out, 1)
	r.arpOut(out[0], wire.Broadcast, wire.ARPRequest, peer)
}

// TestFailedLarge: one datagram, one report.
func TestFailedLarge(t *testing.T) {
	r := newRig(t, nil)
	require.Zero(t, r.SendLarge(r.path(0, peer), make([]byte, 5000), wire.ProtoUDP, 6))
	r.wait(4 * second)
	require.Len(t, r.udp.lost, 1)
	assert.Len(t, r.udp.lost[0].Data, 1480)
	assert.Equal(t, uint64(4), r.counters.ARPQueueDropped)
}

func TestNoRoomForWaiting(t *testing.T) {
	r := newRig(t, nil)
	for i := range byte(10) {
		p := r.path(0, addr(10, 0, 0, 10+i))
		for range 60 {
			r.push(p, wire.ProtoUDP, "x")
		}
	}
	assert.Equal(t, maxAllWaiting, r.arp.frames)
	assert.Equal(t, uint64(600-maxAllWaiting), r.counters.ARPQueueDropped)
	r.dev.full = true
	r.feed(arpIn(wire.ARPReply, peerMAC, addr(10, 0, 0, 10), us))
	assert.Equal(t, uint64(60), r.counters.NoBuffer)
	r.dev.full = false
	p := r.path(0, other)
	r.push(p, wire.ProtoUDP, "room again")
	assert.Equal(t, 1, r.arp.find(other).count)
}
