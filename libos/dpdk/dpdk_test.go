package dpdk

import (
	"testing"

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
