package engine

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
)

// Configurable is a Socket with options. It is given values in range only. ENOTSUP: it does not have this option.
type Configurable interface {
	SetOption(o abi.Option, value uint32) abi.Errno
	Option(o abi.Option) (uint32, abi.Errno)
}

// optionRange has what the values of an option may be.
var optionRange = [...]struct{ least, most uint32 }{
	abi.OptNoDelay:      {0, 1},
	abi.OptKeepalive:    {0, 32767},
	abi.OptKeepInterval: {1, 32767},
	abi.OptKeepProbes:   {1, 127},
	abi.OptUserTimeout:  {0, 86_400_000},
	abi.OptTTL:          {1, 255},
	abi.OptDSCP:         {0, 63},
	abi.OptFraming:      {uint32(config.FramingAuto), uint32(config.FramingStream)},
}

func (e *Engine) configurable(qd int32, o abi.Option) (Configurable, abi.Errno) {
	s, err := e.Socket(qd)
	if err != 0 {
		return nil, err
	}
	c, ok := s.(Configurable)
	switch {
	case !ok:
		return nil, unix.ENOTSUP
	case o < abi.OptNoDelay || int(o) >= len(optionRange):
		return nil, unix.ENOPROTOOPT
	}
	return c, 0
}

// SetOption sets an option of a socket.
func (e *Engine) SetOption(qd int32, o abi.Option, value uint32) abi.Errno {
	c, err := e.configurable(qd, o)
	if err != 0 {
		return err
	}
	if r := optionRange[o]; value < r.least || value > r.most {
		return unix.EINVAL
	}
	return c.SetOption(o, value)
}

// Option tells what an option of a socket is.
func (e *Engine) Option(qd int32, o abi.Option) (uint32, abi.Errno) {
	c, err := e.configurable(qd, o)
	if err != 0 {
		return 0, err
	}
	return c.Option(o)
}
