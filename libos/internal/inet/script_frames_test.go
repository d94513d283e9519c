package inet

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/libdmtr/libdmtr/libos/internal/inet/udp"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// frame builds what a < line describes.
func (s *script) frame(text string) []byte {
	f := s.flow("")
	if text[0] == '[' {
		name, rest, _ := strings.Cut(text[1:], "]")
		f, text = s.flow(name), strings.TrimSpace(rest)
	}
	words := strings.Fields(text)
	switch words[0] {
	case "icmp":
		return s.icmp(f, words[1:])
	case "udp":
		return s.udpFrame(words[1:])
	case "arp":
		return arpFrame(words[1:])
	case "ip", "ethernet":
		b, err := hex.DecodeString(strings.Join(words[1:], ""))
		if err != nil {
			fail("%v", err)
		}
		if words[0] == "ip" {
			head := make([]byte, wire.EthernetLen)
			wire.Ethernet(head).Put(scriptMAC, scriptPeerMAC, wire.TypeIPv4)
			b = append(head, b...)
		}
		return b
	}
	seg, err := parseSegment(text)
	if err != nil {
		fail("%v", err)
	}
	b, err := seg.build(f, scriptMAC, scriptPeerMAC)
	if err != nil {
		fail("%v", err)
	}
	return b
}

// packet makes the frame of an IPv4 packet to the stack, with room for n bytes.
func packet(proto uint8, src wire.Addr, n int) (frame, payload []byte) {
	frame = make([]byte, wire.EthernetLen+wire.IPv4Len+n)
	wire.Ethernet(frame).Put(scriptMAC, scriptPeerMAC, wire.TypeIPv4)
	wire.IPv4(frame[wire.EthernetLen:]).Put(wire.IPv4Len+n, 1, 0, 64, proto, src, scriptAddr)
	return frame, frame[wire.EthernetLen+wire.IPv4Len:]
}

var icmpTypes = map[string][2]uint8{
	"reply": {wire.ICMPEchoReply, 0}, "echo": {wire.ICMPEcho, 0},
	"net": {wire.ICMPUnreachable, wire.UnreachableNet}, "host": {wire.ICMPUnreachable, wire.UnreachableHost},
	"protocol": {wire.ICMPUnreachable, wire.UnreachableProtocol}, "port": {wire.ICMPUnreachable, wire.UnreachablePort},
	"toobig":      {wire.ICMPUnreachable, wire.FragmentationNeeded},
	"sourceroute": {wire.ICMPUnreachable, wire.SourceRouteFailed}, "quench": {wire.ICMPSourceQuench, 0},
	"ttl": {wire.ICMPTimeExceeded, wire.ExceededTTL}, "reassembly": {wire.ICMPTimeExceeded, wire.ExceededReassembly},
	"parameter": {wire.ICMPBadParameter, 0}, "redirect": {wire.ICMPRedirect, 1},
}

// icmp makes a message: echo ID SEQ LEN, or an error about a segment of a flow: NAME [mtu N] [seq N] [from ADDR].
func (s *script) icmp(f *flow, words []string) []byte {
	t, ok := icmpTypes[words[0]]
	if !ok {
		fail("no ICMP message %q", words[0])
	}
	args := map[string]string{}
	if words[0] == "echo" || words[0] == "reply" {
		frame, p := packet(wire.ProtoICMP, scriptPeer, wire.ICMPLen+arg(words[3:]))
		for i := range p[wire.ICMPLen:] {
			p[wire.ICMPLen+i] = byteAt(uint32(i))
		}
		wire.ICMP(p).Put(t[0], t[1], uint32(arg(words[1:])<<16|arg(words[2:])))
		return frame
	}
	for i := 1; i+1 < len(words); i += 2 {
		args[words[i]] = words[i+1]
	}
	seq, _ := strconv.ParseInt(args["seq"], 10, 64)
	mtu, _ := strconv.Atoi(args["mtu"])
	src := scriptPeer
	if a, ok := args["from"]; ok {
		src, _ = parseAddr(a)
	}
	frame, p := packet(wire.ProtoICMP, src, wire.ICMPLen+wire.IPv4Len+8)
	q := wire.IPv4(p[wire.ICMPLen:])
	q.Put(1500, 1, wire.DontFragment, 63, wire.ProtoTCP, f.local, f.remote)
	binary.BigEndian.PutUint16(q[20:], f.localPort)
	binary.BigEndian.PutUint16(q[22:], f.dstPort)
	binary.BigEndian.PutUint32(q[24:], uint32(f.isn)+uint32(seq))
	wire.ICMP(p).Put(t[0], t[1], uint32(mtu))
	return frame
}

func (s *script) udpFrame(words []string) []byte {
	if len(words) != 3 {
		fail("udp SOURCE DESTINATION LENGTH")
	}
	frame, p := packet(wire.ProtoUDP, scriptPeer, wire.UDPLen+arg(words[2:]))
	u := wire.UDP(p)
	u.Put(uint16(arg(words)), uint16(arg(words[1:])), len(p))
	for i := range u.Payload() {
		u.Payload()[i] = byteAt(uint32(i))
	}
	binary.BigEndian.PutUint16(u[6:], ^wire.Fold(wire.Sum(u, wire.PseudoSum(scriptPeer, scriptAddr, wire.ProtoUDP, len(u)))))
	return frame
}

// arpFrame makes a packet of the peer: request|reply SENDER -> TARGET.
func arpFrame(words []string) []byte {
	if len(words) != 4 {
		fail("arp request|reply SENDER -> TARGET")
	}
	src, err1 := parseAddr(words[1])
	dst, err2 := parseAddr(words[3])
	if err1 != nil || err2 != nil {
		fail("addresses")
	}
	b := make([]byte, wire.EthernetLen+wire.ARPLen)
	op, to, target := wire.ARPRequest, wire.Broadcast, wire.MAC{}
	if words[0] == "reply" {
		op, to, target = wire.ARPReply, scriptMAC, scriptMAC
	}
	wire.Ethernet(b).Put(to, scriptPeerMAC, wire.TypeARP)
	wire.ARP(b[wire.EthernetLen:]).Put(op, scriptPeerMAC, src, target, dst)
	return b
}

// describe writes a frame of the stack in the script's notation.
func (s *script) describe(b []byte) string {
	if wire.Ethernet(b).Type() == wire.TypeARP {
		a := wire.ARP(b[wire.EthernetLen:])
		op := "request"
		if a.Op() == wire.ARPReply {
			op = "reply"
		}
		return fmt.Sprintf("arp %s %v -> %v", op, a.Src(), a.Dst())
	}
	p, ok := wire.ParseIPv4(b[wire.EthernetLen:])
	if !ok {
		return fmt.Sprintf("malformed %x", b)
	}
	if !p.SumGood() {
		return "bad checksum of IPv4"
	}
	d := p.Payload()
	sum := wire.Fold(wire.Sum(d, wire.PseudoSum(p.Src(), p.Dst(), p.Proto(), len(d))))
	switch p.Proto() {
	case wire.ProtoICMP:
		return describeICMP(wire.ICMP(d))
	case wire.ProtoUDP:
		u := wire.UDP(d)
		return fmt.Sprintf("udp %d %d %d", u.SrcPort(), u.DstPort(), len(u.Payload()))
	case wire.ProtoTCP:
		t, ok := wire.ParseTCP(d)
		if !ok || sum != 0xffff {
			return fmt.Sprintf("malformed TCP, or a bad checksum: %x", d)
		}
		f := s.flowOf(p, t)
		name := ""
		if f.name != "" {
			name = "[" + f.name + "] "
		}
		return name + f.format(t)
	}
	return fmt.Sprintf("protocol %d, %d bytes", p.Proto(), len(d))
}

func describeICMP(m wire.ICMP) string {
	if !m.SumGood() {
		return "bad checksum of ICMP"
	}
	for name, t := range icmpTypes {
		if t == [2]uint8{m.Type(), m.Code()} {
			if name == "echo" || name == "reply" {
				return fmt.Sprintf("icmp %s %d %d %d", name, m.ID(), m.Seq(), len(m.Payload()))
			}
			return "icmp " + name
		}
	}
	return fmt.Sprintf("icmp %d %d", m.Type(), m.Code())
}

// flowOf finds the flow of a segment of the stack.
func (s *script) flowOf(p wire.IPv4, t wire.TCP) *flow {
	for _, f := range s.flows {
		if f.remote == p.Dst() && f.dstPort == t.DstPort() && (f.localPort == 0 || f.localPort == t.SrcPort()) {
			return f
		}
	}
	return &flow{name: fmt.Sprintf("%v:%d-%v:%d", p.Src(), t.SrcPort(), p.Dst(), t.DstPort())}
}

// compare tells how a frame differs from what a > line describes.
func (s *script) compare(text string, b []byte) string {
	f := s.flow("")
	if text[0] == '[' {
		name, rest, _ := strings.Cut(text[1:], "]")
		f, text = s.flow(name), strings.TrimSpace(rest)
	}
	if strings.HasPrefix(text, "icmp ") || strings.HasPrefix(text, "udp ") || strings.HasPrefix(text, "arp ") {
		if s.describe(b) != strings.Join(strings.Fields(text), " ") {
			return "other"
		}
		return ""
	}
	want, err := parseSegment(text)
	if err != nil {
		fail("%v", err)
	}
	p, ok := wire.ParseIPv4(b[wire.EthernetLen:])
	if !ok || wire.Ethernet(b).Type() != wire.TypeIPv4 || p.Proto() != wire.ProtoTCP {
		return "not TCP"
	}
	t, ok := wire.ParseTCP(p.Payload())
	if !ok || wire.Fold(wire.Sum(t, wire.PseudoSum(p.Src(), p.Dst(), wire.ProtoTCP, len(t)))) != 0xffff {
		return "malformed or checksum"
	}
	if wire.Ethernet(b).Dst() != scriptPeerMAC || wire.Ethernet(b).Src() != scriptMAC || p.Src() != f.local {
		return "addresses"
	}
	if want.ttl != 0 && int(p.TTL()) != want.ttl || want.dscp != 0 && int(p.TOS()>>2) != want.dscp {
		return "TTL or DSCP"
	}
	if f.learn(t); p.Dst() != f.remote || t.DstPort() != f.dstPort || t.SrcPort() != f.localPort {
		return "connection"
	}
	return want.match(f, t)
}

// udpSock is the application's end of a UDP socket.
type udpSock struct {
	*udp.Socket
	got    []int
	failed []abi.Errno
}

func (u *udpSock) Received(p []byte, _ wire.Addr, _ uint16) bool {
	for i := range p {
		if p[i] != byteAt(uint32(i)) {
			fail("byte %d of the datagram", i)
		}
	}
	u.got = append(u.got, len(p))
	return true
}

func (u *udpSock) Failed(err abi.Errno) { u.failed = append(u.failed, err) }

// udp runs: udp open PORT, udp send PORT DESTINATION LENGTH, udp connect PORT DESTINATION, udp got PORT LENGTH,
// udp failed PORT ERRNO, udp close PORT.
func (s *script) udp(words []string) {
	if len(words) < 2 {
		fail("udp VERB PORT")
	}
	port := uint16(arg(words[1:]))
	u := s.udpSockets[port]
	if words[0] == "open" {
		u = &udpSock{}
		u.Socket = s.stack.UDP().Open(u)
		if err := u.Bind(0, port); err != 0 {
			fail("bind: %s", errnoName(err))
		}
		s.udpSockets[port] = u
		return
	}
	if u == nil {
		fail("no socket")
	}
	switch words[0] {
	case "connect":
		if err := u.Connect(scriptPeer, uint16(arg(words[2:]))); err != 0 {
			fail("connect: %s", errnoName(err))
		}
	case "send":
		if err := u.Send(scriptPeer, uint16(arg(words[2:])), [][]byte{bytes.Repeat([]byte{7}, arg(words[3:]))}); err != 0 {
			fail("send: %s", errnoName(err))
		}
	case "got":
		if len(u.got) == 0 || u.got[0] != arg(words[2:]) {
			fail("datagrams received: %d", u.got)
		}
		u.got = u.got[1:]
	case "failed":
		if len(u.failed) == 0 || u.failed[0] != errnoNames[words[2]] {
			fail("errors: %v", u.failed)
		}
		u.failed = u.failed[1:]
	case "close":
		u.Close()
		delete(s.udpSockets, port)
	default:
		fail("no verb udp %q", words[0])
	}
}
