package dpdk

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
)

// options are those of the connection or listener, or those it will have.
func (t *tcpSock) options() *tcp.Options {
	switch {
	case t.conn != nil:
		return t.conn.Options()
	case t.listener != nil:
		return t.listener.Options()
	case t.chosen:
		return &t.opts
	}
	return t.os.stack.TCP().Options()
}

// SetOption implements engine.Configurable.
func (t *tcpSock) SetOption(o abi.Option, value uint32) abi.Errno {
	opts, n := *t.options(), int64(value)
	switch o {
	case abi.OptFraming:
		return t.in.SetFraming(config.Framing(value))
	case abi.OptNoDelay:
		opts.Nagle = value == 0
	case abi.OptKeepalive:
		opts.KeepIdle = n * int64(time.Second)
	case abi.OptKeepInterval:
		opts.KeepInterval = n * int64(time.Second)
	case abi.OptKeepProbes:
		opts.KeepProbes = int(value)
	case abi.OptUserTimeout:
		if opts.UserTimeout = n * int64(time.Millisecond); n == 0 {
			opts.UserTimeout = t.os.stack.TCP().Options().UserTimeout
		}
	default:
		setClass(&opts.Class, o, value)
	}
	t.opts, t.chosen = opts, true
	t.os.enter()
	if t.conn != nil {
		t.conn.SetOptions(&opts)
	}
	if t.listener != nil {
		t.listener.SetOptions(&opts)
	}
	t.os.leave()
	return 0
}

// Option implements engine.Configurable.
func (t *tcpSock) Option(o abi.Option) (uint32, abi.Errno) {
	opts := t.options()
	switch o {
	case abi.OptFraming:
		return uint32(t.in.Mode), 0
	case abi.OptNoDelay:
		if opts.Nagle {
			return 0, 0
		}
		return 1, 0
	case abi.OptKeepalive:
		return uint32(opts.KeepIdle / int64(time.Second)), 0
	case abi.OptKeepInterval:
		return uint32(opts.KeepInterval / int64(time.Second)), 0
	case abi.OptKeepProbes:
		return uint32(opts.KeepProbes), 0
	case abi.OptUserTimeout:
		return uint32(opts.UserTimeout / int64(time.Millisecond)), 0
	}
	value, _ := classOption(opts.Class, o)
	return value, 0
}

// setClass tells whether the option is of the network layer.
func setClass(c *ip.Class, o abi.Option, value uint32) bool {
	switch o {
	case abi.OptTTL:
		c.TTL = uint8(value)
	case abi.OptDSCP:
		c.DSCP = uint8(value)
	default:
		return false
	}
	return true
}

func classOption(c ip.Class, o abi.Option) (value uint32, ok bool) {
	switch o {
	case abi.OptTTL:
		return uint32(c.TTL), true
	case abi.OptDSCP:
		return uint32(c.DSCP), true
	}
	return 0, false
}

// SetOption implements engine.Configurable.
func (u *udpSock) SetOption(o abi.Option, value uint32) abi.Errno {
	c := u.socket.Class()
	if !setClass(&c, o, value) {
		return unix.ENOTSUP
	}
	u.socket.SetClass(c)
	return 0
}

// Option implements engine.Configurable.
func (u *udpSock) Option(o abi.Option) (uint32, abi.Errno) {
	value, ok := classOption(u.socket.Class(), o)
	if !ok {
		return 0, unix.ENOTSUP
	}
	return value, 0
}
