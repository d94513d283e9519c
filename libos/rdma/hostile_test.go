package rdma

import (
	"os"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/libos/rdma/verbs"
	"github.com/libdmtr/libdmtr/libos/rdma/verbs/fake"
	"github.com/libdmtr/libdmtr/libos/rdma/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// stranger is a peer that uses its device as it likes.
type stranger struct {
	t      *testing.T
	world  *world
	dev    verbs.Device
	id     verbs.ID
	memory []byte
	mr     verbs.MR
	at     int
	events []verbs.Event
	got    []wire.Message
}

const (
	strangerBuffer = 8192
	patience       = 10 * time.Second // for what has to come
)

// world is where a library and a stranger are.
type world struct {
	libostest.Options
	join   func(t *testing.T) verbs.Device // gives the stranger a device
	fabric *fake.Fabric                    // nil on real devices
	change func(*config.Config)
	lies   bool // one side sends more messages than the other has buffers for
}

func onFabric(t *testing.T) *world {
	f := fake.New(1)
	w := &world{fabric: f, change: func(cfg *config.Config) { cfg.Rdma.LingerMillis = 200 }}
	w.Options, w.join = options(t, f), func(*testing.T) verbs.Device { return f.Join() }
	t.Cleanup(func() {
		if w.lies {
			f.RNR = 0
		}
	})
	return w
}

// onDevice takes real devices: the library has the first, the stranger the one of DMTR_TEST_RDMA_FAR.
func onDevice(t *testing.T) *world {
	return &world{Options: deviceOptions(t), change: func(cfg *config.Config) { cfg.Rdma.LingerMillis = 200 }, join: func(t *testing.T) verbs.Device {
		d, err := verbs.Open(&verbs.Config{Device: os.Getenv("DMTR_TEST_RDMA_FAR")})
		require.NoError(t, err)
		return d
	}}
}

func newStranger(t *testing.T, w *world) *stranger {
	s := &stranger{t: t, world: w, dev: w.join(t), memory: libostest.Memory(t, 64*strangerBuffer)}
	var err abi.Errno
	s.mr, err = s.dev.Register(unsafe.Pointer(unsafe.SliceData(s.memory)), uint64(len(s.memory)), verbs.RemoteWrite)
	require.Zero(t, err)
	t.Cleanup(s.dev.Close)
	return s
}

func (s *stranger) poll() {
	var c [16]verbs.Completion
	var e [16]verbs.Event
	nc, ne := s.dev.Poll(c[:], e[:])
	s.events = append(s.events, e[:ne]...)
	for i := range c[:nc] {
		if c[i].Op == verbs.OpRecv && c[i].Status == verbs.StatusSuccess {
			var m wire.Message
			_, err := m.Parse(s.memory[c[i].WRID*strangerBuffer:][:c[i].Bytes])
			require.NoError(s.t, err)
			s.got = append(s.got, m)
		}
	}
}

// accepted is a stranger whose connection the library has accepted as qd.
func accepted(t *testing.T, w *world, l *libostest.Lib) (s *stranger, qd int32) {
	lqd, addr := l.Listener()
	s = newStranger(t, w)
	accept := l.Token(l.Accept(lqd))
	require.Equal(t, verbs.EventEstablished, s.dial(l, &addr, hello(16, 8192)).Type)
	r, err := l.Wait(accept)
	require.Zero(t, err)
	return s, r.Accept().QD
}

// until polls both sides until an event of a type comes.
func (s *stranger) until(l *libostest.Lib, types ...verbs.EventType) *verbs.Event {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		for i := range s.events {
			for _, typ := range types {
				if s.events[i].Type == typ {
					e := s.events[i]
					s.events = s.events[i+1:]
					return &e
				}
			}
		}
		s.poll()
		l.Step()
	}
	require.FailNow(s.t, "no event")
	return nil
}

func (s *stranger) setUp() {
	require.Zero(s.t, s.dev.CreateQP(s.id, &verbs.QPParams{SendWR: 64, RecvWR: 32, MaxSGE: 1, Inline: 220}))
	for i := range 32 {
		require.Zero(s.t, s.dev.PostRecv(s.id, uint64(i), verbs.SGE{Addr: s.mr.Addr + uint64(i*strangerBuffer), Len: strangerBuffer, LKey: s.mr.LKey}))
	}
}

// dial connects, and returns the outcome.
func (s *stranger) dial(l *libostest.Lib, addr *abi.SockaddrIn, hello []byte) *verbs.Event {
	var err abi.Errno
	s.id, err = s.dev.Dial(addr, nil)
	require.Zero(s.t, err)
	s.until(l, verbs.EventResolved)
	s.setUp()
	require.Zero(s.t, s.dev.Connect(s.id, hello))
	return s.until(l, verbs.EventEstablished, verbs.EventRejected)
}

// send sends a message as it is.
func (s *stranger) send(p []byte) {
	at := (32 + s.at%32) * strangerBuffer
	s.at++
	copy(s.memory[at:], p)
	wr := &verbs.SendWR{ID: s.id, Op: verbs.OpSend, Signaled: true, NumSGE: 1}
	wr.SGEs[0] = verbs.SGE{Addr: s.mr.Addr + uint64(at), Len: uint32(len(p)), LKey: s.mr.LKey}
	require.Zero(s.t, s.dev.PostSend(wr))
}

func (s *stranger) say(m wire.Message, data string) {
	p := make([]byte, wire.GrantLen)
	s.send(append(p[:m.Put(p)], data...))
}

func hello(credits uint16, buffer uint32) []byte {
	p := make([]byte, wire.HelloLen)
	(&wire.Hello{Credits: credits, Buffer: buffer}).Put(p)
	return p
}

func text(s string) string {
	n := byte(len(s))
	return "\x10\x10\x20\x10\x00\x00\x00" + string([]byte{4 + n}) + "\x00\x00\x00\x01\x00\x00\x00" + string([]byte{n}) + s
}

func data(s string) wire.Message { return wire.Message{Type: wire.Data, Length: uint32(len(s))} }

// begin10k is the beginning of a message of 10,000 bytes.
const begin10k = "\x10\x10\x20\x10\x00\x00\x27\x14\x00\x00\x00\x01\x00\x00\x27\x10"

// Whatever a peer does, its queue gets what came before, then an errno; and the other queues go on.
func TestHostilePeers(t *testing.T) { hostilePeers(t, onFabric) }

func TestHostilePeersDevice(t *testing.T) { hostilePeers(t, onDevice) }

func hostilePeers(t *testing.T, where func(*testing.T) *world) {
	for _, c := range []struct {
		name string
		do   func(s *stranger, wait func(wire.Type) wire.Message)
		want abi.Errno
	}{
		{"short", func(s *stranger, _ func(wire.Type) wire.Message) { s.send([]byte{1, 0, 0}) }, unix.EPROTO},
		{"type", func(s *stranger, _ func(wire.Type) wire.Message) { s.say(wire.Message{Type: 99}, "") }, unix.EPROTO},
		{"length", func(s *stranger, _ func(wire.Type) wire.Message) {
			s.say(wire.Message{Type: wire.Data, Length: 1 << 29}, "x")
		}, unix.EPROTO},
		{"credits", func(s *stranger, _ func(wire.Type) wire.Message) {
			s.say(wire.Message{Type: wire.Credit, Credits: 1}, "")
		}, unix.EPROTO},
		{"grant", func(s *stranger, _ func(wire.Type) wire.Message) {
			s.say(wire.Message{Type: wire.Grant, Length: 1, Addr: 1, Key: 1}, "")
		}, unix.EPROTO},
		{"decline", func(s *stranger, _ func(wire.Type) wire.Message) {
			s.say(wire.Message{Type: wire.Decline, Length: 1}, "")
		}, unix.EPROTO},
		{"wrote", func(s *stranger, _ func(wire.Type) wire.Message) {
			s.say(wire.Message{Type: wire.Wrote, Length: 1}, "")
		}, unix.EPROTO},
		{"refusal", func(s *stranger, _ func(wire.Type) wire.Message) { s.say(wire.Message{Type: wire.Wrote}, "") }, unix.EPROTO},
		{"after the end", func(s *stranger, _ func(wire.Type) wire.Message) {
			s.say(wire.Message{Type: wire.Fin}, "")
			s.say(data("x"), "x")
		}, unix.ECONNABORTED},
		{"magic", func(s *stranger, _ func(wire.Type) wire.Message) { s.say(data("GET "), "GET ") }, unix.EILSEQ},
		{"too large", func(s *stranger, _ func(wire.Type) wire.Message) {
			s.say(data(begin10k), "\x10\x10\x20\x10\x7f\xff\xff\xff\x00\x00\x00\x01")
			s.say(data("12"), "12")
		}, unix.EPROTO},
		{"too much", func(s *stranger, _ func(wire.Type) wire.Message) {
			s.say(data(begin10k[:12]), "\x10\x10\x20\x10\x7f\xff\xff\xff\x00\x00\x00\x01")
		}, unix.EMSGSIZE},
		{"data instead of a write", func(s *stranger, wait func(wire.Type) wire.Message) {
			s.say(wire.Message{Type: wire.Request, Length: 10000}, begin10k)
			wait(wire.Grant)
			s.say(data("x"), "x")
		}, unix.EPROTO},
		{"less written", func(s *stranger, wait func(wire.Type) wire.Message) {
			s.say(wire.Message{Type: wire.Request, Length: 10000}, begin10k)
			wait(wire.Grant)
			s.say(wire.Message{Type: wire.Wrote, Length: 9999}, "")
		}, unix.EPROTO},
		{"more requested than the message has", func(s *stranger, wait func(wire.Type) wire.Message) {
			s.say(wire.Message{Type: wire.Request, Length: wire.MaxRequest}, begin10k)
			assert.EqualValues(s.t, wire.MaxRequest, wait(wire.Decline).Length)
			s.say(wire.Message{Type: wire.Credit, Credits: 9}, "")
		}, unix.EPROTO},
		{"wrong key", func(s *stranger, wait func(wire.Type) wire.Message) {
			s.say(wire.Message{Type: wire.Request, Length: 10000}, begin10k)
			s.write(wait(wire.Grant), 1, 0)
		}, unix.ECONNRESET},
		{"longer than a buffer", func(s *stranger, _ func(wire.Type) wire.Message) {
			p := make([]byte, 2*strangerBuffer)
			(&wire.Message{Type: wire.Data, Length: uint32(len(p) - wire.HeaderLen)}).Put(p)
			s.send(p)
		}, unix.EPROTO},
		{"more than there are buffers", func(s *stranger, _ func(wire.Type) wire.Message) {
			s.world.lies = true
			for range 60 {
				s.send([]byte("garbage"))
			}
		}, unix.EPROTO},
		{"beyond the end", func(s *stranger, wait func(wire.Type) wire.Message) {
			s.say(wire.Message{Type: wire.Request, Length: 10000}, begin10k)
			s.write(wait(wire.Grant), 0, 1)
		}, unix.ECONNRESET},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := where(t)
			l := libostest.Open(t, &w.Options, nil)
			a, b := l.Pair()
			s, qd := accepted(t, w, l)
			s.say(data(text("good")), text("good"))
			s.poll()
			assert.Equal(t, "good", l.PopText(qd))
			pops := []uint64{l.Token(l.Pop(qd, 0)), l.Token(l.Pop(qd, 0))}
			c.do(s, func(want wire.Type) wire.Message {
				for end := time.Now().Add(patience); time.Now().Before(end); {
					s.poll()
					l.Step()
					if n := len(s.got); n > 0 && s.got[n-1].Type == want {
						return s.got[n-1]
					}
				}
				require.FailNow(t, "not said")
				return wire.Message{}
			})
			for range 100 {
				s.poll()
				l.Step()
			}
			for _, qt := range append(pops, l.Token(l.Pop(qd, 0))) {
				_, err := l.Wait(qt)
				assert.Equal(t, c.want, err)
			}
			l.Pushed(a, libostest.Text(t, "the others go on"))
			assert.Equal(t, "the others go on", l.PopText(b))
			require.Zero(t, l.CloseQueue(qd))
		})
	}
}

// write writes to a grant, with a key that is wrong by so much, and so many bytes too many.
func (s *stranger) write(g wire.Message, key, beyond uint32) {
	wr := &verbs.SendWR{ID: s.id, Op: verbs.OpWrite, Signaled: true, NumSGE: 1, RemoteAddr: g.Addr, RKey: g.Key + key}
	wr.SGEs[0] = verbs.SGE{Addr: s.mr.Addr, Len: g.Length + beyond, LKey: s.mr.LKey}
	require.Zero(s.t, s.dev.PostSend(wr))
}

// A peer that is no library of this kind, or of another version, is refused, and told why.
func TestStrangersHello(t *testing.T) { strangersHello(t, onFabric(t)) }

func TestStrangersHelloDevice(t *testing.T) { strangersHello(t, onDevice(t)) }

func strangersHello(t *testing.T, w *world) {
	l := libostest.Open(t, &w.Options, nil)
	_, addr := l.Listener()
	version := hello(16, 8192)
	version[4]++
	for _, p := range [][]byte{nil, []byte("GET / HTTP/1.0"), version, hello(1, 8192), hello(16, 1)} {
		s := newStranger(t, w)
		e := s.dial(l, &addr, p)
		require.Equal(t, verbs.EventRejected, e.Type)
		reason, err := wire.ParseReason(e.Private[:e.PrivateLen])
		require.NoError(t, err)
		assert.Equal(t, wire.Mismatch, reason)
		s.dev.Close()
	}
	for answer, want := range map[string]abi.Errno{"": unix.EPROTO, "other": unix.EPROTO, string(version): unix.EPROTO, "reject": unix.ECONNREFUSED} {
		s := newStranger(t, w)
		place, err := s.dev.Listen(&abi.SockaddrIn{Family: unix.AF_INET, Addr: s.dev.Attr().Addr}, 1)
		require.Zero(t, err)
		name, _ := s.dev.Name(place)
		qd := l.Socket(engine.KindStream)
		connect := l.Token(l.Connect(qd, &name))
		s.id = s.until(l, verbs.EventConnectRequest).ID
		if answer == "reject" {
			require.Zero(t, s.dev.Reject(s.id, []byte("no")))
		} else {
			s.setUp()
			require.Zero(t, s.dev.Accept(s.id, []byte(answer)))
		}
		_, err = l.Wait(connect)
		assert.Equal(t, want, err, "%q", answer)
		require.Zero(t, l.CloseQueue(qd))
	}
}

// A peer gets nothing by what it says after the library has closed the connection, and when it does not close it itself.
func TestGarbageAfterClose(t *testing.T) { garbageAfterClose(t, onFabric(t)) }

func TestGarbageAfterCloseDevice(t *testing.T) { garbageAfterClose(t, onDevice(t)) }

func garbageAfterClose(t *testing.T, w *world) {
	o, l := opened(t, w)
	a, b := l.Pair()
	for _, unread := range []bool{false, true} {
		s, qd := accepted(t, w, l)
		if unread {
			s.say(data(text("unread")), text("unread"))
			s.poll()
			l.Drive(100)
		}
		require.Zero(t, l.CloseQueue(qd))
		for range 30 {
			s.send([]byte("garbage"))
			s.say(data("GET "), "GET ")
			s.poll()
			l.Step()
		}
		s.gone(l, o)
		l.Pushed(a, libostest.Text(t, "the others go on"))
		assert.Equal(t, "the others go on", l.PopText(b))
	}
}

// Who promises more buffers than it has, costs its own connection only, and no longer than rdma.linger_ms after the close.
func TestFewerBuffersThanPromised(t *testing.T) { fewerBuffers(t, onFabric(t)) }

func TestFewerBuffersThanPromisedDevice(t *testing.T) { fewerBuffers(t, onDevice(t)) }

func fewerBuffers(t *testing.T, w *world) {
	w.lies = true
	o, l := opened(t, w)
	a, b := l.Pair()
	lqd, addr := l.Listener()
	s := newStranger(t, w)
	accept := l.Token(l.Accept(lqd))
	require.Equal(t, verbs.EventEstablished, s.dial(l, &addr, hello(wire.MaxCredits, wire.MaxBuffer)).Type)
	r, err := l.Wait(accept)
	require.Zero(t, err)
	require.Zero(t, l.CloseQueue(lqd))
	for range 100 {
		l.Token(l.Push(r.Accept().QD, libostest.Array(t, make([]byte, 8000))))
	}
	for range 20 {
		l.Drive(10)
		l.Pushed(a, libostest.Text(t, "the others go on"))
		assert.Equal(t, "the others go on", l.PopText(b))
	}
	require.Zero(t, l.CloseQueue(r.Accept().QD))
	s.gone(l, o)
}

// opened is a library, and its libOS.
func opened(t *testing.T, w *world) (o *LibOS, l *libostest.Lib) {
	opt := w.Options
	opt.New = func(e *engine.Engine, cfg *config.Config) (engine.LibOS, error) {
		os, err := w.Options.New(e, cfg)
		o, _ = os.(*LibOS)
		return os, err
	}
	l = libostest.Open(t, &opt, w.change)
	return o, l
}

// gone waits until the library has nothing left of closed connections.
func (s *stranger) gone(l *libostest.Lib, o *LibOS) {
	for end := time.Now().Add(patience); len(o.leaving) > 0; {
		require.True(s.t, time.Now().Before(end), "the connection is still there")
		s.poll()
		l.Step()
	}
}

// A peer that does not read costs no more than the receive buffers.
func TestBoundedMemory(t *testing.T) {
	os, l := opened(t, onFabric(t))
	a, b := l.Pair()
	var pushes []uint64
	for range 1000 {
		pushes = append(pushes, l.Token(l.Push(a, libostest.Array(t, make([]byte, 5000)))))
	}
	l.Drive(10_000)
	done := 0
	for _, qt := range pushes {
		if _, err := l.Result(qt); err == 0 {
			done++
		}
	}
	assert.Equal(t, 16, done, "one for each buffer")
	assert.Less(t, os.bufs.used(), 100)
	for range pushes {
		assert.Len(t, l.PopText(b), 5000)
	}
}

// Who sends more than it has credits for is heard as far as those go.
func TestMoreThanCredits(t *testing.T) { moreThanCredits(t, onFabric(t)) }

func TestMoreThanCreditsDevice(t *testing.T) { moreThanCredits(t, onDevice(t)) }

func moreThanCredits(t *testing.T, w *world) {
	l := libostest.Open(t, &w.Options, nil)
	s, qd := accepted(t, w, l)
	for range 17 {
		s.say(data(text("x")), text("x"))
	}
	for range 100 {
		s.poll()
		l.Step()
	}
	for range 16 {
		assert.Equal(t, "x", l.PopText(qd))
	}
	_, err := l.Wait(l.Token(l.Pop(qd, 0)))
	assert.Equal(t, unix.EPROTO, err)
}
