package dpdk

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link/linktest"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// onHub makes libOSes that are on one network.
func onHub() func(*engine.Engine, *config.Config) (engine.LibOS, error) {
	h := &hub{}
	return func(e *engine.Engine, cfg *config.Config) (engine.LibOS, error) {
		sc, err := settings(cfg)
		if err != nil {
			return nil, err
		}
		dev := h.join()
		sc.IP.Addr, sc.IP.Prefix = wire.Addr(198<<24|18<<16+len(h.ports)), 15
		return open(e, cfg, dev, sc)
	}
}

func hubAddr(o engine.LibOS) [4]byte { return o.(*LibOS).addr.Bytes() }

func TestConformance(t *testing.T) {
	libostest.Run(t, libostest.Options{New: onHub(), Addr: hubAddr})
}

// Each library has a tap with the addresses it gets without configuration, and the kernel forwards between them.
func TestConformanceRaw(t *testing.T) {
	ns := linktest.NewNamespace(t)
	var err error
	require.NoError(t, ns.Do(func() error {
		if err = os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err == nil {
			var tap *link.Tap
			if tap, err = link.OpenTap(link.TapConfig{}); err == nil {
				tap.Close()
			}
		}
		return nil
	}))
	if err != nil {
		t.Skip(err)
	}
	libostest.Run(t, libostest.Options{Addr: hubAddr, New: func(e *engine.Engine, cfg *config.Config) (os engine.LibOS, err error) {
		_ = ns.Do(func() error {
			os, err = NewRaw(e, cfg)
			return nil
		})
		return os, err
	}})
}
