// Package linktest checks that a device keeps the contract of link.Device, and helps tests that need namespaces.
//
// Run is called with a function that opens two devices joined by a link: the one under test and its peer, which only
// has to work.
package linktest

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// Open opens a device and its peer. They are closed by Run.
type Open func(t *testing.T) (dev, peer link.Device)

// shortest is a frame that no link pads.
const shortest = 60

// experimental is the EtherType for local experiments: frames of tests, among those of a kernel.
const experimental = 0x88b5

// Run checks a device.
func Run(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, dev, peer link.Device)
	}{
		{"Info", info},
		{"BothWays", bothWays},
		{"BufferStays", bufferStays},
		{"FramesStay", framesStay},
		{"ShortSlices", shortSlices},
		{"WrongLengths", wrongLengths},
		{"Full", full},
		{"Ready", ready},
		{"NoAllocations", noAllocations},
	} {
		t.Run(c.name, func(t *testing.T) {
			dev, peer := open(t)
			t.Cleanup(func() { dev.Close(); peer.Close() })
			c.run(t, dev, peer)
		})
	}
}

// Fill writes frame number i, of n bytes, to everybody.
func Fill(b []byte, i, n int) {
	wire.Ethernet(b).Put(wire.Broadcast, wire.MAC{2, 0, 0, 0, 9, 9}, experimental)
	binary.BigEndian.PutUint32(b[14:], uint32(i))
	for k := 18; k < n; k++ {
		b[k] = byte(i + k)
	}
}

// number is that of a frame that Fill has written, if it is one and whole.
func number(f []byte) (int, bool) {
	if len(f) < 18 || wire.Ethernet(f).Type() != experimental {
		return 0, false
	}
	i := int(binary.BigEndian.Uint32(f[14:]))
	for k := 18; k < len(f); k++ {
		if f[k] != byte(i+k) {
			return 0, false
		}
	}
	return i, true
}

// send sends frame i.
func send(t *testing.T, d link.Device, i, n int) {
	b := d.Buffer()
	require.NotNil(t, b)
	Fill(b, i, n)
	d.Send(n, 0)
}

// patience is for links through a kernel; in memory nothing has to be waited for.
const patience = 2 * time.Second

// receive returns the frames of Fill that the next successful Receive gives.
func receive(d link.Device, frames []link.Frame) []link.Frame {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		got := frames[:0]
		for _, f := range frames[:d.Receive(frames)] {
			if len(f.Data) >= 18 && wire.Ethernet(f.Data).Type() == experimental {
				got = append(got, f)
			}
		}
		if len(got) > 0 {
			return got
		}
	}
	return nil
}

// drain receives until nothing has come for a while.
func drain(d link.Device) (n int) {
	frames := make([]link.Frame, 32)
	for deadline := time.Now().Add(20 * time.Millisecond); time.Now().Before(deadline); {
		for _, f := range frames[:d.Receive(frames)] {
			if _, ok := number(f.Data); ok {
				n++
			}
			deadline = time.Now().Add(20 * time.Millisecond)
		}
	}
	return n
}

func info(t *testing.T, dev, _ link.Device) {
	i := dev.Info()
	assert.NotEmpty(t, i.Name)
	assert.NotEqual(t, wire.MAC{}, i.MAC)
	assert.False(t, i.MAC.Group())
	assert.GreaterOrEqual(t, i.MTU, 68, "RFC 791")
	assert.GreaterOrEqual(t, i.FD, -1)
	assert.Zero(t, i.Offloads&^(link.SumIPv4|link.SumTransport))
	assert.Equal(t, i, dev.Info())
}

// bothWays sends frames of all sizes, one and many at a time, both ways.
func bothWays(t *testing.T, dev, peer link.Device) {
	frames := make([]link.Frame, 32)
	way := func(from, to link.Device) {
		mtu := min(from.Info().MTU, to.Info().MTU)
		sent, rcvd := 0, 0
		tx, rx := *from.Counters(), *to.Counters()
		bytes := uint64(0)
		for burst := 1; burst <= 16; burst *= 2 {
			for k := range burst {
				n := shortest + sent*97%(mtu+wire.EthernetLen-shortest+1)
				if k == burst-1 {
					n = mtu + wire.EthernetLen
				}
				send(t, from, sent, n)
				bytes += uint64(n)
				sent++
			}
			from.Flush()
			for rcvd < sent {
				got := receive(to, frames)
				require.NotEmpty(t, got, "frame %d of %d", rcvd, sent)
				for _, f := range got {
					i, ok := number(f.Data)
					require.True(t, ok)
					require.Equal(t, rcvd, i)
					rcvd++
				}
			}
		}
		assert.Equal(t, tx.TxFrames+uint64(sent), from.Counters().TxFrames)
		assert.Equal(t, tx.TxBytes+bytes, from.Counters().TxBytes)
		assert.Equal(t, tx.TxDropped, from.Counters().TxDropped)
		assert.GreaterOrEqual(t, to.Counters().RxFrames, rx.RxFrames+uint64(sent))
		assert.GreaterOrEqual(t, to.Counters().RxBytes, rx.RxBytes+bytes)
		assert.Equal(t, rx.RxErrors, to.Counters().RxErrors)
	}
	way(dev, peer)
	way(peer, dev)
}

// bufferStays: Buffer returns the same room until Send takes it, whatever happens in between.
func bufferStays(t *testing.T, dev, peer link.Device) {
	frames := make([]link.Frame, 8)
	for i := range 4 {
		send(t, dev, i, shortest)
	}
	dev.Flush()
	require.NotEmpty(t, receive(peer, frames))
	b := dev.Buffer()
	require.Len(t, b, dev.Info().MTU+wire.EthernetLen)
	Fill(b, 1, shortest)
	send(t, peer, 2, shortest)
	peer.Flush()
	require.Len(t, receive(dev, frames), 1)
	dev.Flush()
	drain(peer)
	again := dev.Buffer()
	require.Same(t, &b[0], &again[0])
	dev.Send(shortest, 0)
	dev.Flush()
	got := receive(peer, frames)
	require.Len(t, got, 1)
	i, ok := number(got[0].Data)
	assert.True(t, ok)
	assert.Equal(t, 1, i)
}

// framesStay: received frames stay as they are until the next Receive, while others arrive and are sent. They may be
// written to.
func framesStay(t *testing.T, dev, peer link.Device) {
	frames := make([]link.Frame, 4)
	for i := range 4 {
		send(t, peer, i, shortest)
	}
	peer.Flush()
	got := receive(dev, frames)
	require.NotEmpty(t, got)
	for _, f := range got {
		clear(f.Data[18:])
	}
	for i := range 64 {
		if b := peer.Buffer(); b != nil {
			Fill(b, 100+i, shortest)
			peer.Send(shortest, 0)
		}
		if b := dev.Buffer(); b != nil {
			Fill(b, 200+i, shortest)
			dev.Send(shortest, 0)
		}
		peer.Flush()
		dev.Flush()
	}
	for i, f := range got {
		assert.Equal(t, uint32(i), binary.BigEndian.Uint32(f.Data[14:]))
		assert.Equal(t, make([]byte, shortest-18), f.Data[18:])
	}
	assert.Equal(t, 64+4-len(got), drain(dev))
}

// shortSlices: frames that a Receive has no place for come with the next one.
func shortSlices(t *testing.T, dev, peer link.Device) {
	for i := range 5 {
		send(t, peer, i, shortest)
	}
	peer.Flush()
	assert.Zero(t, dev.Receive(nil))
	frames := make([]link.Frame, 1)
	for i := range 5 {
		got := receive(dev, frames)
		require.Len(t, got, 1)
		k, ok := number(got[0].Data)
		assert.True(t, ok)
		assert.Equal(t, i, k)
	}
	assert.Zero(t, drain(dev))
}

// wrongLengths: what is no frame is lost and counted, and does no harm.
func wrongLengths(t *testing.T, dev, peer link.Device) {
	before := *dev.Counters()
	for _, n := range []int{-1, 0, wire.EthernetLen - 1, dev.Info().MTU + wire.EthernetLen + 1, 1 << 40} {
		require.NotNil(t, dev.Buffer())
		dev.Send(n, 0)
	}
	dev.Flush()
	assert.Equal(t, before.TxDropped+5, dev.Counters().TxDropped)
	assert.Equal(t, before.TxFrames, dev.Counters().TxFrames)
	send(t, dev, 1, shortest)
	dev.Flush()
	assert.Equal(t, 1, drain(peer))
}

// full: a link whose other end does not receive loses frames, and works on when it does again.
func full(t *testing.T, dev, peer link.Device) {
	const tries = 20000
	sent, refused := 0, 0
	before := *dev.Counters()
	for i := range tries {
		b := dev.Buffer()
		if b == nil {
			refused++
			dev.Flush()
			continue
		}
		Fill(b, i, shortest)
		dev.Send(shortest, 0)
		sent++
		if i%8 == 7 {
			dev.Flush()
		}
	}
	dev.Flush()
	got := drain(peer)
	c := dev.Counters()
	assert.Equal(t, uint64(sent), c.TxFrames-before.TxFrames+c.TxDropped-before.TxDropped)
	assert.Less(t, got, tries, "memory is bounded")
	assert.NotZero(t, got)
	if dev.Info().FD < 0 && peer.Info().FD < 0 {
		assert.Equal(t, c.TxFrames-before.TxFrames, uint64(got), "in memory nothing gets lost uncounted")
	}
	for i := range 100 {
		send(t, dev, i, shortest)
		dev.Flush()
		require.Equal(t, 1, len(receive(peer, make([]link.Frame, 1))))
	}
	assert.Zero(t, drain(peer))
}

// ready: a descriptor is readable if Receive has something to give, and not after it had nothing.
func ready(t *testing.T, dev, peer link.Device) {
	fd := dev.Info().FD
	if fd < 0 {
		t.Skip("no descriptor")
	}
	readable := func(timeout int) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, timeout)
		require.NoError(t, err)
		return n == 1
	}
	for i := range 5 {
		drain(dev)
		require.False(t, readable(0))
		send(t, peer, i, shortest)
		peer.Flush()
		require.True(t, readable(2000))
		require.True(t, readable(0), "until received")
		require.Len(t, receive(dev, make([]link.Frame, 4)), 1)
	}
}

func noAllocations(t *testing.T, dev, peer link.Device) {
	frames := make([]link.Frame, 32)
	way := func(from, to link.Device) {
		assert.Zero(t, testing.AllocsPerRun(200, func() {
			for i := range 8 {
				if b := from.Buffer(); b != nil {
					Fill(b, i, shortest)
					from.Send(shortest, 0)
				}
			}
			from.Flush()
			for to.Receive(frames) > 0 {
			}
			_ = from.Info()
			_ = from.Counters()
		}))
	}
	way(dev, peer)
	way(peer, dev)
}
