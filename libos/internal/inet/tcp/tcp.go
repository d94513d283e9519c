// Package tcp is TCP (RFC 9293) over package ip, driven by a poll loop.
//
// # Call order
//
// New registers a Host with an ip.Host. Connect starts an active open, whose end the Handler is told by Connected;
// Listen makes a Listener, whose Acceptor is told by Acceptable that Accept has a connection; SetHandler comes next,
// and then Pull, since data may have come before. Write copies into the send buffer, Push sends. Received brings
// data; Pull asks for what Received has left. Shutdown ends the sending direction, Close both, Abort resets. Close
// or Abort is the last call on a Conn; no call of its Handler follows it.
//
// # Threading and re-entrancy
//
// One thread at a time is in a Host with all that belongs to it, and nothing here starts a goroutine or looks at the
// clock. Handlers and Acceptors are called in the midst of the work on a segment, or of a timer, never from within
// Connect, Listen, Accept, SetHandler, Write, Push, Shutdown, Close or Abort; Pull calls Received and Ended. They may call every method of
// this package, on their own connection and on others; what this makes the connection at work send goes out when the
// handler has returned. Bytes given to Received are valid until it returns.
package tcp

import (
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// Handler is told what happens to a connection.
type Handler interface {
	// Connected ends an active open: 0, ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH or another error, after which the
	// connection is dead.
	Connected(c *Conn, err abi.Errno)
	// Received hands over payload in order. It returns how many bytes were taken; the rest stays in the receive
	// buffer until Pull.
	Received(c *Conn, p []byte) int
	// Writable tells that there is room again, after a Write that took less than all.
	Writable(c *Conn)
	// Ended tells the end. 0: the peer has closed its direction, and all data was handed over. Otherwise both
	// directions are dead (ECONNRESET, ETIMEDOUT), and nothing follows; this may come after a 0.
	Ended(c *Conn, err abi.Errno)
}

// Acceptor is told of new connections.
type Acceptor interface {
	// Acceptable tells that l.Accept now gives a connection; it is called for each.
	Acceptable(l *Listener)
}

// Endpoint is an address with a port.
type Endpoint struct {
	Addr wire.Addr
	Port uint16
}
