package ip

import (
	"encoding/binary"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

var (
	us      = addr(10, 0, 0, 1)
	peer    = addr(10, 0, 0, 2)
	other   = addr(10, 0, 0, 3)
	gateway = addr(10, 0, 0, 254)
	far     = addr(192, 0, 2, 7)
	ourMAC  = wire.MAC{2, 0, 0, 0, 0, 1}
	peerMAC = wire.MAC{2, 0, 0, 0, 0, 2}
	mac3    = wire.MAC{2, 0, 0, 0, 0, 3}
)

const ms = int64(1e6)

func addr(a, b, c, d byte) wire.Addr { return wire.AddrFrom([4]byte{a, b, c, d}) }

// script is a device that is fed by hand, and keeps what is sent.
type script struct {
	info     link.Info
	in       [][]byte
	flags    link.Flags
	out      [][]byte
	full     bool // no buffers
	room     []byte
	counters link.Counters
}

func (d *script) Info() link.Info { return d.info }
func (d *script) Receive(f []link.Frame) int {
	n := 0
	for n < len(f) && len(d.in) > 0 {
		f[n] = link.Frame{Data: d.in[0], Flags: d.flags}
		d.in = d.in[1:]
		n++
	}
	return n
}
func (d *script) Buffer() []byte {
	if d.full {
		return nil
	}
	return d.room
}
func (d *script) Send(n int, _ link.Flags) {
	d.out = append(d.out, append([]byte(nil), d.room[:n]...))
	for i := range d.room {
		d.room[i] = 0xee
	}
}
func (d *script) Flush()                   {}
func (d *script) Counters() *link.Counters { return &d.counters }
func (d *script) Close()                   {}

// proto notes what it gets.
type proto struct {
	packets []Packet
	lost    []Failure
	each    func(*Packet)
	failed  func(*Failure)
}

func (p *proto) Input(k *Packet) {
	c := *k
	c.Data = append([]byte(nil), k.Data...)
	c.header = append([]byte(nil), k.header...)
	p.packets = append(p.packets, c)
	if p.each != nil {
		p.each(k)
	}
}

func (p *proto) Failed(f *Failure) {
	c := *f
	c.Data = append([]byte(nil), f.Data...)
	p.lost = append(p.lost, c)
	if p.failed != nil {
		p.failed(f)
	}
}

type rig struct {
	*Host
	t   testing.TB
	dev *script
	tcp proto
	udp proto
	at  int64
}

func newRig(t testing.TB, change func(*Config)) *rig {
	cfg := Config{Addr: us, Prefix: 24, Gateway: gateway}
	if change != nil {
		change(&cfg)
	}
	r := &rig{t: t, at: 1000 * second, dev: &script{info: link.Info{MAC: ourMAC, MTU: 1500, FD: -1}, room: make([]byte, 1514)}}
	h, err := New(r.dev, timer.NewWheel(r.at), &cfg, r.at)
	require.Zero(t, err)
	r.Host = h
	h.Register(wire.ProtoTCP, &r.tcp)
	h.Register(wire.ProtoUDP, &r.udp)
	r.wait(3 * second) // the announcements
	r.dev.out = nil
	r.counters = Counters{}
	return r
}

// wait lets time pass, in steps.
func (r *rig) wait(d int64) {
	for end := r.at + d; r.at < end; {
		r.at = min(end, r.at+10*ms)
		r.poll()
	}
}

func (r *rig) poll() {
	for r.Poll(r.at) {
	}
	r.timers.Advance(r.at)
}

// feed lets the host receive frames, and returns what it has sent.
func (r *rig) feed(frames ...[]byte) [][]byte {
	r.dev.in = append(r.dev.in, frames...)
	r.poll()
	return r.sent()
}

func (r *rig) sent() [][]byte {
	out := r.dev.out
	r.dev.out = nil
	return out
}

// knows makes the peer a neighbour.
func (r *rig) knows(a wire.Addr, mac wire.MAC) {
	r.arp.get(a).confirmed(mac)
}

// push sends one packet of a protocol, with text behind 8 zero bytes.
func (r *rig) push(p *Path, proto uint8, text string) {
	b := r.Buffer(p)
	require.NotNil(r.t, b)
	clear(b[:8])
	r.Send(p, 8+copy(b[8:], text), proto, 6)
}

func (r *rig) path(local, remote wire.Addr) *Path {
	p := &Path{}
	require.Zero(r.t, r.Path(p, local, remote))
	return p
}

// counts asserts which counters are not 0, apart from those of what arrives and leaves.
func (r *rig) counts(want map[string]uint64) {
	r.t.Helper()
	got := map[string]uint64{}
	v := reflect.ValueOf(r.counters)
	for i := range v.NumField() {
		switch name := v.Type().Field(i).Name; name {
		case "PacketsIn", "PacketsOut", "PathsFilled", "ARPIn", "ICMPIn", "FragmentsIn", "FragmentsOut":
		default:
			if n := v.Field(i).Uint(); n != 0 {
				got[name] = n
			}
		}
	}
	require.Equal(r.t, want, got)
	r.counters = Counters{}
}

// frame builds an Ethernet frame with an IPv4 packet.
type frame struct {
	dst, src wire.MAC
	from, to wire.Addr
	proto    uint8
	id       uint16
	fragment uint16 // flags and offset
	options  []byte
	data     []byte
}

func (f frame) bytes() []byte {
	if f.dst == (wire.MAC{}) {
		f.dst = ourMAC
	}
	if f.src == (wire.MAC{}) {
		f.src = peerMAC
	}
	if f.to == 0 {
		f.to = us
	}
	if f.from == 0 {
		f.from = peer
	}
	if f.proto == 0 {
		f.proto = wire.ProtoUDP
	}
	h := wire.IPv4Len + len(f.options)
	b := make([]byte, wire.EthernetLen+h+len(f.data))
	wire.Ethernet(b).Put(f.dst, f.src, wire.TypeIPv4)
	p := wire.IPv4(b[wire.EthernetLen:])
	p.Put(h+len(f.data), f.id, f.fragment, 64, f.proto, f.from, f.to)
	copy(p[wire.IPv4Len:], f.options)
	p[0] = 0x40 | uint8(h/4)
	copy(p[h:], f.data)
	resum(b)
	return b
}

// resum puts the sum of the IPv4 header right.
func resum(b []byte) []byte {
	p := wire.IPv4(b[wire.EthernetLen:])
	binary.BigEndian.PutUint16(p[10:], 0)
	binary.BigEndian.PutUint16(p[10:], ^wire.Fold(wire.Sum(p[:p.HeaderLen()], 0)))
	return b
}

// changed is f with some change of its bytes.
func changed(b []byte, change func(b []byte)) []byte {
	change(b)
	return b
}

func icmp(typ, code uint8, rest uint32, data []byte) []byte {
	m := append(make([]byte, wire.ICMPLen), data...)
	wire.ICMP(m).Put(typ, code, rest)
	return m
}

// sound checks a frame that the host has sent, and returns its packet.
func (r *rig) sound(b []byte) wire.IPv4 {
	r.t.Helper()
	require.LessOrEqual(r.t, len(b), 1514)
	require.Equal(r.t, ourMAC, wire.Ethernet(b).Src())
	require.Equal(r.t, wire.TypeIPv4, wire.Ethernet(b).Type())
	p, ok := wire.ParseIPv4(b[wire.EthernetLen:])
	require.True(r.t, ok)
	require.Len(r.t, []byte(p), len(b)-wire.EthernetLen)
	require.True(r.t, p.SumGood())
	return p
}

// arpOut checks an ARP packet that the host has sent.
func (r *rig) arpOut(b []byte, to wire.MAC, op uint16, dst wire.Addr) {
	r.t.Helper()
	require.Equal(r.t, to, wire.Ethernet(b).Dst())
	require.Equal(r.t, wire.TypeARP, wire.Ethernet(b).Type())
	p, ok := wire.ParseARP(b[wire.EthernetLen:])
	require.True(r.t, ok)
	require.Equal(r.t, op, p.Op())
	require.Equal(r.t, dst, p.Dst())
	require.Equal(r.t, us, p.Src())
	require.Equal(r.t, ourMAC, p.SrcMAC())
}

// arpIn builds an ARP packet for the host.
func arpIn(op uint16, mac wire.MAC, src wire.Addr, dst wire.Addr) []byte {
	b := make([]byte, 60)
	wire.Ethernet(b).Put(wire.Broadcast, mac, wire.TypeARP)
	wire.ARP(b[wire.EthernetLen:]).Put(op, mac, src, wire.MAC{}, dst)
	return b
}
