// Package dpdk is a link.Device on a port of DPDK: memif, net_tap, AF_PACKET or a physical NIC.
package dpdk

import (
	"fmt"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"golang.org/x/sys/unix"
)

// Config says which port to open.
type Config struct {
	EAL  []string // arguments of DPDK's EAL, as dpdk.eal_init has them
	Port string   // name of the port; "" for the first
	MTU  int      // 0: that of the port
}

// Error is why a port could not be opened, in one line.
type Error struct {
	Errno abi.Errno
	Text  string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Text, e.Errno) }

// Open opens a port. The error is an *Error.
func Open(*Config) (link.Device, error) {
	return nil, &Error{unix.ENODEV, "not yet"}
}
