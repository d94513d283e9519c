package link_test

import (
	"testing"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link/linktest"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// pingPong sends a frame there and back, on one thread: the cost of the link in both directions.
func pingPong(b *testing.B, x, y link.Device) {
	frames := make([]link.Frame, 32)
	pass := func(from, to link.Device) {
		linktest.Fill(from.Buffer(), 1, 64)
		from.Send(64, 0)
		from.Flush()
		for to.Receive(frames) == 0 {
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		pass(x, y)
		pass(y, x)
	}
}

// bulk sends frames of 1500 bytes in bursts, one way.
func bulk(b *testing.B, x, y link.Device) {
	frames := make([]link.Frame, 32)
	b.SetBytes(1514)
	b.ReportAllocs()
	sent, got := 0, 0
	for b.Loop() {
		if room := x.Buffer(); room != nil {
			wire.Ethernet(room).Put(wire.Broadcast, x.Info().MAC, 0x88b5)
			x.Send(1514, 0)
		}
		if sent++; sent%32 == 0 {
			x.Flush()
			for n := y.Receive(frames); n > 0; n = y.Receive(frames) {
				got += n
			}
		}
	}
	b.ReportMetric(float64(got)/float64(sent), "arrived")
}

func benchmark(b *testing.B, open func(b *testing.B) (x, y link.Device)) {
	b.Run("PingPong", func(b *testing.B) {
		x, y := open(b)
		pingPong(b, x, y)
	})
	b.Run("Bulk", func(b *testing.B) {
		x, y := open(b)
		bulk(b, x, y)
	})
}

func BenchmarkPacket(b *testing.B) {
	benchmark(b, func(b *testing.B) (x, y link.Device) {
		m, n := linktest.NewNamespace(b), linktest.NewNamespace(b)
		linktest.Veth(b, m, "left", n, "right")
		return m.Packet(b, link.PacketConfig{Interface: "left"}), n.Packet(b, link.PacketConfig{Interface: "right"})
	})
}

func BenchmarkTap(b *testing.B) {
	benchmark(b, func(b *testing.B) (x, y link.Device) {
		n := linktest.NewNamespace(b)
		tap := n.Tap(b, link.TapConfig{})
		n.Up(b, tap, linktest.AddrA)
		return tap, n.Packet(b, link.PacketConfig{Interface: tap.Info().Name})
	})
}
