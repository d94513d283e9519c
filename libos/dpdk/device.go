package dpdk

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// New makes the libOS on a device of DPDK.
func New(*engine.Engine, *config.Config) (engine.LibOS, abi.Errno) { return nil, unix.ENODEV }

// NewRaw makes the libOS on a tap, or on an interface of the kernel by AF_PACKET.
func NewRaw(*engine.Engine, *config.Config) (engine.LibOS, abi.Errno) { return nil, unix.ENODEV }
