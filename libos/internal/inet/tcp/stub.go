package tcp

import (
	"syscall"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// Host is TCP of one host.
type Host struct{ Counters Counters }

// Conn is a connection.
type Conn struct{}

// Listener accepts connections.
type Listener struct{}

func (h *Host) Connect(local wire.Addr, lport uint16, remote wire.Addr, rport uint16, hd Handler) (*Conn, abi.Errno) {
	return nil, syscall.ENOTSUP
}
func (h *Host) Listen(local wire.Addr, port uint16, backlog int, a Acceptor) (*Listener, abi.Errno) {
	return nil, syscall.ENOTSUP
}

// PortFree tells whether a socket may be bound to the port: 0, EADDRINUSE.
func (h *Host) PortFree(local wire.Addr, port uint16) abi.Errno { return 0 }
func (h *Host) Close()                                          {} // resets everything

func (l *Listener) Accept() *Conn   { return nil }
func (l *Listener) Close()          {}
func (l *Listener) Local() Endpoint { return Endpoint{} }

func (c *Conn) SetHandler(hd Handler) {}
func (c *Conn) Write(p []byte) int    { return 0 }
func (c *Conn) Room() int             { return 0 } // bytes that Write would take
func (c *Conn) Push()                 {}
func (c *Conn) Pull()                 {}
func (c *Conn) Shutdown()             {}
func (c *Conn) Close()                {}
func (c *Conn) Abort()                {}
func (c *Conn) Local() Endpoint       { return Endpoint{} }
func (c *Conn) Remote() Endpoint      { return Endpoint{} }
func (c *Conn) State() State          { return Closed }
func (c *Conn) Info(i *Info)          {}
