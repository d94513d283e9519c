package posix

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
)

// sockOption names an option for setsockopt.
type sockOption struct{ level, name int }

var (
	tcpOptions = map[abi.Option]sockOption{
		abi.OptNoDelay:      {unix.IPPROTO_TCP, unix.TCP_NODELAY},
		abi.OptKeepalive:    {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
		abi.OptKeepInterval: {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
		abi.OptKeepProbes:   {unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
		abi.OptUserTimeout:  {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT},
	}
	ipOptions = map[abi.Option]sockOption{
		abi.OptTTL:  {unix.IPPROTO_IP, unix.IP_TTL},
		abi.OptDSCP: {unix.IPPROTO_IP, unix.IP_TOS},
	}
)

const ecnBits = 2 // below the codepoint, in the octet that IP_TOS sets (RFC 3168)

func (s *sock) set(k sockOption, value int) abi.Errno {
	if err := unix.SetsockoptInt(s.fd, k.level, k.name, value); err != nil {
		return errnoOf(err)
	}
	return 0
}

func (s *sock) get(k sockOption) (uint32, abi.Errno) {
	n, err := unix.GetsockoptInt(s.fd, k.level, k.name)
	if err != nil {
		return 0, errnoOf(err)
	}
	return uint32(n), 0
}

// SetOption implements engine.Configurable.
func (s *sock) SetOption(o abi.Option, value uint32) abi.Errno {
	k, ok := ipOptions[o]
	if !ok {
		return unix.ENOTSUP
	}
	if o == abi.OptDSCP {
		value <<= ecnBits
	}
	return s.set(k, int(value))
}

// Option implements engine.Configurable.
func (s *sock) Option(o abi.Option) (uint32, abi.Errno) {
	k, ok := ipOptions[o]
	if !ok {
		return 0, unix.ENOTSUP
	}
	n, err := s.get(k)
	if o == abi.OptDSCP {
		n >>= ecnBits
	}
	return n, err
}

var keepalive = sockOption{unix.SOL_SOCKET, unix.SO_KEEPALIVE}

// SetOption implements engine.Configurable.
func (t *tcp) SetOption(o abi.Option, value uint32) abi.Errno {
	k, ok := tcpOptions[o]
	switch {
	case o == abi.OptFraming:
		return t.in.SetFraming(config.Framing(value))
	case !ok:
		return t.sock.SetOption(o, value)
	case o != abi.OptKeepalive:
		return t.set(k, int(value))
	case value == 0:
		return t.set(keepalive, 0)
	}
	if err := t.set(k, int(value)); err != 0 {
		return err
	}
	return t.set(keepalive, 1)
}

// Option implements engine.Configurable.
func (t *tcp) Option(o abi.Option) (uint32, abi.Errno) {
	if o == abi.OptFraming {
		return uint32(t.in.Mode), 0
	}
	k, ok := tcpOptions[o]
	if !ok {
		return t.sock.Option(o)
	}
	if o == abi.OptKeepalive {
		if on, err := t.get(keepalive); on == 0 {
			return 0, err
		}
	}
	return t.get(k)
}
