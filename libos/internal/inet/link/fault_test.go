package link_test

import (
	"encoding/binary"
	"math/bits"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link/linktest"
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

const ms = int64(1e6)

// faulty is a pipe with an injector at one end.
func faulty(cfg link.FaultConfig) (*link.Fault, *link.Pipe) {
	a, b := link.NewPipe(link.Config{Queue: 4096, Offloads: link.SumTransport | link.SumIPv4}, link.Config{Queue: 4096})
	return link.NewFault(a, cfg), b
}

func put(d link.Device, i, n int) {
	linktest.Fill(d.Buffer(), i, n)
	d.Send(n, 0)
}

// numbers receives all and returns the numbers of the frames.
func numbers(d link.Device) (got []int) {
	frames := make([]link.Frame, 32)
	for n := d.Receive(frames); n > 0; n = d.Receive(frames) {
		for _, f := range frames[:n] {
			got = append(got, int(binary.BigEndian.Uint32(f.Data[14:])))
		}
	}
	return got
}

func TestFault(t *testing.T) {
	linktest.Run(t, func(*testing.T) (dev, peer link.Device) {
		a, b := link.NewPipe(link.Config{}, link.Config{})
		return link.NewFault(a, link.FaultConfig{}), b
	})
}

func TestFaultUnclean(t *testing.T) {
	never := link.Impairment{Loss: 1e-300} // takes the long way, yet does nothing
	linktest.Run(t, func(*testing.T) (dev, peer link.Device) {
		a, b := link.NewPipe(link.Config{}, link.Config{})
		return link.NewFault(a, link.FaultConfig{Send: never, Receive: never}), b
	})
}

// run sends 4000 frames each way, one per ms, and returns what arrived.
func run(cfg link.FaultConfig) (f *link.Fault, toPeer, toUs []int) {
	f, peer := faulty(cfg)
	for i := range 4000 {
		f.SetNow(int64(i) * ms)
		put(f, i, 60)
		put(peer, i, 60)
		f.Flush()
		peer.Flush()
		toUs = append(toUs, numbers(f)...)
		toPeer = append(toPeer, numbers(peer)...)
	}
	for f.Next() != timer.Never {
		f.SetNow(f.Next())
		toUs = append(toUs, numbers(f)...)
		toPeer = append(toPeer, numbers(peer)...)
	}
	return f, toPeer, toUs
}

func TestFaultLoss(t *testing.T) {
	f, toPeer, toUs := run(link.FaultConfig{Seed: 1, Send: link.Impairment{Loss: 0.1}})
	rx, tx := f.Faults()
	assert.Len(t, toUs, 4000, "the other direction")
	assert.InDelta(t, 400, tx.Lost, 80)
	assert.Len(t, toPeer, 4000-int(tx.Lost))
	assert.Zero(t, rx.Lost)
	assert.Equal(t, uint64(4000), tx.Frames)
	assert.Equal(t, uint64(4000), rx.Frames)

	_, same, _ := run(link.FaultConfig{Seed: 1, Send: link.Impairment{Loss: 0.1}})
	assert.Equal(t, toPeer, same)
	_, other, _ := run(link.FaultConfig{Seed: 2, Send: link.Impairment{Loss: 0.1}})
	assert.NotEqual(t, toPeer, other)
	_, none, back := run(link.FaultConfig{Send: link.Impairment{Loss: 1}, Receive: link.Impairment{Loss: 0.5}})
	assert.Empty(t, none)
	assert.InDelta(t, 2000, len(back), 200)
}

func TestFaultDuplicate(t *testing.T) {
	f, toPeer, toUs := run(link.FaultConfig{Receive: link.Impairment{Duplicate: 0.2}})
	rx, _ := f.Faults()
	assert.Len(t, toPeer, 4000)
	assert.InDelta(t, 800, rx.Duplicated, 120)
	assert.Len(t, toUs, 4000+int(rx.Duplicated))
	twice := 0
	for i := 1; i < len(toUs); i++ {
		if toUs[i] == toUs[i-1] {
			twice++
		}
	}
	assert.Equal(t, int(rx.Duplicated), twice)
}

// Jitter keeps the order, Reorder does not; nothing gets lost, and what is late is so by no more than it should.
func TestFaultReorder(t *testing.T) {
	inversions := func(got []int) (n int) {
		for i := 1; i < len(got); i++ {
			if got[i] < got[i-1] {
				n++
			}
		}
		return n
	}
	_, kept, _ := run(link.FaultConfig{Send: link.Impairment{Delay: 5 * ms, Jitter: 20 * ms}})
	assert.Len(t, kept, 4000)
	assert.Zero(t, inversions(kept))

	f, mixed, _ := run(link.FaultConfig{Send: link.Impairment{Delay: 5 * ms, Reorder: 0.1, ReorderBy: 10 * ms}})
	_, tx := f.Faults()
	assert.ElementsMatch(t, kept, mixed)
	assert.InDelta(t, 400, tx.Reordered, 80)
	assert.InDelta(t, 360, inversions(mixed), 80)
	for at, i := range mixed {
		assert.InDelta(t, at, i, 11)
	}
}

func TestFaultDelay(t *testing.T) {
	f, peer := faulty(link.FaultConfig{Send: link.Impairment{Delay: 2 * ms}, Receive: link.Impairment{Delay: 3 * ms}})
	assert.Equal(t, timer.Never, f.Next())
	f.SetNow(1000)
	put(f, 1, 60)
	f.Flush()
	put(peer, 2, 60)
	peer.Flush()
	assert.Empty(t, numbers(f))
	assert.Equal(t, 2, f.Held())
	assert.Equal(t, 2*ms+1000, f.Next())
	f.SetNow(2*ms + 999)
	f.Flush()
	assert.Empty(t, numbers(f))
	assert.Empty(t, numbers(peer))
	f.SetNow(f.Next())
	assert.Empty(t, numbers(f))
	assert.Equal(t, []int{1}, numbers(peer), "Receive sends, too")
	assert.Equal(t, 3*ms+1000, f.Next())
	b := f.Buffer()
	f.SetNow(f.Next())
	assert.Equal(t, []int{2}, numbers(f))
	assert.Equal(t, timer.Never, f.Next())
	assert.Same(t, &b[0], &f.Buffer()[0])
	put(f, 3, 60)
	b = f.Buffer()
	f.SetNow(f.Next())
	f.Flush()
	assert.Same(t, &b[0], &f.Buffer()[0], "though that of frame 3 has become free")
	assert.Equal(t, []int{3}, numbers(peer))
}

// 1000 bytes take 1 ms at 8 Mbit/s. The queue before the line is short.
func TestFaultRate(t *testing.T) {
	f, peer := faulty(link.FaultConfig{Send: link.Impairment{Rate: 8e6, Queue: 5000}})
	for i := range 10 {
		put(f, i, 1000)
	}
	f.Flush()
	assert.Empty(t, numbers(peer))
	for i := range 6 {
		assert.Equal(t, int64(i+1)*ms, f.Next())
		f.SetNow(f.Next())
		f.Flush()
		assert.Equal(t, []int{i}, numbers(peer))
	}
	assert.Equal(t, timer.Never, f.Next())
	_, tx := f.Faults()
	assert.Equal(t, uint64(4), tx.Queued)
}

func TestFaultBounded(t *testing.T) {
	hour := link.Impairment{Delay: 3600e9, Duplicate: 0.5}
	f, peer := faulty(link.FaultConfig{Send: hour, Receive: hour, Frames: 100})
	for i := range 300 {
		put(f, i, 60)
		put(peer, i, 60)
	}
	f.Flush()
	peer.Flush()
	for range 3 { // so many at a time
		assert.Empty(t, numbers(f))
	}
	assert.Equal(t, 200, f.Held())
	rx, tx := f.Faults()
	assert.Positive(t, rx.Overflowed)
	assert.GreaterOrEqual(t, 100+tx.Overflowed, 300+tx.Duplicated, "the rest are accounted for")
	f.SetNow(3600e9)
	assert.Len(t, numbers(f), 100)
	assert.Len(t, numbers(peer), 100)
	assert.Zero(t, f.Held())
	put(f, 1, 60)
	put(peer, 1, 60)
	peer.Flush()
	numbers(f)
	assert.Positive(t, f.Held(), "the buffers are back")
}

// One bit, behind the Ethernet header, and not in ARP.
func TestFaultCorrupt(t *testing.T) {
	f, peer := faulty(link.FaultConfig{Seed: 3, Send: link.Impairment{Corrupt: 1}})
	frames := make([]link.Frame, 1)
	want := make([]byte, 100)
	at := map[int]bool{}
	for i := range 500 {
		put(f, i, 100)
		f.Flush()
		linktest.Fill(want, i, 100)
		require.Equal(t, 1, peer.Receive(frames))
		flipped := 0
		for k, b := range frames[0].Data {
			if b != want[k] {
				flipped += bits.OnesCount8(b ^ want[k])
				at[k] = true
				assert.GreaterOrEqual(t, k, wire.EthernetLen)
			}
		}
		require.Equal(t, 1, flipped)
	}
	assert.Greater(t, len(at), 80, "anywhere")
	b := f.Buffer()
	clear(b)
	wire.Ethernet(b).Put(wire.Broadcast, wire.MAC{2}, wire.TypeARP)
	f.Send(60, 0)
	f.Flush()
	require.Equal(t, 1, peer.Receive(frames))
	assert.Equal(t, make([]byte, 46), frames[0].Data[14:])
	_, tx := f.Faults()
	assert.Equal(t, uint64(500), tx.Corrupted)
}

// packet writes a frame of n bytes with a packet of UDP or TCP, whose sums are left to the device.
func packet(b []byte, n int, proto uint8) {
	clear(b[:n])
	wire.Ethernet(b).Put(wire.MAC{2, 1}, wire.MAC{2, 2}, wire.TypeIPv4)
	ip := wire.IPv4(b[14:n])
	ip.Put(n-14, 7, 0, 64, proto, 0x0a000001, 0x0a000002)
	binary.BigEndian.PutUint16(ip[10:], 0)
	binary.BigEndian.PutUint16(ip[24:], uint16(n-34))
	for i := 28; i < len(ip); i++ {
		ip[i] = byte(i * 7)
	}
	field := 26
	if proto == wire.ProtoTCP {
		field = 36
	}
	binary.BigEndian.PutUint16(ip[field:], wire.Fold(wire.PseudoSum(0x0a000001, 0x0a000002, proto, n-34)))
}

func good(frame []byte) (header, transport bool) {
	ip, ok := wire.ParseIPv4(frame[14:])
	if !ok || ip.HeaderLen() != 20 {
		return false, false
	}
	sum := wire.Sum(ip[20:], wire.PseudoSum(ip.Src(), ip.Dst(), ip.Proto(), len(ip)-20))
	return ip.SumGood(), wire.Fold(sum) == 0xffff
}

// A corrupted packet is found out even if the device was to fill in its sums, or has said that they are good.
func TestFaultCorruptOffload(t *testing.T) {
	f, peer := faulty(link.FaultConfig{Send: link.Impairment{Corrupt: 1}, Receive: link.Impairment{Corrupt: 1}})
	frames := make([]link.Frame, 1)
	passed := 0
	for range 300 {
		packet(f.Buffer(), 75, wire.ProtoUDP)
		f.Send(75, link.SumIPv4|link.SumTransport)
		f.Flush()
		require.Equal(t, 1, peer.Receive(frames))
		assert.Zero(t, frames[0].Flags)
		header, transport := good(frames[0].Data)
		assert.False(t, header && transport)
		if header {
			passed++
		}
	}
	assert.Greater(t, passed, 100, "by the header")
	a, b := link.NewPipe(link.Config{Offloads: link.SumTransport | link.SumIPv4}, link.Config{})
	f = link.NewFault(b, link.FaultConfig{Seed: 5, Receive: link.Impairment{Corrupt: 1}})
	passed = 0
	for range 300 {
		packet(a.Buffer(), 75, wire.ProtoUDP)
		a.Send(75, link.SumTransport|link.SumIPv4)
		a.Flush()
		require.Equal(t, 1, f.Receive(frames))
		assert.Zero(t, frames[0].Flags)
		header, transport := good(frames[0].Data)
		assert.False(t, header && transport)
		if header != transport {
			passed++
		}
	}
	assert.Greater(t, passed, 200, "wrong in one place, not unfinished")
}

func TestFaultNoAllocations(t *testing.T) {
	all := link.Impairment{Loss: 0.1, Duplicate: 0.1, Corrupt: 0.1, Reorder: 0.1, Delay: ms, Jitter: ms, Rate: 1e9}
	f, peer := faulty(link.FaultConfig{Send: all, Receive: all})
	frames := make([]link.Frame, 32)
	now := int64(0)
	assert.Zero(t, testing.AllocsPerRun(2000, func() {
		now += 100_000
		f.SetNow(now)
		put(f, 1, 60)
		f.Flush()
		put(peer, 1, 60)
		peer.Flush()
		f.Receive(frames)
		peer.Receive(frames)
		_ = f.Next()
	}))
}
