package inet

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"syscall"

	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// sock is the application's end of a connection.
type sock struct {
	c      *tcp.Conn
	events []string
	hold   bool // take nothing but what read asks for
	quota  int
	got    int
	wrote  uint32
	closed bool
}

func (k *sock) Connected(_ *tcp.Conn, err abi.Errno) { k.event("connected", err) }
func (k *sock) Writable(*tcp.Conn)                   { k.event("writable", 0) }
func (k *sock) Ended(_ *tcp.Conn, err abi.Errno)     { k.event("ended", err) }

func (k *sock) event(what string, err abi.Errno) {
	if err != 0 {
		what += " " + errnoName(err)
	}
	if k.closed {
		fail("event after the last call: %s", what)
	}
	k.events = append(k.events, what)
}

func (k *sock) Received(_ *tcp.Conn, p []byte) int {
	n := len(p)
	if k.closed {
		fail("data after the last call")
	}
	if k.hold {
		n = min(n, k.quota)
		k.quota -= n
	}
	for i := range n {
		if at := uint32(k.got + 1 + i); p[i] != byteAt(at) {
			fail("byte %d that was received is not the one that was sent", at)
		}
	}
	k.got += n
	return n
}

// finish checks that the script has claimed the events.
func (k *sock) finish() {
	for _, e := range k.events {
		if e != "writable" {
			fail("not expected: event %s", e)
		}
	}
}

type listener struct {
	*tcp.Listener
	port       uint16
	acceptable int
}

func (l *listener) Acceptable(*tcp.Listener) { l.acceptable++ }

var errnoNames = map[string]abi.Errno{
	"ECONNREFUSED": syscall.ECONNREFUSED, "ECONNRESET": syscall.ECONNRESET, "ETIMEDOUT": syscall.ETIMEDOUT,
	"EHOSTUNREACH": syscall.EHOSTUNREACH, "ENETUNREACH": syscall.ENETUNREACH, "EADDRINUSE": syscall.EADDRINUSE,
	"EADDRNOTAVAIL": syscall.EADDRNOTAVAIL, "EINVAL": syscall.EINVAL, "EMSGSIZE": syscall.EMSGSIZE,
	"ENOPROTOOPT": syscall.ENOPROTOOPT, "ECONNABORTED": syscall.ECONNABORTED, "EPIPE": syscall.EPIPE, "EACCES": syscall.EACCES,
}

func errnoName(e abi.Errno) string {
	for n, v := range errnoNames {
		if v == e {
			return n
		}
	}
	return fmt.Sprintf("errno %d", e)
}

func (s *script) flow(name string) *flow {
	f := s.flows[name]
	if f == nil {
		f = &flow{name: name, local: scriptAddr, remote: scriptPeer, localPort: scriptPort, dstPort: scriptPeerPort, peerISN: wire.Seq(s.peerISN)}
		s.flows[name] = f
	}
	return f
}

// words is a command's words with the flow, in brackets, taken off.
func (s *script) named(words []string) (*flow, []string) {
	if len(words) > 0 && words[0][0] == '[' {
		return s.flow(strings.Trim(words[0], "[]")), words[1:]
	}
	return s.flow(""), words
}

// isCheck tells whether a line only looks at the state, so that frames may still wait for their > lines.
func isCheck(text string) bool {
	switch verb, _, _ := strings.Cut(text, " "); verb {
	case "event", "got", "room", "state", "info", "counters", "timers", "isn":
		return true
	}
	return false
}

func (s *script) command(words []string) {
	verb := words[0]
	f, args := s.named(words[1:])
	switch verb {
	case "nothing": // only the time goes on
		return
	case "flow":
		s.newFlow(f, args)
		return
	case "listen":
		s.listen(args)
		return
	case "unlisten":
		l := s.listener(args)
		l.Close()
		return
	case "accept":
		s.accept(f, args)
		return
	case "connect":
		s.connect(f, args)
		return
	case "server", "client":
		s.established(verb, f, strings.Join(args, " "))
		return
	case "counters":
		checkFields(&s.stack.TCP().Counters, args)
		return
	case "timers":
		checkNumber("timers", s.stack.Timers().Len(), args)
		return
	case "holdall": // connections to come take no data by themselves
		s.hold = true
		return
	case "isn": // isn [name] NAME OP N: by how much the first number of this connection is beyond that of another
		if d := f.isn - s.flow(args[0]).isn; !holds(fmt.Sprint(uint32(d)), args[1], args[2]) {
			fail("difference: %d", d)
		}
		return
	case "full":
		s.dev.full = arg(args)
		return
	case "udp":
		s.udp(args)
		return
	}
	if f.sock == nil {
		fail("no connection")
	}
	s.onConn(verb, f.sock, args)
}

func arg(args []string) int {
	if len(args) == 0 {
		fail("a number is missing")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		fail("%v", err)
	}
	return n
}

func checkNumber(what string, got int, args []string) {
	if want := arg(args); got != want {
		fail("%s: %d", what, got)
	}
}

// onConn runs a command on a connection.
func (s *script) onConn(verb string, k *sock, args []string) {
	switch verb {
	case "write":
		k.write(args)
	case "push":
		k.c.Push()
	case "set":
		o := *k.c.Options()
		for _, w := range args {
			if !option(&o, w) {
				fail("word %q", w)
			}
		}
		k.c.SetOptions(&o)
	case "hold":
		k.hold = true
	case "release":
		k.hold = false
		k.c.Pull()
	case "read":
		before := k.got
		k.quota = arg(args)
		k.c.Pull()
		checkNumber("read", k.got-before, args)
		k.quota = 0
	case "got":
		checkNumber("received in all", k.got, args)
	case "shutdown":
		k.c.Shutdown()
	case "close":
		k.finish()
		k.closed = true
		k.c.Close()
	case "abort":
		k.closed = true
		k.c.Abort()
	case "room":
		checkNumber("room", k.c.Room(), args)
	case "state":
		if got := k.c.State().String(); got != args[0] {
			fail("state: %s", got)
		}
	case "info":
		var i tcp.Info
		k.c.Info(&i)
		checkFields(&i, args)
	case "event":
		want := strings.Join(args, " ")
		if len(k.events) == 0 || k.events[0] != want {
			fail("events: %q", k.events)
		}
		k.events = k.events[1:]
	default:
		fail("no verb %q", verb)
	}
}

// write sends N bytes; "= M" tells how many are taken, "kept" leaves out the push.
func (k *sock) write(args []string) {
	n := arg(args)
	want, push := n, true
	for i := 1; i < len(args); i++ {
		switch args[i] {
		case "=":
			i++
			want = arg(args[i:])
		case "kept":
			push = false
		default:
			fail("word %q", args[i])
		}
	}
	p := make([]byte, n)
	for i := range p {
		p[i] = byteAt(k.wrote + 1 + uint32(i))
	}
	got := k.c.Write(p)
	k.wrote += uint32(got)
	if got != want {
		fail("write took %d", got)
	}
	if push {
		k.c.Push()
	}
}

// newFlow describes a connection anew: flow [name] [local PORT] [remote PORT] [isn N] [from ADDR] [keep].
func (s *script) newFlow(f *flow, args []string) {
	name, old := f.name, *f
	delete(s.flows, name)
	f = s.flow(name)
	f.localPort, f.dstPort, f.peerISN, f.remote = old.localPort, old.dstPort, old.peerISN, old.remote
	for len(args) > 1 {
		switch args[0] {
		case "local":
			f.localPort = uint16(arg(args[1:]))
		case "remote":
			f.dstPort = uint16(arg(args[1:]))
		case "isn":
			f.peerISN = wire.Seq(arg(args[1:]))
		case "from":
			a, err := parseAddr(args[1])
			if err != nil {
				fail("%v", err)
			}
			f.remote = a
		default:
			fail("word %q", args[0])
		}
		args = args[2:]
	}
}

func (s *script) listen(args []string) {
	l, port, backlog := &listener{}, scriptPort, 128
	var want abi.Errno
	var at wire.Addr
	o := *s.stack.TCP().Options()
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "at":
			i++
			at, _ = parseAddr(args[i])
		case "backlog":
			i++
			backlog = arg(args[i:])
		case "=":
			i++
			want = errnoNames[args[i]]
		default:
			if !option(&o, args[i]) {
				port = arg(args[i:])
			}
		}
	}
	var err abi.Errno
	l.port = uint16(port)
	if l.Listener, err = s.stack.TCP().Listen(at, l.port, backlog, l); err != want {
		fail("listen: %s", errnoName(err))
	}
	if err == 0 {
		l.SetOptions(&o)
		s.listeners = append(s.listeners, l)
	}
}

func (s *script) listener(args []string) *listener {
	for _, l := range s.listeners {
		if len(args) == 0 || fmt.Sprint(l.port) == args[0] {
			return l
		}
	}
	fail("no listener")
	return nil
}

// accept [name] [PORT] takes a connection; accept none tells that there is none.
func (s *script) accept(f *flow, args []string) {
	if len(args) > 0 && args[0] == "none" {
		if c := s.listener(args[1:]).Accept(); c != nil {
			fail("there is a connection from %v", c.Remote())
		}
		return
	}
	l := s.listener(args)
	if l.acceptable == 0 {
		fail("Acceptable was not called")
	}
	l.acceptable--
	c := l.Accept()
	if c == nil {
		fail("nothing to accept")
	}
	if r := c.Remote(); r.Port != f.dstPort || r.Addr != f.remote {
		fail("the connection is from %v", r)
	}
	f.sock = &sock{c: c, hold: s.hold}
	c.SetHandler(f.sock)
	c.Pull()
}

// connect [name] [PORT] [local PORT] [at ADDR] [to ADDR] [OPTION=VALUE]... [= errno] begins an active open.
func (s *script) connect(f *flow, args []string) {
	var want abi.Errno
	var at wire.Addr
	f.localPort, f.dstPort = 0, scriptPort
	o := *s.stack.TCP().Options()
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "=":
			i++
			want = errnoNames[args[i]]
		case "local":
			i++
			f.localPort = uint16(arg(args[i:]))
		case "at":
			i++
			at, _ = parseAddr(args[i])
		case "to":
			i++
			f.remote, _ = parseAddr(args[i])
		default:
			if !option(&o, args[i]) {
				f.dstPort = uint16(arg(args[i:]))
			}
		}
	}
	f.sock = &sock{hold: s.hold}
	var err abi.Errno
	f.sock.c, err = s.stack.TCP().ConnectWith(&o, at, f.localPort, f.remote, f.dstPort, f.sock)
	if err != want {
		fail("connect: %s", errnoName(err))
	}
	if err != 0 {
		f.sock = nil
		return
	}
	f.localPort = f.sock.c.Local().Port
}

// established opens a connection: server|client [name] [win N] [rtt TIME] [<options of the peer's SYN>].
func (s *script) established(verb string, f *flow, text string) {
	win, rtt, options := "30000", "10ms", "mss 1000"
	text, list, ok := strings.Cut(text, "<")
	if ok {
		options = strings.TrimSuffix(list, ">")
	}
	words := strings.Fields(text)
	for i := 0; i+1 < len(words); i += 2 {
		switch words[i] {
		case "win":
			win = words[i+1]
		case "rtt":
			rtt = words[i+1]
		default:
			fail("word %q", words[i])
		}
	}
	name, ts := "", ""
	if f.name != "" {
		name = "[" + f.name + "] "
	}
	for o := range strings.SplitSeq(options, ",") {
		if o = strings.TrimSpace(o); strings.HasPrefix(o, "ts ") {
			ts = " <" + strings.Replace(o, "ecr 0", "ecr last", 1) + ">"
		}
	}
	if verb == "client" {
		s.line("connect " + name)
		s.line("> " + name + "S 0:0(0)")
		s.line("+" + rtt + " < " + name + "S. 0:0(0) ack 1 win " + win + " <" + strings.Replace(options, "ecr 0", "ecr last", 1) + ">")
		s.line("> " + name + ". 1:1(0) ack 1")
		s.line("event " + name + "connected")
		return
	}
	if len(s.listeners) == 0 {
		s.line("listen")
	}
	s.line("< " + name + "S 0:0(0) win " + win + " <" + options + ">")
	s.line("> " + name + "S. 0:0(0) ack 1")
	s.line("+" + rtt + " < " + name + ". 1:1(0) ack 1 win " + win + ts)
	s.line("accept " + name)
}

// checkFields compares fields of a struct: Name=3, Name>=40ms, Name~100ms (within 5 %).
func checkFields(p any, conditions []string) {
	v := reflect.ValueOf(p).Elem()
	for _, c := range conditions {
		i := strings.IndexAny(c, "=<>!~")
		if i < 0 {
			fail("condition %q", c)
		}
		f := v.FieldByName(c[:i])
		if !f.IsValid() {
			fail("no field %q", c[:i])
		}
		op := strings.TrimRight(c[i:], "0123456789.abcdefghijklmnopqrstuvwxyz-")
		if got := fmt.Sprint(f.Interface()); !holds(got, op, c[i+len(op):]) {
			fail("%s: %s", c, got)
		}
	}
}

func holds(got, op, want string) bool {
	g, err := strconv.ParseFloat(got, 64)
	if err != nil {
		return op == "=" && got == want
	}
	w := float64(number(want))
	switch op {
	case "=":
		return g == w
	case "!=":
		return g != w
	case "<":
		return g < w
	case ">":
		return g > w
	case "<=":
		return g <= w
	case ">=":
		return g >= w
	case "~":
		return math.Abs(g-w) <= 0.05*w
	}
	fail("operator %q", op)
	return false
}
