// Package ip is the network layer of one interface: ARP, IPv4 with fragments, routes, ICMP and the way back to own
// addresses.
//
// # Call order
//
// New, then Register for each transport protocol, then Poll and the timers of the wheel in turn, with Flush of the
// device after both. A transport gets a Path to a peer once, and for each packet asks for a Buffer, writes its part
// there, and calls Send. Nothing else of this package may be called between Buffer and Send, but leaving out the Send
// is allowed.
//
// # Threading
//
// A Host, its device and its wheel belong to one thread at a time. Protocol.Input and Failed are called from Poll and
// from timers; they may send, but must not call Poll.
//
// # Left out
//
// Multicast, forwarding, VLAN tags, several addresses, probes before an address is used (RFC 5227), options in what is
// sent; redirects and source quench are ignored, packets with source routes dropped.
//
// # Reading
//
// RFC 791, 792, 826, 1122 (chapters 2 and 3), 1191, 5227, 6864.
package ip

import (
	"encoding/binary"
	"slices"
	"syscall"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

const second = int64(1e9)

// Route sends what is for a network by way of a gateway.
type Route struct {
	Net     wire.Addr
	Prefix  int
	Gateway wire.Addr // 0: the network is on the link
}

// Config of a Host. Limits that are 0 have their defaults.
type Config struct {
	Addr       wire.Addr
	Prefix     int                    // of the network on the link
	Gateway    wire.Addr              // 0: none
	Routes     []Route                // the longest prefix wins
	Known      map[wire.Addr]wire.MAC // neighbours that never change; no routes are looked up for them
	DisableARP bool                   // neither ask nor answer: Known is all there is
	MTU        int                    // 0: that of the device
	TTL        int                    // 64
	DSCP       int                    // of what is sent, from 0 to 63 (RFC 2474)
	Secret     [16]byte               // random, the same for a run that is to be repeated

	Neighbours    int   // entries of the ARP cache: 1024
	ARPAge        int64 // ns until an entry has to be confirmed: 60 s
	Datagrams     int   // that are put together from fragments at a time: 64
	DatagramsFrom int   // and of those, from one sender: 16
	FragmentTime  int64 // ns until the fragments of a datagram are given up: 15 s
	ICMPErrors    int   // sent per second: 1000
	MTUAge        int64 // ns until a lowered path MTU is forgotten: 10 minutes (RFC 1191, section 6.3)
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		n   *int
		def int
	}{{&c.TTL, 64}, {&c.Neighbours, 1024}, {&c.Datagrams, 64}, {&c.DatagramsFrom, 16}, {&c.ICMPErrors, 1000}} {
		if *d.n <= 0 {
			*d.n = d.def
		}
	}
	for _, d := range []struct {
		ns  *int64
		def int64
	}{{&c.ARPAge, 60 * second}, {&c.FragmentTime, 15 * second}, {&c.MTUAge, 600 * second}} {
		if *d.ns <= 0 {
			*d.ns = d.def
		}
	}
}

// Host is the network layer.
type Host struct {
	// What each packet needs.
	dev       link.Device
	timers    *timer.Wheel
	now       int64
	mac       uint64 // own Ethernet address
	addr      wire.Addr
	mask      wire.Addr
	directed  wire.Addr // broadcast address of the network, or 0
	mtu       int
	offloads  link.Flags
	room      []byte // the frame that Buffer has given out
	epoch     uint32 // counts what makes all paths out of date
	packet    Packet
	protocols [256]Protocol
	foresight Foresight // of TCP, or nil
	counters  Counters

	cfg    Config
	routes []Route // longest prefix first
	own    wire.MAC
	key    uint64 // for hashes
	random uint64
	ids    [256]uint16 // next identification, by a hash of address and protocol (RFC 7739, section 5.2)

	arp       neighbours
	loop      loopback
	fragments reassembly
	mtus      mtuCache
	failure   Failure
	answer    Path  // of the last ICMP message
	nextError int64 // when the next ICMP error would be due at the steady rate
	frames    [burst]link.Frame
	fetched   int // of frames
}

// lead is by how many segments what TCP needs is fetched before it is needed.
const lead = 2

// burst is how many frames a Poll receives.
const burst = 32

// New makes a Host. Its announcement on the link goes out with the first run of the timers. EINVAL: the
// configuration makes no sense.
func New(dev link.Device, timers *timer.Wheel, cfg *Config, now int64) (*Host, abi.Errno) {
	info := dev.Info()
	h := &Host{dev: dev, timers: timers, now: now, cfg: *cfg, addr: cfg.Addr, own: info.MAC, offloads: info.Offloads}
	h.cfg.setDefaults()
	if cfg.Prefix < 0 || cfg.Prefix > 32 || !unicast(cfg.Addr) || cfg.Addr.Loopback() {
		return nil, syscall.EINVAL
	}
	h.mac = macBits(info.MAC[:])
	h.mask = maskOf(cfg.Prefix)
	if cfg.Prefix < 31 { // RFC 3021: networks of two have no broadcast
		h.directed = cfg.Addr | ^h.mask
	}
	h.mtu = min(info.MTU, 65535)
	if cfg.MTU != 0 {
		h.mtu = cfg.MTU
	}
	if h.cfg.TTL > 255 || uint(h.cfg.DSCP) > 63 {
		return nil, syscall.EINVAL
	}
	if h.mtu < minMTU || h.mtu > info.MTU || h.mtu > 65535 || h.addr == h.directed {
		return nil, syscall.EINVAL
	}
	if err := h.setRoutes(); err != 0 {
		return nil, err
	}
	h.key = binary.LittleEndian.Uint64(cfg.Secret[:]) | 1
	h.random = binary.LittleEndian.Uint64(cfg.Secret[8:]) ^ 0x9e3779b97f4a7c15
	for i := range h.ids {
		h.ids[i] = uint16(h.Random())
	}
	h.epoch = 1
	h.mtus.init(h)
	h.fragments.init(h)
	h.loop.init(h)
	if err := h.arp.init(h); err != 0 {
		return nil, err
	}
	return h, 0
}

func (h *Host) setRoutes() abi.Errno {
	h.routes = append(h.routes, Route{Net: h.addr & h.mask, Prefix: h.cfg.Prefix})
	h.routes = append(h.routes, h.cfg.Routes...)
	if h.cfg.Gateway != 0 {
		h.routes = append(h.routes, Route{Gateway: h.cfg.Gateway})
	}
	for i, r := range h.routes {
		if r.Prefix < 0 || r.Prefix > 32 || (r.Gateway != 0 && (!unicast(r.Gateway) || h.Local(r.Gateway) || h.Broadcast(r.Gateway))) {
			return syscall.EINVAL
		}
		h.routes[i].Net &= maskOf(r.Prefix)
	}
	slices.SortStableFunc(h.routes, func(a, b Route) int { return b.Prefix - a.Prefix })
	return 0
}

// Register has packets of a protocol handed to p.
func (h *Host) Register(proto uint8, p Protocol) {
	h.protocols[proto] = p
	if f, ok := p.(Foresight); ok && proto == wire.ProtoTCP {
		h.foresight = f
	}
}

// Now is the time of the current Poll, or what SetNow has told.
func (h *Host) Now() int64 { return h.now }

// SetNow tells the time before calls from outside Poll.
func (h *Host) SetNow(now int64) { h.now = now }

// Counters are kept up to date.
func (h *Host) Counters() *Counters { return &h.counters }

// Look receives a burst for the next Poll, and tells whether that has any packets to handle.
func (h *Host) Look() bool {
	if h.fetched == 0 {
		h.fetched = h.dev.Receive(h.frames[:])
	}
	return h.fetched > 0 || h.Waiting()
}

// Flush passes on what has been sent.
func (h *Host) Flush() { h.dev.Flush() }

// Poll receives what the device has, up to one burst, and what the host has sent to itself. It tells whether
// there may be more.
func (h *Host) Poll(now int64) (busy bool) {
	h.now = now
	h.Look()
	n := h.fetched
	h.fetched = 0
	ahead := n > 1 && h.foresight != nil
	if ahead {
		h.foresee(n)
	}
	for i := range h.frames[:n] {
		if ahead {
			h.foresight.Near()
		}
		h.receive(&h.frames[i])
	}
	return h.loop.deliver() || n == burst
}

// Waiting tells whether packets to own addresses wait for the next Poll.
func (h *Host) Waiting() bool { return h.loop.head != h.loop.tail }

// Addr is the host's own address.
func (h *Host) Addr() wire.Addr { return h.addr }

// Local tells whether a is an address of this host.
func (h *Host) Local(a wire.Addr) bool { return a == h.addr || a.Loopback() }

// Broadcast tells whether a is for all on the link.
func (h *Host) Broadcast(a wire.Addr) bool {
	return a == 0xffffffff || (a == h.directed && h.directed != 0)
}

// Random is a number that cannot be guessed from outside as long as few are seen, and is the same in each run with
// the same secret.
func (h *Host) Random() uint32 {
	h.random += 0x9e3779b97f4a7c15 // splitmix64
	return uint32(mix(h.random^h.key) >> 32)
}

// hash is hard to foresee for who does not know the secret.
func (h *Host) hash(a uint64) uint32 { return uint32(mix(a+h.key) >> 32) }

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// unicast tells whether a can be the address of one host.
func unicast(a wire.Addr) bool { return a>>24 != 0 && a < 0xe0000000 }

func maskOf(prefix int) wire.Addr { return wire.Addr(^uint32(0) << (32 - prefix)) }

// macBits are the 48 bits of an Ethernet address. It may read 8 bytes.
func macBits(b []byte) uint64 {
	return uint64(binary.BigEndian.Uint32(b))<<16 | uint64(binary.BigEndian.Uint16(b[4:]))
}
