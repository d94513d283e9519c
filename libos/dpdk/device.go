package dpdk

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link/dpdk"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// New makes the libOS on a device of DPDK.
func New(eng *engine.Engine, cfg *config.Config) (engine.LibOS, error) {
	sc, err := settings(cfg)
	if err != nil {
		return nil, err
	}
	if sc.IP.Addr == 0 {
		return nil, fmt.Errorf("network.address is not set: %w", unix.EINVAL)
	}
	dev, err := dpdk.Open(&dpdk.Config{EAL: cfg.Dpdk.EalInit, Port: cfg.Dpdk.Port, MTU: cfg.Network.MTU})
	if err != nil {
		if e := (*dpdk.Error)(nil); errors.As(err, &e) {
			err = fmt.Errorf("%s: %w", e.Text, e.Errno)
		}
		return nil, err
	}
	return open(eng, cfg, dev, sc)
}

// NewRaw makes the libOS on a tap, or on an interface of the kernel by AF_PACKET.
func NewRaw(*engine.Engine, *config.Config) (engine.LibOS, error) { return nil, unix.ENODEV }
