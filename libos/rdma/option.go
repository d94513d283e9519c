package rdma

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
)

// SetOption implements engine.Configurable. Nothing is ever delayed, so OptNoDelay is always on.
func (s *sock) SetOption(o abi.Option, value uint32) abi.Errno {
	switch {
	case o == abi.OptFraming:
		return s.in.SetFraming(config.Framing(value))
	case o == abi.OptNoDelay && value == 1:
		return 0
	}
	return unix.ENOTSUP
}

// Option implements engine.Configurable.
func (s *sock) Option(o abi.Option) (uint32, abi.Errno) {
	switch o {
	case abi.OptFraming:
		return uint32(s.in.Mode), 0
	case abi.OptNoDelay:
		return 1, 0
	}
	return 0, unix.ENOTSUP
}

// SetOption implements engine.Configurable.
func (d *datagrams) SetOption(abi.Option, uint32) abi.Errno { return unix.ENOTSUP }

// Option implements engine.Configurable.
func (d *datagrams) Option(abi.Option) (uint32, abi.Errno) { return 0, unix.ENOTSUP }
