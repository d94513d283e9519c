package dpdk

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link/dpdk"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
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
		return nil, errNoAddress
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

var errNoAddress = fmt.Errorf("network.address is not set: %w", abi.Errno(unix.EINVAL))

// NewRaw makes the libOS on a tap, or on an interface of the kernel by AF_PACKET.
func NewRaw(eng *engine.Engine, cfg *config.Config) (engine.LibOS, error) {
	sc, err := settings(cfg)
	if err != nil {
		return nil, err
	}
	var dev link.Device
	if cfg.Raw.Device == config.RawPacket {
		dev, err = openPacket(cfg, sc)
	} else {
		dev, err = openTap(cfg, sc)
	}
	if err != nil {
		return nil, err
	}
	return open(eng, cfg, dev, sc)
}

// Without configuration each tap has a small network of its own, by the number in its name.
const (
	tapName    = "dmtr"
	tapNets    = wire.Addr(198<<24 | 18<<16) // 198.18.0.0/15 is for such uses: RFC 2544
	tapPrefix  = 30
	tapMost    = 1 << (tapPrefix - 15)
	kernelHost = 1 // in its network
	ownHost    = 2
)

// openTap makes a tap and sets up the kernel's end of it.
func openTap(cfg *config.Config, sc *inet.Config) (link.Device, error) {
	name := cfg.Raw.Interface
	if name == "" {
		name = tapName + "%d"
	}
	t, err := link.OpenTap(link.TapConfig{Name: name, MTU: cfg.Network.MTU})
	if err != nil {
		return nil, err
	}
	kernel := addrOf(cfg.Raw.KernelAddress)
	c := &sc.IP
	if c.Addr == 0 {
		n, err := strconv.ParseUint(strings.TrimPrefix(t.Info().Name, tapName), 10, 32)
		if err != nil || n >= tapMost {
			t.Close()
			return nil, errNoAddress
		}
		net := tapNets + wire.Addr(n)<<(32-tapPrefix)
		c.Addr, c.Prefix, kernel = net+ownHost, tapPrefix, net+kernelHost
	}
	if c.Gateway == 0 {
		c.Gateway = kernel
	}
	errno := abi.Errno(0)
	if kernel != 0 {
		errno = t.Up(kernel, c.Prefix)
	} else {
		errno = t.Interface().SetUp()
	}
	if errno != 0 {
		t.Close()
		return nil, fmt.Errorf("tap %s: cannot be switched on: %w", t.Info().Name, errno)
	}
	return t, nil
}

// openPacket shares an interface with the kernel, which keeps its own addresses.
func openPacket(cfg *config.Config, sc *inet.Config) (link.Device, error) {
	switch {
	case cfg.Raw.Interface == "":
		return nil, fmt.Errorf("raw.interface is not set: %w", abi.Errno(unix.EINVAL))
	case sc.IP.Addr == 0:
		return nil, errNoAddress
	}
	return link.OpenPacket(link.PacketConfig{Interface: cfg.Raw.Interface})
}
