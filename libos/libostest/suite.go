package libostest

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// Run runs the suite.
func Run(t *testing.T, opt Options) {
	tests := []struct {
		name string
		f    func(*testing.T, *Options)
	}{
		{"StreamEcho", streamEcho}, {"Segments", segments}, {"Order", order}, {"LargeToSlowReader", largeToSlowReader},
		{"StreamFraming", streamFraming}, {"AutoFraming", autoFraming}, {"MessageLimit", messageLimit},
		{"States", states}, {"Refused", refused}, {"Closed", closed}, {"CloseCancels", closeCancels},
		{"DropPendingPop", dropPendingPop}, {"DropUnseenPop", dropUnseenPop}, {"DropUnseenAccept", dropUnseenAccept},
		{"DropHalfSentPush", dropHalfSentPush}, {"Own", own}, {"OwnGivenUp", ownGivenUp}, {"Datagrams", datagrams}, {"DatagramFraming", datagramFraming},
		{"EmptyPush", emptyPush}, {"ManyConnections", manyConnections}, {"NoAllocations", noAllocations}, {"NoGarbage", noGarbage}, {"Reused", reused},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) { c.f(t, &opt) })
	}
}

func streamEcho(t *testing.T, opt *Options) {
	l := Open(t, opt, nil)
	a, b := l.Pair()
	for _, s := range []string{"x", "hello", string(make([]byte, 5000))} {
		l.Pushed(a, Text(t, s))
		assert.Equal(t, s, l.PopText(b))
		l.Pushed(b, Text(t, s))
		assert.Equal(t, s, l.PopText(a))
	}
}

func segments(t *testing.T, opt *Options) {
	l := Open(t, opt, nil)
	a, b := l.Pair()
	for _, n := range []int{1, 100, 3000, 200_000} {
		want := [][]byte{bytes.Repeat([]byte("a"), n), {}, bytes.Repeat([]byte("bc"), n/2+1)}
		push := l.Token(l.Push(a, Array(t, want...)))
		assert.Equal(t, want, l.Popped(l.Token(l.Pop(b, 0))))
		r, err := l.Wait(push)
		assert.Zero(t, err)
		assert.Equal(t, abi.OpPush, r.Opcode)
		assert.EqualValues(t, 3, r.SGA.NumSegs, "the array is echoed")
		assert.EqualValues(t, 0xdeadbeef, r.SGA.Buf, "and so is what the push ignores")
	}
}

// Many pushes and pops under way at once come out in order, whatever their sizes.
func order(t *testing.T, opt *Options) {
	l := Open(t, opt, nil)
	a, b := l.Pair()
	r := rand.New(rand.NewPCG(3, 4))
	var pushes, pops []uint64
	var want [][]byte
	for i := 0; i < 200; i++ {
		m := make([]byte, 1+r.IntN(30_000))
		for j := range m {
			m[j] = byte(r.Uint32())
		}
		want = append(want, m)
		pushes = append(pushes, l.Token(l.Push(a, Array(t, m))))
		if i%2 == 0 {
			pops = append(pops, l.Token(l.Pop(b, 0)))
		}
	}
	for len(pops) < len(want) {
		pops = append(pops, l.Token(l.Pop(b, 0)))
	}
	for i := range want {
		require.True(t, bytes.Equal(want[i], l.Popped(pops[i])[0]), "message %d", i)
		_, err := l.Wait(pushes[i])
		require.Zero(t, err)
	}
}

func largeToSlowReader(t *testing.T, opt *Options) {
	l := Open(t, opt, nil)
	a, b := l.Pair()
	c, d := l.Pair()
	big := bytes.Repeat([]byte("0123456789abcdef"), 8<<20/16)
	push := l.Token(l.Push(a, Array(t, big)))
	behind := l.Token(l.Push(a, Text(t, "behind")))
	for i := 0; i < 20; i++ { // other queues are not held up
		l.Pushed(c, Text(t, "quick"))
		require.Equal(t, "quick", l.PopText(d))
	}
	_, err := l.Result(push)
	assert.Equal(t, unix.EAGAIN, err, "nobody has read it yet")
	require.True(t, bytes.Equal(big, l.Popped(l.Token(l.Pop(b, 0)))[0]))
	assert.Equal(t, "behind", l.PopText(b))
	for _, qt := range []uint64{push, behind} {
		_, err := l.Wait(qt)
		assert.Zero(t, err)
	}
}

func streamFraming(t *testing.T, opt *Options) {
	l := Open(t, opt, func(c *config.Config) { c.Framing = config.FramingStream; c.Limits.MaxPop = 1000 })
	a, b := l.Pair()
	text := bytes.Repeat([]byte("abcdefg"), 30_000)
	push := l.Token(l.Push(a, Array(t, text)))
	var got []byte
	for i := 0; len(got) < len(text); i++ {
		count := []uint64{0, 1, 17, 100_000}[i%4]
		p := l.Popped(l.Token(l.Pop(b, count)))
		require.Len(t, p, 1)
		require.NotEmpty(t, p[0])
		if count == 0 {
			count = 1000
		}
		require.LessOrEqual(t, len(p[0]), int(count))
		got = append(got, p[0]...)
	}
	assert.True(t, bytes.Equal(text, got))
	_, err := l.Wait(push)
	assert.Zero(t, err)
}

// An accepted connection finds out whether its peer sends messages or bare bytes, and answers likewise.
func autoFraming(t *testing.T, opt *Options) {
	l := Open(t, opt, nil)
	lqd, addr := l.Listener()
	for _, framing := range []config.Framing{config.FramingMessage, config.FramingStream} {
		peer := Open(t, opt, func(c *config.Config) { c.Framing = framing })
		accept := l.Token(l.Engine.Accept(lqd))
		a := peer.Socket(engine.KindStream)
		_, err := peer.Wait(peer.Token(peer.Engine.Connect(a, &addr)))
		require.Zero(t, err)
		r, err := l.Wait(accept)
		require.Zero(t, err)
		b := r.Accept().QD
		pop := l.Token(l.Pop(b, 0))
		// The first three bytes of the magic leave it open which it is.
		peer.Pushed(a, Text(t, "\x10\x10\x20"))
		if framing == config.FramingStream {
			for range 50 {
				l.Step()
			}
			peer.Pushed(a, Text(t, "xyz"))
		}
		got := string(l.Popped(pop)[0])
		l.Pushed(b, Text(t, "answer"))
		if framing == config.FramingStream {
			assert.Equal(t, "\x10\x10\x20xyz", got)
		} else {
			assert.Equal(t, "\x10\x10\x20", got)
		}
		assert.Equal(t, "answer", peer.PopText(a))
	}
}

func messageLimit(t *testing.T, opt *Options) {
	l := Open(t, opt, nil)
	small := Open(t, opt, func(c *config.Config) { c.Limits.MaxMessage = 4096 })
	lqd, addr := small.Listener()
	accept := small.Token(small.Engine.Accept(lqd))
	a := l.Socket(engine.KindStream)
	connect := l.Token(l.Engine.Connect(a, &addr))
	r, err := small.Wait(accept)
	require.Zero(t, err)
	b := r.Accept().QD
	_, err = l.Wait(connect)
	require.Zero(t, err)
	l.Pushed(a, Array(t, make([]byte, 4096)))
	assert.Len(t, small.PopText(b), 4096)
	_, err = small.Push(b, Array(t, make([]byte, 4097)))
	assert.Equal(t, unix.EMSGSIZE, err)
	_, err = small.Pop(b, 4097)
	assert.Equal(t, unix.EMSGSIZE, err)
	l.Pushed(a, Array(t, make([]byte, 4097)))
	for i := 0; i < 2; i++ {
		_, err = small.Wait(small.Token(small.Pop(b, 0)))
		assert.Equal(t, unix.EMSGSIZE, err, "the queue is closed for reading")
	}
	small.Pushed(b, Text(t, "still writes"))
	assert.Equal(t, "still writes", l.PopText(a))
}

func emptyPush(t *testing.T, opt *Options) {
	l := Open(t, opt, nil)
	a, _ := l.Pair()
	u, addr := l.Bound(engine.KindDatagram)
	for _, qd := range []int32{a, u} {
		sga := Array(t, nil, nil)
		sga.Addr = addr
		_, err := l.Wait(l.Token(l.Push(qd, sga)))
		assert.Equal(t, unix.ENOMSG, err)
	}
}

func datagrams(t *testing.T, opt *Options) {
	l := Open(t, opt, nil)
	a, addrA := l.Bound(engine.KindDatagram)
	b, addrB := l.Bound(engine.KindDatagram)
	send := Text(t, "ping")
	send.Addr = addrB
	l.Pushed(a, send)
	r, err := l.Wait(l.Token(l.Pop(b, 0)))
	require.Zero(t, err)
	assert.Equal(t, "ping", string(Bytes(&r.SGA)))
	assert.Equal(t, addrA, r.SGA.Addr, "the sender")
	l.Pushed(b, &r.SGA) // back to it
	mem.Free(r.SGA.Buf.Pointer())
	assert.Equal(t, "ping", l.PopText(a))

	c := l.Socket(engine.KindDatagram)
	_, err = l.Pop(c, 0)
	assert.Equal(t, unix.EINVAL, err, "neither bound nor connected")
	_, err = l.Push(c, Text(t, "x"))
	assert.Equal(t, unix.EINVAL, err, "no address")
	_, err = l.Wait(l.Token(l.Engine.Connect(c, &addrB)))
	require.Zero(t, err)
	_, err = l.Engine.Connect(c, &addrB)
	assert.Equal(t, unix.EPERM, err)
	l.Pushed(c, Array(t, []byte("two "), []byte("segments")))
	assert.Equal(t, "two segments", l.PopText(b))
}

func datagramFraming(t *testing.T, opt *Options) {
	bare := Open(t, opt, func(c *config.Config) { c.Framing = config.FramingStream })
	strict := Open(t, opt, func(c *config.Config) { c.Framing = config.FramingMessage })
	a, _ := bare.Bound(engine.KindDatagram)
	b, addr := strict.Bound(engine.KindDatagram)
	send := func(s string) {
		sga := Text(t, s)
		sga.Addr = addr
		bare.Pushed(a, sga)
	}
	for _, s := range []string{"no magic", "\x10\x10\x20\x10", "\x10\x10\x20\x10\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00\x00\x01ab"} {
		send(s)
		_, err := strict.Wait(strict.Token(strict.Pop(b, 0)))
		assert.Equal(t, unix.EILSEQ, err)
	}
	send("\x10\x10\x20\x10\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00\x00\x02ok")
	assert.Equal(t, "ok", strict.PopText(b), "the socket goes on")
}
