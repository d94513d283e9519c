package inet

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// target is a live stack with open sockets, and a peer that sends what a fuzzer wants. The peer knows enough of what
// the stack sends to get its segments accepted.
type target struct {
	t     *testing.T
	stack *Stack
	peer  link.Device
	now   int64
	next  wire.Seq // of the stack, in the last segment seen
	acked wire.Seq // of ours
	pongs int
	mute  bool // does not answer ARP
}

var (
	fuzzAddr = wire.AddrFrom([4]byte{10, 0, 0, 1})
	fuzzPeer = wire.AddrFrom([4]byte{10, 0, 0, 2})
	fuzzCalm = wire.AddrFrom([4]byte{10, 0, 0, 3})
	fuzzMAC  = wire.MAC{2, 0, 0, 0, 0, 1}
	peerMAC  = wire.MAC{2, 0, 0, 0, 0, 2}
)

const pongSize = 77

func newTarget(t *testing.T) *target {
	a, b := link.NewPipe(link.Config{}, link.Config{})
	g := &target{t: t, peer: b}
	s, err := New(a, &Config{IP: ip.Config{Addr: fuzzAddr, Prefix: 24, Neighbours: 3, ARPAge: 5e9}, TCP: tcp.Config{MaxEmbryos: 2}}, 0)
	require.Zero(t, err)
	g.stack = s
	e := &echo{}
	e.s = s.UDP().Open(e)
	require.Zero(t, e.s.Bind(0, 7))
	u := s.UDP().Open(e)
	require.Zero(t, u.Connect(fuzzPeer, 9))
	l, err := s.TCP().Listen(0, 80, 4, &acceptor{})
	require.Zero(t, err)
	require.NotNil(t, l)
	_, err = s.TCP().Connect(0, 1000, fuzzPeer, 9, &tcpEcho{})
	require.Zero(t, err)
	_, err = s.TCP().Connect(0, 1001, fuzzAddr, 80, &tcpEcho{})
	require.Zero(t, err)
	return g
}

// acceptor takes connections, whose handlers echo, and close when the peer does.
type acceptor struct{}

func (acceptor) Acceptable(l *tcp.Listener) {
	if c := l.Accept(); c != nil {
		c.SetHandler(&tcpEcho{})
		c.Pull()
	}
}

type tcpEcho struct{}

func (*tcpEcho) Connected(*tcp.Conn, abi.Errno) {}
func (*tcpEcho) Received(c *tcp.Conn, p []byte) int {
	n := c.Write(p)
	c.Push()
	return n
}
func (*tcpEcho) Writable(c *tcp.Conn) { c.Pull() }
func (*tcpEcho) Ended(c *tcp.Conn, err abi.Errno) {
	if err == 0 {
		c.Close()
	}
}

// poll runs the stack, and looks at what it sends.
func (g *target) poll() {
	var frames [32]link.Frame
	for range 4 {
		g.stack.Poll(g.now)
		for n := g.peer.Receive(frames[:]); n > 0; n = g.peer.Receive(frames[:]) {
			for _, f := range frames[:n] {
				g.see(f.Data)
			}
		}
	}
}

// see checks that what the stack sends is well-formed.
func (g *target) see(b []byte) {
	if wire.Ethernet(b).Type() == wire.TypeARP {
		if a, ok := wire.ParseARP(b[wire.EthernetLen:]); ok && a.Op() == wire.ARPRequest && a.Dst() != fuzzAddr && !g.mute {
			g.arp(wire.ARPReply, a.Dst(), nil)
		}
		return
	}
	p, ok := wire.ParseIPv4(b[wire.EthernetLen:])
	require.True(g.t, ok)
	require.True(g.t, p.SumGood())
	if p.Fragment() {
		return
	}
	switch p.Proto() {
	case wire.ProtoTCP:
		s, ok := wire.ParseTCP(p.Payload())
		require.True(g.t, ok)
		require.Equal(g.t, uint16(0xffff), wire.Fold(wire.Sum(s, wire.PseudoSum(p.Src(), p.Dst(), wire.ProtoTCP, len(s)))))
		g.next, g.acked = s.Seq()+wire.Seq(len(s.Payload())), s.Ack()
		if s.Flags()&(wire.SYN|wire.FIN) != 0 {
			g.next++
		}
	case wire.ProtoUDP:
		u, ok := wire.ParseUDP(p.Payload())
		require.True(g.t, ok)
		require.Equal(g.t, uint16(0xffff), wire.Fold(wire.Sum(u, wire.PseudoSum(p.Src(), p.Dst(), wire.ProtoUDP, len(u)))))
	case wire.ProtoICMP:
		m, ok := wire.ParseICMP(p.Payload())
		require.True(g.t, ok)
		require.True(g.t, m.SumGood())
		if m.Type() == wire.ICMPEchoReply && p.Dst() == fuzzCalm && len(m) == pongSize {
			g.pongs++
		}
	}
}

// arp sends an ARP packet, changed from the addresses on if change is not nil.
func (g *target) arp(op uint16, src wire.Addr, change []byte) {
	b := make([]byte, wire.EthernetLen+wire.ARPLen)
	wire.Ethernet(b).Put(wire.Broadcast, peerMAC, wire.TypeARP)
	wire.ARP(b[wire.EthernetLen:]).Put(op, peerMAC, src, wire.MAC{}, fuzzAddr)
	copy(b[wire.EthernetLen+6:], change)
	g.send(b)
}

func (g *target) send(frame []byte) {
	n := copy(g.peer.Buffer(), frame)
	g.peer.Send(n, 0)
	g.peer.Flush()
}

// packet sends data of a protocol, whose checksum is put right.
func (g *target) packet(src wire.Addr, proto uint8, id, fragment uint16, data []byte) {
	b := make([]byte, wire.EthernetLen+wire.IPv4Len+len(data))
	wire.Ethernet(b).Put(fuzzMAC, peerMAC, wire.TypeIPv4)
	p := wire.IPv4(b[wire.EthernetLen:])
	p.Put(wire.IPv4Len+len(data), id, fragment, 64, proto, src, fuzzAddr)
	d := p.Payload()
	copy(d, data)
	at, sum := -1, uint64(0)
	switch {
	case fragment != 0:
	case proto == wire.ProtoTCP && len(d) >= wire.TCPLen:
		at, sum = 16, wire.PseudoSum(src, fuzzAddr, proto, len(d))
	case proto == wire.ProtoUDP && len(d) >= wire.UDPLen:
		at, sum = 6, wire.PseudoSum(src, fuzzAddr, proto, len(d))
		binary.BigEndian.PutUint16(d[4:], uint16(len(d)))
	case proto == wire.ProtoICMP && len(d) >= wire.ICMPLen:
		at = 2
	}
	if at >= 0 {
		binary.BigEndian.PutUint16(d[at:], 0)
		binary.BigEndian.PutUint16(d[at:], ^wire.Fold(wire.Sum(d, sum)))
	}
	g.send(b)
}

// do carries out one step that the fuzzer wants.
func (g *target) do(op byte, data []byte) {
	switch op % 9 {
	case 0:
		g.send(data)
	case 1:
		b := append(make([]byte, wire.EthernetLen), data...)
		wire.Ethernet(b).Put(fuzzMAC, peerMAC, wire.TypeIPv4)
		if p := wire.IPv4(b[wire.EthernetLen:]); len(p) >= wire.IPv4Len && p.HeaderLen() >= wire.IPv4Len && p.HeaderLen() <= len(p) {
			binary.BigEndian.PutUint16(p[10:], 0)
			binary.BigEndian.PutUint16(p[10:], ^wire.Fold(wire.Sum(p[:p.HeaderLen()], 0)))
		}
		g.send(b)
	case 2, 3: // a segment to the listener or the connection, with numbers from those expected on
		if len(data) < wire.TCPLen {
			return
		}
		s := append(wire.TCP(nil), data...)
		if op%9 == 2 {
			binary.BigEndian.PutUint32(s, 5000<<16|80)
		} else {
			binary.BigEndian.PutUint32(s, 9<<16|1000)
		}
		if s.Flags()&wire.ECE == 0 { // a bit that says nothing here
			binary.BigEndian.PutUint32(s[4:], uint32(g.acked)+uint32(int8(s[7])))
			binary.BigEndian.PutUint32(s[8:], uint32(g.next)+uint32(int8(s[11])))
		}
		g.packet(fuzzPeer, wire.ProtoTCP, 0, 0, s)
	case 4:
		u := append([]byte{0, 9, 0, 7, 0, 0, 0, 0}, data...)
		g.packet(fuzzPeer+wire.Addr(len(data)%5), wire.ProtoUDP, 0, 0, u)
	case 5: // an error may be about the segment that was sent last
		m := append([]byte(nil), data...)
		if at := wire.ICMPLen + wire.IPv4Len + 4; len(m) >= at+4 && m[at]&1 != 0 {
			binary.BigEndian.PutUint32(m[at:], uint32(g.next)+uint32(int8(m[at+3])))
		}
		g.packet(fuzzPeer, wire.ProtoICMP, 0, 0, m)
	case 6:
		g.arp(wire.ARPRequest, fuzzPeer, data)
	case 7:
		if len(data) >= 3 {
			g.packet(fuzzPeer, data[0], uint16(data[1]), binary.BigEndian.Uint16(data[1:]), data[3:])
		}
	case 8:
		g.mute = len(data)%2 == 0
		g.now += int64(len(data)) * 2e8
	}
	g.poll()
}

// alive checks that somebody else still gets his answers.
func (g *target) alive() {
	g.mute = false
	g.now += 2e9
	g.poll()
	g.arp(wire.ARPRequest, fuzzCalm, nil)
	g.poll()
	m := wire.ICMP(make([]byte, pongSize))
	m.Put(wire.ICMPEcho, 0, 0)
	g.pongs = 0
	g.packet(fuzzCalm, wire.ProtoICMP, 0, 0, m)
	g.poll()
	require.Equal(g.t, 1, g.pongs)
	g.stack.Close()
}

// FuzzInput feeds a live stack. The input is a list of steps: kind, length, that many bytes.
func FuzzInput(f *testing.F) {
	step := func(op byte, data ...byte) []byte { return append([]byte{op, byte(len(data))}, data...) }
	segment := func(flags wire.TCPFlags, data string) []byte {
		s := wire.TCP(make([]byte, wire.TCPLen))
		s.Put(0, 0, 0, 0, wire.TCPLen, flags, 1000)
		return append(s, data...)
	}
	join := func(steps ...[]byte) (all []byte) {
		for _, s := range steps {
			all = append(all, s...)
		}
		return all
	}
	f.Add(join(step(2, segment(wire.SYN, "")...), step(2, segment(wire.ACK, "hello")...), step(2, segment(wire.ACK|wire.FIN, "")...)))
	f.Add(join(step(3, segment(wire.SYN|wire.ACK, "")...), step(3, segment(wire.ACK, "hello")...), step(3, segment(wire.RST, "")...)))
	f.Add(join(step(2, segment(wire.SYN, "")...), step(8, make([]byte, 200)...), step(2, segment(wire.ACK|wire.ECE, "")...)))
	syn := []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8 << 4, byte(wire.SYN), 255, 255, 0, 0, 0, 0, 2, 4, 5, 180, 4, 2, 3, 3, 7, 1, 1, 1}
	later := segment(wire.ACK, "later")
	later[7] = 5
	sack := []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8 << 4, byte(wire.ACK), 255, 255, 0, 0, 0, 0, 1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9}
	tooBig := []byte{3, 4, 0, 0, 0, 0, 3, 0, 0x45, 0, 5, 220, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 19, 136, 1, 0, 0, 0xfb}
	f.Add(join(step(2, syn...), step(2, later...), step(2, segment(wire.ACK, "hello")...), step(5, tooBig...), step(2, sack...), step(8, make([]byte, 50)...)))
	f.Add(join(step(4, []byte("hello")...), step(5, 8, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3)))
	f.Add(join(step(6, 0, 2), step(7, 17, 0x20, 0, 2, 3, 4, 5, 6, 7, 8, 9), step(7, 17, 0x20, 0, 2, 3, 4, 5, 6, 7, 8, 1), step(8, 1, 2, 3)))
	f.Add(step(1, 0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1))
	f.Add(step(5, 3, 4, 0, 0, 0, 0, 3, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 3, 0xe8, 0, 9, 0, 0, 0, 0))
	f.Fuzz(attack)
}

func attack(t *testing.T, in []byte) {
	g := newTarget(t)
	g.poll()
	for steps := 0; len(in) >= 2 && steps < 100; steps++ {
		op, n := in[0], min(int(in[1]), len(in)-2)
		g.do(op, in[2:2+n])
		in = in[2+n:]
	}
	g.alive()
}

// TestAttack does the same with what comes at random, but not quite.
func TestAttack(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 400 {
		var in []byte
		for range 60 {
			op, n := byte(rnd.IntN(9)), rnd.IntN(80)
			data := make([]byte, n)
			for i := range data {
				data[i] = byte(rnd.Uint32())
				if rnd.IntN(2) == 0 {
					data[i] = 0
				}
			}
			guide(rnd, op, data)
			in = append(append(in, op, byte(n)), data...)
		}
		attack(t, in)
	}
}

// guide makes data of a kind of step look like what it should be.
func guide(rnd *rand.Rand, op byte, data []byte) {
	pick := func(b ...byte) byte { return b[rnd.IntN(len(b))] }
	inside := func(p wire.IPv4, src, dst wire.Addr) { // an IPv4 header
		p[0] = pick(0x45, 0x45, 0x46, 0x47, 0x4f, 0x44)
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)-rnd.IntN(2)*rnd.IntN(len(p))))
		p[6], p[7], p[9] = pick(0, 0x40, 0x20), pick(0, 0, 1), pick(1, 6, 17, 99)
		binary.BigEndian.PutUint32(p[12:], uint32(src))
		binary.BigEndian.PutUint32(p[16:], uint32(dst))
	}
	switch n := len(data); {
	case op == 1 && n >= wire.IPv4Len:
		inside(data, fuzzPeer, fuzzAddr)
		if n > wire.IPv4Len {
			data[wire.IPv4Len] = pick(0, 1, 7, 68, 0x83, 0x94)
		}
	case (op == 2 || op == 3) && n >= wire.TCPLen:
		data[12] = 5 << 4
		data[7], data[11] = pick(0, 1, 2), pick(0, 1, 2)
		data[13] = pick(2, 16, 16, 16, 17, 18, 24, 4)
	case op == 5 && n >= wire.ICMPLen+wire.IPv4Len:
		data[0], data[1] = pick(3, 3, 8, 11, 12), pick(0, 1, 2, 3, 4, 13)
		inside(data[wire.ICMPLen:], fuzzAddr, fuzzPeer)
	case op == 7 && n >= 3:
		data[0], data[1], data[2] = pick(6, 17, 17, 1), pick(0x20, 0x20, 0x3f, 0x1f, 0), pick(0, 0, 1, 2, 0xff)
	}
}
