package link_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link/linktest"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

func TestTap(t *testing.T) {
	linktest.Run(t, func(t *testing.T) (dev, peer link.Device) {
		n := linktest.NewNamespace(t)
		tap := n.Tap(t, link.TapConfig{})
		require.NoError(t, n.Do(func() error { return errno(tap.Interface().SetUp()) }))
		return tap, n.Packet(t, link.PacketConfig{Interface: tap.Info().Name})
	})
}

func TestPacket(t *testing.T) {
	linktest.Run(t, func(t *testing.T) (dev, peer link.Device) {
		a, b := linktest.NewNamespace(t), linktest.NewNamespace(t)
		linktest.Veth(t, a, "left", b, "right")
		return a.Packet(t, link.PacketConfig{Interface: "left"}), b.Packet(t, link.PacketConfig{Interface: "right", BypassQdisc: true})
	})
}

// errno makes an error of an errno that may be 0.
func errno(e abi.Errno) error {
	if e != 0 {
		return e
	}
	return nil
}

var _ = assert.Equal
