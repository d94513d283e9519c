// Package udp is UDP (RFC 768; RFC 1122, chapter 4.1) over ip.
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

// Config of a Table. What is 0 has its default.
type Config struct {
	QueueBytes     int    // memory for datagrams that wait in one socket: 1 MiB
	QueueDatagrams int    // their number: 1024
	AllBytes       int    // memory for those of all sockets: 64 MiB
	FirstPort      uint16 // range of ports to choose from: 32768
	LastPort       uint16 // 60999
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		n   *int
		def int
	}{{&c.QueueBytes, 1 << 20}, {&c.QueueDatagrams, 1024}, {&c.AllBytes, 64 << 20}} {
		if *d.n <= 0 {
			*d.n = d.def
		}
	}
	if c.FirstPort == 0 || c.LastPort < c.FirstPort {
		c.FirstPort, c.LastPort = 32768, 60999
	}
}

// Handler has the events of a socket. It may close the socket.
type Handler interface {
	// Received offers a datagram, whose bytes are valid during the call. If the handler returns false, the socket
	// queues a copy for Next. While there is a queue, nothing is offered.
	Received(p []byte, src wire.Addr, port uint16) bool
	// Failed tells of an error of a connected socket, ECONNREFUSED as a rule.
	Failed(err abi.Errno)
}

// Table is all sockets of a host.
type Table struct {
	host     *ip.Host
	buckets  []*Socket // by local port
	bound    int
	cfg      Config
	counters Counters
	store    store
	scratch  []byte    // for datagrams beyond the MTU
	spare    []*Socket // closed, to be used again
}

// New makes a Table and registers it.
func New(h *ip.Host, cfg *Config) *Table {
	t := &Table{host: h, cfg: *cfg, buckets: make([]*Socket, 64)}
	t.cfg.setDefaults()
	t.store.limit = t.cfg.AllBytes
	h.Register(wire.ProtoUDP, t)
	return t
}

// Counters are kept up to date.
func (t *Table) Counters() *Counters { return &t.counters }

// Len is the number of sockets that have a port.
func (t *Table) Len() int { return t.bound }

// Input implements ip.Protocol.
func (t *Table) Input(k *ip.Packet) {
	u, ok := wire.ParseUDP(k.Data)
	if !ok {
		t.counters.BadHeader++
		return
	}
	if !k.SumGood && u.Sum() != 0 && wire.Fold(wire.Sum(u, wire.PseudoSum(k.Src, k.Dst, wire.ProtoUDP, len(u)))) != 0xffff {
		t.counters.BadSum++
		return
	}
	s := t.find(k, u.DstPort(), u.SrcPort())
	if s == nil {
		t.counters.NoPort++
		t.host.Unreachable(k, wire.UnreachablePort)
		return
	}
	t.counters.In++
	if s.first == nil && s.handler.Received(u.Payload(), k.Src, u.SrcPort()) {
		return
	}
	if s.table != nil {
		s.keep(u.Payload(), k.Src, u.SrcPort())
	}
}

// find looks for the socket that fits best: the one that is bound to the address, rather than to all.
func (t *Table) find(k *ip.Packet, port, from uint16) (best *Socket) {
	for s := *t.bucket(port); s != nil; s = s.next {
		switch {
		case s.port != port || (s.connected && (s.remote != k.Src || s.remotePort != from)):
		case s.local == k.Dst:
			return s
		case s.local == 0:
			best = s
		}
	}
	return best
}

// Failed implements ip.Protocol. As on Linux only connected sockets learn of errors, and only of final ones.
func (t *Table) Failed(f *ip.Failure) {
	u := wire.UDP(f.Data)
	for s := *t.bucket(u.SrcPort()); s != nil && f.Hard; s = s.next {
		if s.port == u.SrcPort() && s.connected && s.remote == f.Remote && s.remotePort == u.DstPort() && s.local == f.Local {
			t.counters.ErrorsIn++
			s.handler.Failed(f.Errno)
			return
		}
	}
	t.counters.ErrorsStray++
}

func (t *Table) bucket(port uint16) **Socket { return &t.buckets[int(port)&(len(t.buckets)-1)] }

// taken tells whether a socket with this address would be in the way of another.
func (t *Table) taken(addr wire.Addr, port uint16) bool {
	for s := *t.bucket(port); s != nil; s = s.next {
		if s.port == port && (s.local == 0 || addr == 0 || s.local == addr) {
			return true
		}
	}
	return false
}

// choose finds a free port, beginning at random (RFC 6056, section 3.3.1); 0: there is none.
func (t *Table) choose(addr wire.Addr) uint16 {
	n := uint32(t.cfg.LastPort-t.cfg.FirstPort) + 1
	at := t.host.Random() % n
	for range n {
		if port := t.cfg.FirstPort + uint16(at); !t.taken(addr, port) {
			return port
		}
		if at++; at == n {
			at = 0
		}
	}
	return 0
}

// add gives a socket its place.
func (t *Table) add(s *Socket) {
	if t.bound++; t.bound > len(t.buckets) && len(t.buckets) < 65536 {
		old := t.buckets
		t.buckets = make([]*Socket, 2*len(old))
		for _, o := range old {
			for o != nil {
				next := o.next
				t.link(o)
				o = next
			}
		}
	}
	t.link(s)
}

func (t *Table) link(s *Socket) {
	b := t.bucket(s.port)
	s.next, *b = *b, s
}

func (t *Table) remove(s *Socket) {
	b := t.bucket(s.port)
	for *b != s {
		b = &(*b).next
	}
	*b, s.next = s.next, nil
	t.bound--
}

// Open makes a socket.
func (t *Table) Open(hd Handler) *Socket {
	var s *Socket
	if n := len(t.spare); n > 0 {
		s = t.spare[n-1]
		t.spare = t.spare[:n-1]
	} else {
		s = &Socket{}
	}
	*s = Socket{table: t, handler: hd}
	return s
}

// sendLarge sends a datagram that does not fit into one packet.
func (t *Table) sendLarge(s *Socket, port uint16, parts [][]byte, n int) abi.Errno {
	if t.scratch == nil {
		t.scratch = make([]byte, wire.UDPLen+MaxPayload)
	}
	b := t.scratch[:wire.UDPLen+n]
	fill(b, s.port, port, parts)
	return t.host.SendLarge(&s.path, b, wire.ProtoUDP, sumAt)
}

// sumAt is where the checksum is.
const sumAt = 6

func fill(b []byte, from, to uint16, parts [][]byte) {
	wire.UDP(b).Put(from, to, len(b))
	at := wire.UDPLen
	for _, p := range parts {
		at += copy(b[at:], p)
	}
}
