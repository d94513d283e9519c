package dpdk

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

func addr(a, b, c, d byte) wire.Addr { return wire.AddrFrom([4]byte{a, b, c, d}) }

func TestSettings(t *testing.T) {
	cfg := config.Default()
	cfg.Network = config.Network{Address: "192.0.2.7/25", Gateway: "192.0.2.1", Routes: map[string]string{"10.0.0.0/8": "192.0.2.2"}, MTU: 1400}
	cfg.Catnip = config.Catnip{MyIPv4Addr: "192.0.2.99", ArpTable: map[string]string{"02:00:00:00:00:0a": "192.0.2.3"}, DisableArp: true}
	cfg.TCP.DelayedAckMicros, cfg.TCP.SynCookies, cfg.TCP.Congestion = 0, false, config.CongestionReno
	s, err := settings(cfg)
	require.NoError(t, err)
	assert.Equal(t, addr(192, 0, 2, 7), s.IP.Addr, "the new key wins over older ones")
	assert.Equal(t, 25, s.IP.Prefix)
	assert.Equal(t, addr(192, 0, 2, 1), s.IP.Gateway)
	assert.Equal(t, []ip.Route{{Net: addr(10, 0, 0, 0), Prefix: 8, Gateway: addr(192, 0, 2, 2)}}, s.IP.Routes)
	assert.Equal(t, map[wire.Addr]wire.MAC{addr(192, 0, 2, 3): {2, 0, 0, 0, 0, 10}}, s.IP.Known)
	assert.True(t, s.IP.DisableARP)
	assert.Equal(t, 1400, s.IP.MTU)
	assert.Equal(t, "reno", s.TCP.Congestion)
	assert.True(t, s.TCP.NoCookies)
	assert.Negative(t, s.TCP.DelayedACK, "0 would be the default")
	assert.EqualValues(t, 200e6, s.TCP.MinRTO)
	assert.EqualValues(t, 300e9, s.TCP.UserTimeout)
	assert.NotZero(t, s.TCP.Secret)
	again, err := settings(cfg)
	require.NoError(t, err)
	assert.NotEqual(t, s.TCP.Secret, again.TCP.Secret)
}

// Older files have an address and no network: everybody is on the link.
func TestOldSettings(t *testing.T) {
	for _, change := range []func(*config.Config){
		func(c *config.Config) { c.Catnip.MyIPv4Addr, c.Dpdk.Host = "192.0.2.1", "192.0.2.2" },
		func(c *config.Config) { c.Dpdk.Host = "192.0.2.1" },
	} {
		cfg := config.Default()
		change(cfg)
		s, err := settings(cfg)
		require.NoError(t, err)
		assert.Equal(t, addr(192, 0, 2, 1), s.IP.Addr)
		assert.Equal(t, []ip.Route{{}}, s.IP.Routes)
	}
}

func TestDeviceNotConfigured(t *testing.T) {
	eng, errno := engine.New(config.Default().Limits)
	require.Zero(t, errno)
	defer eng.Close()
	_, err := New(eng, config.Default())
	assert.ErrorIs(t, err, unix.EINVAL)
	cfg := config.Default()
	cfg.Raw.Device = config.RawPacket
	_, err = NewRaw(eng, cfg)
	assert.ErrorContains(t, err, "raw.interface is not set")
	cfg.Raw.Interface = "lo"
	_, err = NewRaw(eng, cfg)
	assert.ErrorContains(t, err, "network.address is not set")
}
