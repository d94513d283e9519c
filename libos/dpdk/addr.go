package dpdk

import (
	"encoding/binary"
	"math/rand/v2"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

const loopback = wire.Addr(127<<24 | 1)

func address(a *abi.SockaddrIn) wire.Addr { return wire.AddrFrom(a.Addr) }

// peer is the address of a peer. As on Linux, 0.0.0.0 is this host.
func peer(a *abi.SockaddrIn) wire.Addr {
	if a.Addr == [4]byte{} {
		return loopback
	}
	return address(a)
}

func sockaddr(addr wire.Addr, port uint16) (a abi.SockaddrIn) {
	a.Family = unix.AF_INET
	binary.BigEndian.PutUint16(a.Port[:], port)
	a.Addr = addr.Bytes()
	return a
}

// own checks an address to be bound to.
func (o *LibOS) own(a *abi.SockaddrIn) abi.Errno {
	switch {
	case a.Family != unix.AF_INET:
		return unix.EAFNOSUPPORT
	case a.Addr != [4]byte{} && !o.stack.IP().Local(address(a)):
		return unix.EADDRNOTAVAIL
	}
	return 0
}

// portTable has the TCP ports to which sockets are bound that the stack does not know of, because they do not listen and are not
// connected. Several sockets may be bound to one port, as with SO_REUSEADDR; only one can listen.
type portTable struct {
	host  *tcp.Host
	bound map[uint16]int
}

const (
	firstPort = 32768 // of those chosen, as on Linux
	lastPort  = 60999
)

// take reserves a port, or any if it is 0.
func (t *portTable) take(addr wire.Addr, port uint16) (uint16, abi.Errno) {
	if t.bound == nil {
		t.bound = make(map[uint16]int)
	}
	if port != 0 {
		if err := t.host.PortFree(addr, port); err != 0 {
			return 0, err
		}
		t.bound[port]++
		return port, 0
	}
	const n = lastPort - firstPort + 1
	for i, first := 0, rand.IntN(n); i < n; i++ {
		port = uint16(firstPort + (first+i)%n)
		if t.bound[port] == 0 && t.host.PortFree(addr, port) == 0 {
			t.bound[port] = 1
			return port, 0
		}
	}
	return 0, unix.EADDRINUSE
}

func (t *portTable) release(port uint16) {
	if t.bound[port]--; t.bound[port] <= 0 {
		delete(t.bound, port)
	}
}
