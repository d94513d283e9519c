package inet

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/stretchr/testify/require"
)

// TestScripts runs every packet script. testdata/README.md describes their language.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.pkt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(f, "testdata/"), ".pkt"), func(t *testing.T) {
			text, err := os.ReadFile(f)
			require.NoError(t, err)
			if msg := runScript(f, text); msg != "" {
				t.Error(msg)
			}
		})
	}
}

const (
	scriptAddr      = wire.Addr(0x0a000001)
	scriptPeer      = wire.Addr(0x0a000002)
	scriptStart     = int64(1000 * time.Hour) // the clock of the stack does not begin at 0
	scriptTolerance = int64(time.Millisecond)
	scriptPort      = 80
	scriptPeerPort  = 40000
)

var (
	scriptMAC     = wire.MAC{2, 0, 0, 0, 0, 1}
	scriptPeerMAC = wire.MAC{2, 0, 0, 0, 0, 2}
)

// sent is a frame of the stack.
type sent struct {
	at   int64
	data []byte
}

// wireEnd is the device of a stack under a script.
type wireEnd struct {
	s        *script
	mtu      int
	in       []link.Frame
	buf      []byte
	full     int // as many times, there is no room
	counters link.Counters
}

func (d *wireEnd) Info() link.Info {
	return link.Info{Name: "script", MAC: scriptMAC, MTU: d.mtu, FD: -1}
}

func (d *wireEnd) Receive(frames []link.Frame) int {
	n := copy(frames, d.in)
	d.in = d.in[n:]
	return n
}

func (d *wireEnd) Buffer() []byte {
	if d.full > 0 {
		d.full--
		return nil
	}
	return d.buf[:d.mtu+wire.EthernetLen]
}

func (d *wireEnd) Send(n int, _ link.Flags) {
	d.s.out = append(d.s.out, sent{d.s.now, bytes.Clone(d.buf[:n])})
	for i := range d.buf {
		d.buf[i] = 0xdb // a buffer has any content
	}
}

func (d *wireEnd) Flush()                   {}
func (d *wireEnd) Counters() *link.Counters { return &d.counters }
func (d *wireEnd) Close()                   {}

// script is the state of one that runs.
type script struct {
	cfg        Config
	arp        bool // ARP is part of the script
	mtu        int
	peerISN    uint32
	stack      *Stack
	dev        *wireEnd
	now        int64 // of the stack
	at         int64 // of the last line
	out        []sent
	flows      map[string]*flow
	listeners  []*listener
	udpSockets map[uint16]*udpSock
	hold       bool
	trace      []string
}

// failure ends a script.
type failure string

func fail(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

// runScript returns what went wrong.
func runScript(name string, text []byte) (msg string) {
	s := &script{mtu: 1500, peerISN: 4294967000, flows: map[string]*flow{}, udpSockets: map[uint16]*udpSock{}}
	s.cfg.TCP.Secret = [16]byte{1, 2, 3}
	line, what := 0, ""
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failure:
			msg = fmt.Sprintf("%s:%d: %s\n\t%s\nso far:\n\t%s", name, line, r, what, strings.Join(s.trace, "\n\t"))
		default:
			panic(r)
		}
	}()
	for sc := bufio.NewScanner(bytes.NewReader(text)); sc.Scan(); {
		line++
		what = strings.TrimSpace(sc.Text())
		if what != "" && what[0] != '#' {
			s.line(what)
		}
	}
	what = "end of the script"
	if s.stack == nil {
		fail("nothing was done")
	}
	s.silent()
	for _, f := range s.flows {
		if f.sock != nil {
			f.sock.finish()
		}
	}
	s.stack.Close()
	return ""
}

// line runs one line: an optional time, and what happens then.
func (s *script) line(text string) {
	if rest, ok := strings.CutPrefix(text, "config "); ok {
		s.configure(rest)
		return
	}
	if s.stack == nil {
		s.begin()
	}
	lo, hi := s.at, s.at
	if text[0] == '+' {
		var when string
		when, text, _ = strings.Cut(text, " ")
		text = strings.TrimSpace(text)
		from, to, isRange := strings.Cut(when[1:], "..")
		lo += duration(from)
		if hi = lo; isRange {
			hi = s.at + duration(to)
		}
	}
	if s.burst(lo, hi, text) {
		return
	}
	if rest, ok := strings.CutPrefix(text, ">"); ok {
		s.expect(lo, hi, strings.TrimSpace(rest))
		return
	}
	if len(s.dev.in) == 0 || lo > s.now || text[0] != '<' {
		s.run(lo, false)
	}
	if !isCheck(text) {
		s.silent()
	}
	s.at = lo
	s.note("%s", text)
	s.stack.SetNow(lo)
	if rest, ok := strings.CutPrefix(text, "<<"); ok {
		s.receive(rest)
		return
	} else if rest, ok := strings.CutPrefix(text, "<"); ok {
		s.receive(rest)
	} else {
		s.command(strings.Fields(text))
	}
	s.stack.Flush()
	s.run(lo, false)
}

// receive has a frame wait at the device.
func (s *script) receive(text string) {
	s.dev.in = append(s.dev.in, link.Frame{Data: s.frame(strings.TrimSpace(text))})
}

// burst runs a line that stands for some segments: > burst [name] START:END SIZE and the rest of each of them.
func (s *script) burst(lo, hi int64, text string) bool {
	w := strings.Fields(text)
	if len(w) < 4 || w[1] != "burst" {
		return false
	}
	name := ""
	if w[2][0] == '[' {
		name, w = w[2], w[1:]
	}
	var from, to uint32
	if n, err := fmt.Sscanf(w[2], "%d:%d", &from, &to); n != 2 || err != nil {
		fail("range %q", w[2])
	}
	size := uint32(arg(w[3:]))
	if size == 0 {
		fail("size 0")
	}
	for ; from != to; from += min(size, to-from) {
		n := min(size, to-from)
		seg := fmt.Sprintf("%s . %d:%d(%d) %s", name, from, from+n, n, strings.Join(w[4:], " "))
		if w[0] == ">" {
			s.expect(lo, hi, strings.TrimSpace(seg))
		} else {
			s.line(fmt.Sprintf("+%v %s %s", time.Duration(lo-s.at), w[0], seg))
		}
		lo, hi = s.at, s.at
	}
	return true
}

func duration(text string) int64 {
	d, err := time.ParseDuration(text)
	if err != nil {
		fail("%v", err)
	}
	return int64(d)
}

func (s *script) begin() {
	s.now, s.at = scriptStart, scriptStart
	s.dev = &wireEnd{s: s, mtu: s.mtu, buf: make([]byte, s.mtu+wire.EthernetLen)}
	if s.cfg.IP.Addr = scriptAddr; s.cfg.IP.Prefix == 0 {
		s.cfg.IP.Prefix = 24
	}
	if !s.arp {
		s.cfg.IP.Known = map[wire.Addr]wire.MAC{scriptPeer: scriptPeerMAC, scriptPeer + 1: scriptPeerMAC}
		s.cfg.IP.DisableARP = true
	}
	var err abi.Errno
	if s.stack, err = New(s.dev, &s.cfg, scriptStart); err != 0 {
		fail("stack: %s", errnoName(err))
	}
	s.run(scriptStart, false)
}

// run lets time go on, until something was sent if that is asked.
func (s *script) run(until int64, untilSent bool) {
	for range 100000 {
		s.stack.Poll(s.now)
		s.sortOut()
		if untilSent && len(s.out) > 0 {
			return
		}
		next := s.stack.Next()
		if len(s.dev.in) > 0 {
			next = s.now
		}
		if next > until {
			s.now = max(s.now, until)
			return
		}
		s.now = max(s.now, next)
	}
	fail("the stack does not come to rest")
}

// sortOut notes the frames that the stack has sent, and drops ARP unless it is part of the script.
func (s *script) sortOut() {
	kept := s.out[:0]
	for _, o := range s.out {
		if !s.arp && wire.Ethernet(o.data).Type() == wire.TypeARP {
			continue
		}
		kept = append(kept, o)
	}
	s.out = kept
}

// silent fails if the stack has sent what the script does not expect.
func (s *script) silent() {
	if len(s.out) > 0 {
		fail("not expected: %s > %s", s.when(s.out[0].at), s.describe(s.out[0].data))
	}
}

func (s *script) when(at int64) string {
	return fmt.Sprintf("+%v", time.Duration(at-s.at).Round(time.Microsecond))
}

func (s *script) note(format string, args ...any) {
	s.trace = append(s.trace, fmt.Sprintf("%v ", time.Duration(s.at-scriptStart))+fmt.Sprintf(format, args...))
}

// expect waits for a frame between lo and hi.
func (s *script) expect(lo, hi int64, text string) {
	if len(s.out) == 0 {
		s.run(hi+scriptTolerance, true)
	}
	if len(s.out) == 0 {
		s.run(hi+int64(10*time.Minute), true)
		if len(s.out) == 0 {
			fail("nothing was sent")
		}
	}
	o := s.out[0]
	s.out = s.out[1:]
	diff := s.compare(text, o.data)
	got := s.describe(o.data)
	if diff == "" && (o.at < lo-scriptTolerance || o.at > hi+scriptTolerance) {
		diff = "time"
	}
	if diff != "" {
		fail("%s: not as expected: %s > %s", diff, s.when(o.at), got)
	}
	s.note("%s > %s", s.when(o.at), got)
	s.at = o.at
	s.now = max(s.now, o.at)
}

// configure sets fields of tcp.Config, or with the prefix IP. those of ip.Config, and what belongs to the script.
func (s *script) configure(text string) {
	for w := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "arp":
			s.arp = true
			continue
		case "mtu":
			s.mtu, _ = strconv.Atoi(value)
			continue
		case "isn":
			n, _ := strconv.ParseUint(value, 10, 32)
			s.peerISN = uint32(n)
			continue
		}
		v := reflect.ValueOf(&s.cfg.TCP).Elem()
		if rest, ok := strings.CutPrefix(key, "IP."); ok {
			v, key = reflect.ValueOf(&s.cfg.IP).Elem(), rest
		}
		setField(v, key, value)
	}
}

func setField(v reflect.Value, key, value string) {
	f := v.FieldByName(key)
	if !f.IsValid() {
		fail("no field %q", key)
	}
	switch f.Kind() {
	case reflect.Bool:
		f.SetBool(value != "false")
	case reflect.String:
		f.SetString(value)
	case reflect.Int, reflect.Int64:
		f.SetInt(number(value))
	case reflect.Uint8, reflect.Uint16:
		f.SetUint(uint64(number(value)))
	case reflect.Uint32:
		a, err := parseAddr(value)
		if err != nil {
			fail("%v", err)
		}
		f.SetUint(uint64(a))
	default:
		fail("field %q cannot be set", key)
	}
}

// option sets a field of tcp.Options, or of ip.Class, if the word has the form KEY=VALUE.
func option(o *tcp.Options, word string) bool {
	key, value, ok := strings.Cut(word, "=")
	if !ok || key == "" {
		return false
	}
	v := reflect.ValueOf(o).Elem()
	if key == "TTL" || key == "DSCP" {
		v = v.FieldByName("Class")
	}
	setField(v, key, value)
	return true
}

// number reads an integer or a time.
func number(text string) int64 {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	return duration(text)
}
