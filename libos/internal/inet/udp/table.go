// Package udp is UDP (RFC 768) over ip.
//
// # Call order
//
// New registers with the ip.Host. Open makes a socket, which Bind, Connect and Send in any order, as with the system
// calls; the first Send or Connect binds a socket that is not bound. Close comes last.
//
// # Threading
//
// That of ip.Host.
package udp

import (
	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// MaxPayload is the most a datagram can carry.
const MaxPayload = 65535 - wire.IPv4Len - wire.UDPLen

// Config of a Table.
type Config struct {
	Secret [16]byte
}

// Handler has the events of a socket. It must not close the socket while it is called.
type Handler interface {
	// Received offers a datagram, whose bytes are valid during the call. If the handler returns false, the socket
	// queues a copy for Next.
	Received(p []byte, src wire.Addr, port uint16) bool
	// Failed tells of an error of a connected socket, ECONNREFUSED as a rule.
	Failed(err abi.Errno)
}

// Table is all sockets of a host.
type Table struct{ host *ip.Host }

// New makes a Table and registers it.
func New(h *ip.Host, cfg *Config) *Table { return &Table{host: h} }

// Socket is a UDP socket.
type Socket struct{}

// Open makes a socket.
func (t *Table) Open(hd Handler) *Socket { return &Socket{} }

// Bind gives the socket its own address; 0 is any address, port 0 is chosen. Errors: EINVAL if it has one,
// EADDRNOTAVAIL, EADDRINUSE.
func (s *Socket) Bind(addr wire.Addr, port uint16) abi.Errno { return 0 }

// Connect sets the peer: the socket receives from nobody else. It may be called again.
func (s *Socket) Connect(addr wire.Addr, port uint16) abi.Errno { return 0 }

// Send sends the parts as one datagram; addr 0 is the peer. Errors: EDESTADDRREQ, EMSGSIZE, ENETUNREACH, EHOSTUNREACH,
// EINVAL for port 0, EAGAIN if the device has no room now.
func (s *Socket) Send(addr wire.Addr, port uint16, parts [][]byte) abi.Errno { return 0 }

// Next takes the oldest queued datagram. Its bytes are valid until the next call of Next or Close.
func (s *Socket) Next() (p []byte, src wire.Addr, port uint16, ok bool) { return nil, 0, 0, false }

// Local is the socket's own address, zero as long as it is not bound.
func (s *Socket) Local() (wire.Addr, uint16) { return 0, 0 }

// Remote is the peer, zero if there is none.
func (s *Socket) Remote() (wire.Addr, uint16) { return 0, 0 }

// Close releases the socket, its port and what is queued.
func (s *Socket) Close() {}
