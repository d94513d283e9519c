package inet

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// flow is what a script knows of one connection: the numbers in it are relative to the first of each direction.
type flow struct {
	name               string
	local, remote      wire.Addr
	localPort, dstPort uint16
	known              bool     // isn is known
	isn                wire.Seq // of the stack
	peerISN            wire.Seq
	tsKnown            bool
	tsBase, tsLast     uint32 // first and latest TSval of the stack
	sock               *sock
}

// segment is a TCP segment in the script's notation:
//
//	S. 0:0(0) ack 1 win 65535 urg 3 <mss 1460,sackOK,ts val 100 ecr 0,nop,wscale 7,sack 1:10 20:30>
type segment struct {
	flags     wire.TCPFlags
	seq, ack  uint32
	n         int
	win       int // -1: any
	urg       int
	ttl, dscp int  // in what the stack sends; 0: any
	group     bool // to the broadcast address of the link
	badSum    bool
	reserved  int
	offset    int // of the data, in words, if the header lies
	to, from  *wire.Addr
	ipOptions []byte
	options   []string
	hasOpts   bool
}

const flagLetters = "FSRP.UEW"

func parseFlags(s string) (f wire.TCPFlags, err error) {
	if s == "-" {
		return 0, nil
	}
	for _, c := range s {
		i := strings.IndexRune(flagLetters, c)
		if i < 0 {
			return 0, fmt.Errorf("flag %q", c)
		}
		f |= 1 << i
	}
	return f, nil
}

func formatFlags(f wire.TCPFlags) (s string) {
	for _, i := range []int{1, 0, 2, 3, 5, 6, 7, 4} {
		if f&(1<<i) != 0 {
			s += flagLetters[i : i+1]
		}
	}
	if s == "" {
		return "-"
	}
	return s
}

func parseAddr(s string) (wire.Addr, error) {
	var b [4]byte
	if n, err := fmt.Sscanf(s, "%d.%d.%d.%d", &b[0], &b[1], &b[2], &b[3]); n != 4 || err != nil {
		return 0, fmt.Errorf("address %q", s)
	}
	return wire.AddrFrom(b), nil
}

func parseSegment(text string) (s segment, err error) {
	s.win = -1
	if i := strings.IndexByte(text, '<'); i >= 0 {
		list, ok := strings.CutSuffix(strings.TrimSpace(text[i+1:]), ">")
		if !ok {
			return s, fmt.Errorf("options without an end")
		}
		s.hasOpts = true
		for o := range strings.SplitSeq(list, ",") {
			if o = strings.TrimSpace(o); o != "" {
				s.options = append(s.options, o)
			}
		}
		text = text[:i]
	}
	words := strings.Fields(text)
	if len(words) < 2 {
		return s, fmt.Errorf("flags and sequence numbers expected")
	}
	if s.flags, err = parseFlags(words[0]); err != nil {
		return s, err
	}
	var end uint32
	if n, err := fmt.Sscanf(words[1], "%d:%d(%d)", &s.seq, &end, &s.n); n != 3 || err != nil {
		return s, fmt.Errorf("sequence numbers %q", words[1])
	}
	if end-s.seq != uint32(s.n) {
		return s, fmt.Errorf("%q is not %d bytes", words[1], s.n)
	}
	return s, s.parseRest(words[2:])
}

func (s *segment) parseRest(words []string) (err error) {
	numbers := map[string]*int{"win": &s.win, "urg": &s.urg, "ttl": &s.ttl, "dscp": &s.dscp, "off": &s.offset, "reserved": &s.reserved}
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		switch w {
		case "badsum":
			s.badSum = true
			continue
		case "group":
			s.group = true
			continue
		}
		if len(words) == 0 {
			return fmt.Errorf("value of %q is missing", w)
		}
		v := words[0]
		words = words[1:]
		switch p := numbers[w]; {
		case p != nil:
			*p, err = strconv.Atoi(v)
		case w == "ack":
			var a int64
			a, err = strconv.ParseInt(v, 10, 64)
			s.ack = uint32(a)
		case w == "ipopts":
			s.ipOptions, err = hex.DecodeString(v)
		case w == "to" || w == "from":
			var a wire.Addr
			a, err = parseAddr(v)
			if w == "to" {
				s.to = &a
			} else {
				s.from = &a
			}
		default:
			err = fmt.Errorf("word %q", w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// byteAt is the byte that each stream has at an offset.
func byteAt(at uint32) byte { return byte(at ^ at>>8*7 ^ at>>16*3) }

// build makes the frame of a segment from the peer.
func (s *segment) build(f *flow, to, from wire.MAC) ([]byte, error) {
	var options []byte
	for _, o := range s.options {
		b, err := f.option(o)
		if err != nil {
			return nil, err
		}
		options = append(options, b...)
	}
	for len(options)%4 != 0 {
		options = append(options, 0)
	}
	h := wire.TCPLen + len(options)
	frame := make([]byte, wire.EthernetLen+wire.IPv4Len+len(s.ipOptions)+h+s.n)
	if s.group {
		to = wire.Broadcast
	}
	wire.Ethernet(frame).Put(to, from, wire.TypeIPv4)
	p := wire.IPv4(frame[wire.EthernetLen:])
	src, dst, ttl := f.remote, f.local, uint8(64)
	if s.from != nil {
		src = *s.from
	}
	if s.to != nil {
		dst = *s.to
	}
	if s.ttl != 0 {
		ttl = uint8(s.ttl)
	}
	p.Put(len(p), 1, wire.DontFragment, ttl, wire.ProtoTCP, src, dst)
	if len(s.ipOptions) > 0 {
		copy(p[wire.IPv4Len:], s.ipOptions)
		p[0] += byte(len(s.ipOptions) / 4)
		binary.BigEndian.PutUint16(p[10:], 0)
		binary.BigEndian.PutUint16(p[10:], ^wire.Fold(wire.Sum(p[:p.HeaderLen()], 0)))
	}
	t := wire.TCP(p.Payload())
	ack := wire.Seq(s.ack)
	if s.flags&wire.ACK != 0 {
		ack += f.isn
	}
	t.Put(f.dstPort, f.localPort, f.peerISN+wire.Seq(s.seq), ack, h, s.flags, uint16(max(s.win, 0)))
	binary.BigEndian.PutUint16(t[18:], uint16(s.urg))
	t[12] |= byte(s.reserved)
	if s.offset != 0 {
		t[12] = byte(s.offset) << 4
	}
	copy(t[wire.TCPLen:], options)
	for i := range s.n {
		t[h+i] = byteAt(s.seq + uint32(i))
	}
	sum := ^wire.Fold(wire.Sum(t, wire.PseudoSum(src, dst, wire.ProtoTCP, len(t))))
	if s.badSum {
		sum++
	}
	binary.BigEndian.PutUint16(t[16:], sum)
	return frame, nil
}

// option writes one option of a segment from the peer.
func (f *flow) option(o string) ([]byte, error) {
	name, rest, _ := strings.Cut(o, " ")
	bad := fmt.Errorf("option %q", o)
	switch name {
	case "nop":
		return []byte{1}, nil
	case "eol":
		return []byte{0}, nil
	case "sackOK":
		return []byte{4, 2}, nil
	case "mss":
		v, err := strconv.Atoi(rest)
		return []byte{2, 4, byte(v >> 8), byte(v)}, err
	case "wscale":
		v, err := strconv.Atoi(rest)
		return []byte{3, 3, byte(v)}, err
	case "hex":
		return hex.DecodeString(rest)
	case "ts":
		w := strings.Fields(rest)
		if len(w) != 4 || w[0] != "val" || w[2] != "ecr" {
			return nil, bad
		}
		val, err := strconv.ParseUint(w[1], 10, 32)
		if err != nil {
			return nil, bad
		}
		ecr := uint64(f.tsLast)
		if w[3] != "last" {
			if ecr, err = strconv.ParseUint(w[3], 10, 32); err != nil {
				return nil, bad
			}
			ecr += uint64(f.tsBase)
		}
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte{8, 10}, uint32(val)), uint32(ecr)), nil
	case "sack":
		var b []byte
		for w := range strings.FieldsSeq(rest) {
			var from, to uint32
			if n, err := fmt.Sscanf(w, "%d:%d", &from, &to); n != 2 || err != nil {
				return nil, bad
			}
			b = binary.BigEndian.AppendUint32(b, uint32(f.isn)+from)
			b = binary.BigEndian.AppendUint32(b, uint32(f.isn)+to)
		}
		return append([]byte{5, byte(2 + len(b))}, b...), nil
	}
	return nil, bad
}

// readOptions formats the options of a segment of the stack; ones without content are left out.
func (f *flow) readOptions(p []byte) (out []string) {
	for len(p) > 0 {
		if p[0] == 0 {
			if len(bytes.Trim(p, "\x00")) > 0 {
				out = append(out, "padding that is not 0")
			}
			return out
		}
		if p[0] == 1 {
			p = p[1:]
			continue
		}
		if len(p) < 2 || p[1] < 2 || int(p[1]) > len(p) {
			return append(out, "malformed")
		}
		v := p[2:p[1]]
		switch {
		case p[0] == 2 && len(v) == 2:
			out = append(out, fmt.Sprintf("mss %d", binary.BigEndian.Uint16(v)))
		case p[0] == 3 && len(v) == 1:
			out = append(out, fmt.Sprintf("wscale %d", v[0]))
		case p[0] == 4 && len(v) == 0:
			out = append(out, "sackOK")
		case p[0] == 8 && len(v) == 8:
			out = append(out, fmt.Sprintf("ts val %d ecr %d", binary.BigEndian.Uint32(v)-f.tsBase, binary.BigEndian.Uint32(v[4:])))
		case p[0] == 5 && len(v)%8 == 0:
			s := "sack"
			for ; len(v) > 0; v = v[8:] {
				s += fmt.Sprintf(" %d:%d", binary.BigEndian.Uint32(v)-uint32(f.peerISN), binary.BigEndian.Uint32(v[4:])-uint32(f.peerISN))
			}
			out = append(out, s)
		default:
			out = append(out, fmt.Sprintf("hex %x", p[:p[1]]))
		}
		p = p[p[1]:]
	}
	return out
}

// learn notes the numbers that a segment of the stack begins with.
func (f *flow) learn(t wire.TCP) {
	if f.localPort == 0 && t.DstPort() == f.dstPort {
		f.localPort = t.SrcPort()
	}
	if t.SrcPort() != f.localPort || t.DstPort() != f.dstPort {
		return
	}
	if !f.known && t.Flags()&wire.SYN != 0 {
		f.known, f.isn = true, t.Seq()
	}
	var o wire.Options
	if o.Parse(t.Options()); o.Has&wire.HasTimestamps != 0 {
		if !f.tsKnown {
			f.tsKnown, f.tsBase = true, o.TSVal
		}
		f.tsLast = o.TSVal
	}
}

// format writes a segment of the stack in the script's notation.
func (f *flow) format(t wire.TCP) string {
	seq := uint32(t.Seq() - f.isn)
	s := fmt.Sprintf("%s %d:%d(%d)", formatFlags(t.Flags()), seq, seq+uint32(len(t.Payload())), len(t.Payload()))
	if t.Flags()&wire.ACK != 0 {
		s += fmt.Sprintf(" ack %d", uint32(t.Ack()-f.peerISN))
	}
	s += fmt.Sprintf(" win %d", t.Window())
	if t.Flags()&wire.URG != 0 {
		s += fmt.Sprintf(" urg %d", t.Urgent())
	}
	if o := f.readOptions(t.Options()); o != nil {
		s += " <" + strings.Join(o, ",") + ">"
	}
	return s
}

// match compares a segment of the stack with what is expected; the answer is what differs.
func (s *segment) match(f *flow, t wire.TCP) string {
	const push = wire.PSH
	got := t.Flags()
	if got&^push != s.flags&^push || s.flags&push != 0 && got&push == 0 || got&push != 0 && len(t.Payload()) == 0 {
		return "flags"
	}
	if uint32(t.Seq()-f.isn) != s.seq || len(t.Payload()) != s.n {
		return "sequence numbers"
	}
	if s.flags&wire.ACK != 0 && uint32(t.Ack()-f.peerISN) != s.ack {
		return "ack"
	}
	if s.flags&wire.ACK == 0 && t.Ack() != 0 {
		return "ack field without ACK"
	}
	if s.win >= 0 && int(t.Window()) != s.win {
		return "window"
	}
	if s.reserved != int(t[12]&15) {
		return "reserved bits"
	}
	if s.hasOpts && !sameOptions(s.options, f.readOptions(t.Options())) {
		return "options"
	}
	for i, b := range t.Payload() {
		at := s.seq + uint32(i)
		if got&wire.SYN != 0 {
			at++
		}
		if b != byteAt(at) {
			return fmt.Sprintf("payload at %d", at)
		}
	}
	return ""
}

// sameOptions compares lists in any order; in the expected one * stands for any number.
func sameOptions(want, got []string) bool {
	want = slices.DeleteFunc(slices.Clone(want), func(o string) bool { return o == "nop" || o == "eol" })
	if len(want) != len(got) {
		return false
	}
	slices.Sort(want)
	slices.Sort(got)
	for i, w := range want {
		a, b := strings.Fields(w), strings.Fields(got[i])
		if len(a) != len(b) {
			return false
		}
		for j := range a {
			if a[j] != "*" && a[j] != b[j] {
				return false
			}
		}
	}
	return true
}
