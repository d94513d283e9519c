package tcp

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

var (
	addrA = wire.AddrFrom([4]byte{10, 0, 0, 1})
	addrB = wire.AddrFrom([4]byte{10, 0, 0, 2})
)

var (
	macA = wire.MAC{2, 0, 0, 0, 0, 1} // those of a pipe
	macB = wire.MAC{2, 0, 0, 0, 0, 2}
)

const testPort = 7

// end is a host with TCP at one end of a pipe.
type end struct {
	*Host
	ip     *ip.Host
	timers *timer.Wheel
	dev    link.Device
	clock  link.Clocked // dev, if it is one
}

// lab is two hosts, and a clock.
type lab struct {
	t    testing.TB
	a, b *end
	now  int64
}

func newEnd(t testing.TB, dev link.Device, addr wire.Addr, cfg Config) *end {
	w := timer.NewWheel(1)
	h, err := ip.New(dev, w, &ip.Config{Addr: addr, Prefix: 24, Known: map[wire.Addr]wire.MAC{addrA: macA, addrB: macB}}, 1)
	require.Zero(t, err)
	cfg.Secret = [16]byte{byte(addr), 2, 3}
	clock, _ := dev.(link.Clocked)
	return &end{New(h, w, &cfg), h, w, dev, clock}
}

func newLab(t testing.TB, ca, cb Config) *lab {
	a, b := link.NewPipe(link.Config{Queue: 4096}, link.Config{Queue: 4096})
	return newLabOn(t, a, b, ca, cb)
}

func newLabOn(t testing.TB, a, b link.Device, ca, cb Config) *lab {
	r := &lab{t: t, a: newEnd(t, a, addrA, ca), b: newEnd(t, b, addrB, cb), now: 1}
	r.run(10 * second) // ARP announces
	t.Cleanup(func() {
		r.a.Close()
		r.b.Close()
		require.Zero(t, r.a.blocks.count)
		require.Zero(t, r.b.blocks.count)
	})
	return r
}

func (e *end) poll(now int64) bool {
	if e.clock != nil {
		e.clock.SetNow(now)
	}
	e.Settle()
	busy := e.ip.Poll(now)
	e.Flush()
	e.timers.Advance(now)
	e.dev.Flush()
	return busy
}

// next is when poll has to be called.
func (e *end) next() int64 {
	if e.clock != nil {
		return min(e.timers.Next(), e.clock.Next())
	}
	return e.timers.Next()
}

// settle polls both ends until nothing more is on its way.
func (r *lab) settle() {
	r.a.ip.SetNow(r.now)
	r.b.ip.SetNow(r.now)
	r.a.dev.Flush()
	r.b.dev.Flush()
	for quiet := 0; quiet < 2; {
		before := r.a.dev.Counters().RxFrames + r.b.dev.Counters().RxFrames
		busy := r.a.poll(r.now)
		busy = r.b.poll(r.now) || busy
		if quiet++; busy || r.a.dev.Counters().RxFrames+r.b.dev.Counters().RxFrames != before {
			quiet = 0
		}
	}
}

// newLossyLab is a lab with impairments in both directions.
func newLossyLab(t testing.TB, seed uint64, im link.Impairment, ca, cb Config) *lab {
	a, b := link.NewPipe(link.Config{Queue: 4096}, link.Config{Queue: 4096})
	f := link.NewFault(a, link.FaultConfig{Seed: seed, Send: im, Receive: im, Frames: 4096})
	return newLabOn(t, f, b, ca, cb)
}

// run lets d pass, from timer to timer.
func (r *lab) run(d int64) {
	end := r.now + d
	for {
		r.settle()
		next := min(r.a.next(), r.b.next())
		if next > end {
			break
		}
		r.now = max(next, r.now+1)
	}
	r.now = end
	r.settle()
}

// until runs until cond, for at most d.
func (r *lab) until(d int64, cond func() bool) {
	r.t.Helper()
	end := r.now + d
	for r.settle(); !cond(); r.settle() {
		next := min(r.a.next(), r.b.next())
		require.LessOrEqual(r.t, next, end, "did not come about")
		r.now = max(next, r.now+1)
	}
}

// peer is a Handler and an Acceptor that remembers.
type peer struct {
	c         *Conn
	l         *Listener
	accepted  []*Conn
	got       []byte
	limit     int // what Received takes; -1: all
	connected []abi.Errno
	ended     []abi.Errno
	writable  int
	send      []byte // what is left to be written
	onRecv    func(c *Conn, p []byte)
	onEnd     func(c *Conn)
	held      bool // Acceptable does not accept
}

func newPeer() *peer { return &peer{limit: -1} }

func (p *peer) Connected(c *Conn, err abi.Errno) {
	p.connected = append(p.connected, err)
	if err == 0 {
		p.pump()
	}
}

func (p *peer) Received(c *Conn, b []byte) int {
	if p.limit >= 0 && len(b) > p.limit {
		b = b[:p.limit]
	}
	p.got = append(p.got, b...)
	if p.limit >= 0 {
		p.limit -= len(b)
	}
	if p.onRecv != nil {
		p.onRecv(c, b)
	}
	return len(b)
}

func (p *peer) Writable(c *Conn) {
	p.writable++
	p.pump()
}

func (p *peer) Ended(c *Conn, err abi.Errno) {
	p.ended = append(p.ended, err)
	if p.onEnd != nil {
		p.onEnd(c)
	}
}

func (p *peer) pump() {
	n := p.c.Write(p.send)
	p.send = p.send[n:]
	p.c.Push()
}

func (p *peer) write(b []byte) {
	p.send = append(p.send, b...)
	p.pump()
}

func (p *peer) Acceptable(l *Listener) {
	if !p.held {
		p.accept()
	}
}

func (p *peer) accept() bool {
	c := p.l.Accept()
	if c == nil {
		return false
	}
	p.c = c
	p.accepted = append(p.accepted, c)
	c.SetHandler(p)
	c.Pull()
	return true
}

// listen lets b listen.
func (r *lab) listen(backlog int) *peer {
	p := newPeer()
	var err abi.Errno
	p.l, err = r.b.Listen(0, testPort, backlog, p)
	require.Zero(r.t, err)
	return p
}

func (r *lab) connect() *peer {
	p := newPeer()
	var err abi.Errno
	p.c, err = r.a.Connect(0, 0, addrB, testPort, p)
	require.Zero(r.t, err)
	return p
}

// pair makes a connection.
func (r *lab) pair() (a, b *peer) {
	b = r.listen(16)
	a = r.connect()
	r.until(5*second, func() bool { return len(a.connected) == 1 && len(b.accepted) == 1 })
	require.Equal(r.t, []abi.Errno{0}, a.connected)
	require.Equal(r.t, Established, b.c.State())
	return a, b
}

func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}
