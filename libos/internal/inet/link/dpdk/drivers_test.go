package dpdk

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link/linktest"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// TestTap: DPDK's tap driver, which computes checksums for those who ask, joined to the kernel.
func TestTap(t *testing.T) {
	needDPDK(t)
	linktest.Run(t, func(t *testing.T) (link.Device, link.Device) {
		n := linktest.NewNamespace(t)
		var d *Device
		require.NoError(t, n.Do(func() (err error) { d, err = Open(with("net_tap0,iface=dtap0")); return err }))
		assert.Equal(t, link.SumIPv4|link.SumTransport, d.Info().Offloads)
		return d, n.Packet(t, link.PacketConfig{Interface: "dtap0"})
	})
}

// TestPacket: DPDK's driver of packet sockets, over a veth pair.
func TestPacket(t *testing.T) {
	needDPDK(t)
	linktest.Run(t, func(t *testing.T) (link.Device, link.Device) {
		a, b := linktest.NewNamespace(t), linktest.NewNamespace(t)
		linktest.Veth(t, a, "left", b, "right")
		var d *Device
		require.NoError(t, a.Do(func() (err error) {
			d, err = Open(with("net_af_packet0,iface=left,blocksz=4096,framesz=2048,framecnt=512,qpairs=1"))
			return err
		}))
		return d, b.Packet(t, link.PacketConfig{Interface: "right"})
	})
}

// TestSums: checksums are filled in when asked for, and found good or not in what is received.
func TestSums(t *testing.T) {
	needDPDK(t)
	n := linktest.NewNamespace(t)
	var d *Device
	require.NoError(t, n.Do(func() (err error) { d, err = Open(with("net_tap0,iface=dtap0")); return err }))
	defer d.Close()
	kernel := n.Packet(t, link.PacketConfig{Interface: "dtap0"})
	defer kernel.Close()
	const src, dst = wire.Addr(0x0a000001), wire.Addr(0x0a000002)
	for _, proto := range []uint8{wire.ProtoTCP, wire.ProtoUDP} {
		at := map[uint8]int{wire.ProtoTCP: 16, wire.ProtoUDP: 6}[proto]
		for _, size := range []int{40, 41, 999, 1480} {
			put := func(f []byte) []byte { // a frame with the sum of the pseudo-header only
				wire.Ethernet(f).Put(wire.Broadcast, d.Info().MAC, wire.TypeIPv4)
				p := wire.IPv4(f[wire.EthernetLen:])
				p.Put(20+size, 1, 0, 64, proto, src, dst)
				segment := f[wire.EthernetLen+20:][:size]
				for i := range segment {
					segment[i] = byte(i * 7)
				}
				if proto == wire.ProtoUDP {
					wire.UDP(segment).Put(7, 8, size)
				} else {
					segment[12] = 5 << 4
				}
				binary.BigEndian.PutUint16(segment[at:], wire.Fold(wire.PseudoSum(src, dst, proto, size)))
				return segment
			}
			good := func(segment []byte) bool {
				return wire.Fold(wire.Sum(segment, wire.PseudoSum(src, dst, proto, size))) == 0xffff
			}
			segment := put(d.Buffer())
			assert.False(t, good(segment))
			d.Send(wire.EthernetLen+20+size, link.SumIPv4|link.SumTransport)
			d.Flush()
			f := await(t, kernel)
			p := wire.IPv4(f.Data[wire.EthernetLen:])
			assert.True(t, p.SumGood(), "IPv4, protocol %d, %d bytes", proto, size)
			assert.True(t, good(p[20:20+size]), "protocol %d, %d bytes", proto, size)

			for _, spoil := range []uint16{0, 1} {
				segment = put(kernel.Buffer())
				binary.BigEndian.PutUint16(segment[at:], ^wire.Fold(wire.Sum(segment, 0))+spoil)
				kernel.Send(wire.EthernetLen+20+size, 0)
				kernel.Flush()
				assert.Equal(t, spoil == 0, await(t, d).Flags&link.SumsGood != 0, "protocol %d, %d bytes", proto, size)
			}
		}
	}
}

// await returns the next frame.
func await(t *testing.T, d link.Device) link.Frame {
	frames := make([]link.Frame, 1)
	require.Eventually(t, func() bool { return d.Receive(frames) == 1 }, 2*time.Second, 100*time.Microsecond)
	return frames[0]
}
