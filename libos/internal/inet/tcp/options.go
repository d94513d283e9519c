package tcp

import "github.com/libdmtr/libdmtr/libos/internal/inet/ip"

// Options are what each connection may have of its own (RFC 9293: MUST-17, MUST-21, MUST-24, MUST-27, MUST-48, MUST-49).
// The Config has the defaults. A connection that is accepted begins with those of its Listener. Times are in
// nanoseconds. Connections that have the same from a Listener, or by default, share one Options, which is never written to.
type Options struct {
	Nagle        bool
	KeepIdle     int64 // 0: no keepalive
	KeepInterval int64
	KeepProbes   int
	UserTimeout  int64
	Class        ip.Class
}

// Options are those that connections have by default.
func (h *Host) Options() *Options { return &h.opts }

// Options are those of the connection.
func (c *Conn) Options() *Options { return c.opts }

// SetOptions gives the connection options of its own, which count from now on: data that Nagle has held back leaves,
// and a keepalive is due when the silence has lasted for long enough, of which the past is a part.
func (c *Conn) SetOptions(o *Options) {
	before := *c.opts
	c.own = *o
	c.opts = &c.own
	if c.flags&listed == 0 {
		return
	}
	c.path.SetClass(o.Class)
	if c.state < Established || c.flags&orphan != 0 {
		return
	}
	if o.KeepIdle != before.KeepIdle || o.KeepInterval != before.KeepInterval || o.KeepProbes != before.KeepProbes {
		c.startKeepalive()
	}
	c.Push()
}

// Options are those of the connections to come.
func (l *Listener) Options() *Options { return l.opts }

// SetOptions changes them. Connections that wait for Accept keep theirs.
func (l *Listener) SetOptions(o *Options) {
	if o != l.opts {
		own := *o
		l.opts = &own
	}
}
