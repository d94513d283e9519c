package libostest

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// states checks what a socket refuses to do in each of its states.
func states(t *testing.T, opt *Options) {
	l := Open(t, opt, nil)
	try := func(qd int32, push, pop, accept, connect abi.Errno) {
		t.Helper()
		addr := l.Addr(9)
		_, err := l.Push(qd, Text(t, "x"))
		assert.Equal(t, push, err, "push")
		_, err = l.Pop(qd, 0)
		assert.Equal(t, pop, err, "pop")
		_, err = l.Engine.Accept(qd)
		assert.Equal(t, accept, err, "accept")
		if connect != 0 {
			_, err = l.Engine.Connect(qd, &addr)
			assert.Equal(t, connect, err, "connect")
		}
	}
	fresh := l.Socket(engine.KindStream)
	try(fresh, unix.EINVAL, unix.EINVAL, unix.EINVAL, 0)
	bound, addr := l.Bound(engine.KindStream)
	try(bound, unix.EINVAL, unix.EINVAL, unix.EINVAL, 0)
	listener, _ := l.Listener()
	try(listener, unix.ENOTSUP, unix.ENOTSUP, 0, unix.EINVAL)
	a, b := l.Pair()
	s, _ := l.Engine.Socket(a)
	assert.Equal(t, unix.EINVAL, s.Listen(1))
	assert.Equal(t, unix.EINVAL, s.Bind(&addr))
	for _, qd := range []int32{a, b} {
		_, err := l.Engine.Accept(qd)
		assert.Equal(t, unix.EINVAL, err)
		_, err = l.Engine.Connect(qd, &addr)
		assert.Equal(t, unix.EPERM, err)
	}
	s, _ = l.Engine.Socket(fresh)
	assert.Equal(t, unix.EINVAL, s.Listen(1), "not bound")
	s, _ = l.Engine.Socket(bound)
	assert.Equal(t, unix.EINVAL, s.Bind(&addr), "bound already")
	u := l.Socket(engine.KindDatagram)
	s, _ = l.Engine.Socket(u)
	assert.Equal(t, unix.ENOTSUP, s.Listen(1))
	_, err := l.Engine.Accept(u)
	assert.Equal(t, unix.ENOTSUP, err)
	other, addr2 := l.Bound(engine.KindStream)
	s, _ = l.Engine.Socket(other)
	require.Zero(t, s.Listen(1))
	third := l.Socket(engine.KindStream)
	s, _ = l.Engine.Socket(third)
	assert.Equal(t, unix.EADDRINUSE, s.Bind(&addr2))
}

func refused(t *testing.T, opt *Options) {
	l := Open(t, opt, nil)
	lqd, addr := l.Listener()
	require.Zero(t, l.CloseQueue(lqd))
	a := l.Socket(engine.KindStream)
	for i := 0; i < 2; i++ { // it may be tried again
		_, err := l.Wait(l.Token(l.Engine.Connect(a, &addr)))
		assert.Equal(t, unix.ECONNREFUSED, err)
	}
	_, err := l.Pop(a, 0)
	assert.Equal(t, unix.EINVAL, err)
}

// closed checks what the other end sees of a close.
func closed(t *testing.T, opt *Options) {
	l := Open(t, opt, nil)
	a, b := l.Pair()
	l.Pushed(a, Text(t, "last words"))
	require.Zero(t, l.CloseQueue(a))
	assert.Equal(t, "last words", l.PopText(b))
	pops := []uint64{l.Token(l.Pop(b, 0)), l.Token(l.Pop(b, 0))}
	for _, qt := range append(pops, l.Token(l.Pop(b, 0))) {
		r, err := l.Wait(qt)
		assert.Equal(t, unix.ECONNABORTED, err)
		assert.Equal(t, abi.OpPop, r.Opcode)
		assert.Equal(t, b, r.QD)
		assert.Equal(t, qt, r.QT)
	}
	// Now the peer does not exist any more, which pushes find out sooner or later.
	for i := 0; ; i++ {
		_, err := l.Wait(l.Token(l.Push(b, Text(t, "anybody?"))))
		if err != 0 {
			assert.Contains(t, []abi.Errno{unix.EPIPE, unix.ECONNRESET}, err)
			break
		}
		require.Less(t, i, 1000)
		l.Step() // a wait in C polls now and then even if all its tokens are complete
	}
	_, err := l.Push(a, Text(t, "x"))
	assert.Equal(t, unix.ENOENT, err)
}

func closeCancels(t *testing.T, opt *Options) {
	l := Open(t, opt, nil)
	a, b := l.Pair()
	lqd, _ := l.Listener()
	u, _ := l.Bound(engine.KindDatagram)
	big := Array(t, make([]byte, 32<<20))
	tokens := []uint64{
		l.Token(l.Push(a, big)), l.Token(l.Push(a, big)), l.Token(l.Pop(a, 0)),
		l.Token(l.Engine.Accept(lqd)), l.Token(l.Engine.Accept(lqd)), l.Token(l.Pop(u, 0)),
	}
	l.Drive(10)
	for _, qd := range []int32{a, lqd, u} {
		require.Zero(t, l.CloseQueue(qd))
		assert.Equal(t, unix.ENOENT, l.CloseQueue(qd))
	}
	for _, qt := range tokens {
		r, err := l.Wait(qt)
		assert.Equal(t, unix.ECANCELED, err)
		assert.Equal(t, qt, r.QT)
		_, err = l.Result(qt)
		assert.Equal(t, unix.ENOENT, err)
	}
	_, err := l.Wait(l.Token(l.Pop(b, 0))) // a message cut off
	assert.Contains(t, []abi.Errno{unix.ECONNABORTED, unix.ECONNRESET}, err)
}

func dropPendingPop(t *testing.T, opt *Options) {
	l := Open(t, opt, nil)
	a, b := l.Pair()
	first, second := l.Token(l.Pop(b, 0)), l.Token(l.Pop(b, 0))
	l.Drive(10)
	assert.Zero(t, l.Drop(first))
	assert.Equal(t, unix.ENOENT, l.Drop(first))
	l.Pushed(a, Text(t, "one"))
	l.Pushed(a, Text(t, "two"))
	assert.Equal(t, "one", string(l.Popped(second)[0]))
	assert.Equal(t, "two", l.PopText(b))
}

// A result that nobody has seen goes back, and order is kept.
func dropUnseenPop(t *testing.T, opt *Options) {
	l := Open(t, opt, nil)
	a, b := l.Pair()
	pops := []uint64{l.Token(l.Pop(b, 0)), l.Token(l.Pop(b, 0)), l.Token(l.Pop(b, 0))}
	l.Pushed(a, Text(t, "one"))
	l.Pushed(a, Text(t, "two"))
	for i := 0; l.Engine.Token(pops[1]).State != abi.TokenDone; i++ {
		l.Drive(1)
		require.Less(t, i, 1_000_000)
	}
	assert.Zero(t, l.Drop(pops[2])) // pending
	assert.Zero(t, l.Drop(pops[1])) // two, unseen
	assert.Zero(t, l.Drop(pops[0])) // one, unseen
	l.Pushed(a, Text(t, "three"))
	for _, want := range []string{"one", "two", "three"} {
		assert.Equal(t, want, l.PopText(b))
	}
}

func dropUnseenAccept(t *testing.T, opt *Options) {
	l := Open(t, opt, nil)
	lqd, addr := l.Listener()
	accept := l.Token(l.Engine.Accept(lqd))
	a := l.Socket(engine.KindStream)
	_, err := l.Wait(l.Token(l.Engine.Connect(a, &addr)))
	require.Zero(t, err)
	for i := 0; l.Engine.Token(accept).State != abi.TokenDone; i++ {
		l.Drive(1)
		require.Less(t, i, 1_000_000)
	}
	assert.Zero(t, l.Drop(accept))
	r, err := l.Wait(l.Token(l.Engine.Accept(lqd)))
	require.Zero(t, err)
	l.Pushed(r.Accept().QD, Text(t, "hello"))
	assert.Equal(t, "hello", l.PopText(a))
}

// A push dropped half sent is sent to its end, from memory that is not the program's.
func dropHalfSentPush(t *testing.T, opt *Options) {
	l, a, b, big, sga := bigPair(t, opt)
	half, whole := l.Token(l.Push(a, sga)), l.Token(l.Push(a, sga))
	l.Drive(100)
	require.Zero(t, l.Drop(half))
	require.Zero(t, l.Drop(whole))
	scribble(sga)
	after := l.Token(l.Push(a, Text(t, "after")))
	got := l.Popped(l.Token(l.Pop(b, 0)))
	assert.True(t, bytes.Equal(big, bytes.Join(got, nil)))
	assert.Equal(t, "after", l.PopText(b), "the one not begun was not sent")
	_, err := l.Wait(after)
	assert.Zero(t, err)
}

// bigPair makes a connection and an array that is pushed to its end only when the other end pops.
func bigPair(t *testing.T, opt *Options) (l *Lib, a, b int32, big []byte, sga *abi.SGArray) {
	l = Open(t, opt, nil)
	a, b = l.Pair()
	big = bytes.Repeat([]byte("0123456789abcdef"), 16<<20/16)
	return l, a, b, big, Array(t, big[:9<<20], nil, big[9<<20:])
}

func scribble(sga *abi.SGArray) {
	for i := uint32(0); i < sga.NumSegs; i++ {
		clear(sga.Bytes(i))
	}
}

// Pushes whose memory the program has taken back, one half sent and one not begun, arrive as they were.
func own(t *testing.T, opt *Options) {
	l, a, b, big, sga := bigPair(t, opt)
	small := Text(t, "small")
	half, waits := l.Token(l.Push(a, sga)), l.Token(l.Push(a, small))
	l.Drive(100)
	for range 2 {
		require.Zero(t, l.Own(half))
		require.Zero(t, l.Own(waits))
	}
	scribble(sga)
	scribble(small)
	_, err := l.Result(half)
	assert.Equal(t, unix.EAGAIN, err, "the token stays")
	behind := l.Token(l.Push(a, Text(t, "behind")))
	assert.True(t, bytes.Equal(big, bytes.Join(l.Popped(l.Token(l.Pop(b, 0))), nil)))
	assert.Equal(t, "small", l.PopText(b))
	assert.Equal(t, "behind", l.PopText(b))
	for qt, want := range map[uint64]*abi.SGArray{half: sga, waits: small} {
		require.Zero(t, l.Own(qt))
		r, err := l.Wait(qt)
		assert.Zero(t, err)
		assert.Equal(t, *want, r.SGA, "the array is echoed")
		assert.Equal(t, unix.ENOENT, l.Own(qt))
	}
	_, err = l.Wait(behind)
	assert.Zero(t, err)
	pop := l.Token(l.Pop(b, 0))
	assert.Equal(t, unix.EINVAL, l.Own(pop))
	assert.Equal(t, unix.ENOENT, l.Own(pop+1))
}

// To own a push changes nothing about what becomes of it when it is dropped or its queue closed.
func ownGivenUp(t *testing.T, opt *Options) {
	l, a, b, big, sga := bigPair(t, opt)
	half, whole, after := l.Token(l.Push(a, sga)), l.Token(l.Push(a, sga)), l.Token(l.Push(a, Text(t, "after")))
	l.Drive(100)
	for _, qt := range []uint64{half, whole} {
		require.Zero(t, l.Own(qt))
	}
	scribble(sga)
	require.Zero(t, l.Drop(half))
	require.Zero(t, l.Drop(whole))
	assert.Equal(t, unix.ENOENT, l.Own(half))
	assert.True(t, bytes.Equal(big, bytes.Join(l.Popped(l.Token(l.Pop(b, 0))), nil)))
	assert.Equal(t, "after", l.PopText(b), "the one not begun was not sent")
	_, failed := l.Wait(after)
	assert.Zero(t, failed)

	memory, err := l.Queue()
	require.Zero(t, err)
	for other := Text(t, "other"); ; { // until the record of the one not sent serves again
		qt := l.Token(l.Push(memory, other))
		r, err := l.Wait(qt)
		require.Zero(t, err)
		require.Equal(t, *other, r.SGA, "nothing is left of it")
		_, err = l.Wait(l.Token(l.Pop(memory, 0)))
		require.Zero(t, err)
		if uint32(qt)%abi.MaxTokens == uint32(whole)%abi.MaxTokens {
			break
		}
	}

	half, whole = l.Token(l.Push(a, sga)), l.Token(l.Push(a, sga))
	require.Zero(t, l.Own(half))
	require.Zero(t, l.Own(whole))
	require.Zero(t, l.CloseQueue(a))
	for _, qt := range []uint64{half, whole} {
		r, err := l.Wait(qt)
		assert.Equal(t, unix.ECANCELED, err)
		assert.Equal(t, *sga, r.SGA)
	}
}

func manyConnections(t *testing.T, opt *Options) {
	l := Open(t, opt, nil)
	lqd, addr := l.Listener()
	const n = 200
	var clients, servers []int32
	for i := 0; i < n; i++ {
		accept := l.Token(l.Engine.Accept(lqd))
		c := l.Socket(engine.KindStream)
		_, err := l.Wait(l.Token(l.Engine.Connect(c, &addr)))
		require.Zero(t, err)
		r, err := l.Wait(accept)
		require.Zero(t, err)
		clients, servers = append(clients, c), append(servers, r.Accept().QD)
	}
	pops := make([]uint64, n)
	for round := 0; round < 3; round++ {
		for i, s := range servers {
			pops[i] = l.Token(l.Pop(s, 0))
		}
		for i := n - 1; i >= 0; i-- {
			l.Pushed(clients[i], Text(t, fmt.Sprint(round, i)))
		}
		for i, qt := range pops {
			require.Equal(t, fmt.Sprint(round, i), string(l.Popped(qt)[0]))
		}
	}
}

// finish is Wait without anything that allocates.
func (l *Lib) finish(qt uint64, err abi.Errno) abi.QResult {
	for err == 0 {
		var r abi.QResult
		if r, err = l.Result(qt); err == 0 {
			return r
		} else if err == unix.EAGAIN {
			err = 0
			l.Drive(1)
		}
	}
	panic(err)
}

// noAllocations checks rule one of the data path.
func noAllocations(t *testing.T, opt *Options) {
	l, full, _, _, big := bigPair(t, opt)
	a, b := l.Pair()
	l.Token(l.Push(full, big))
	c, addr := l.Bound(engine.KindDatagram)
	d, err := l.Queue()
	require.Zero(t, err)
	finish := l.finish
	free := func(r abi.QResult) { mem.Free(r.SGA.Buf.Pointer()) }
	small, large, dgram := Text(t, "0123456789"), Array(t, make([]byte, 3000), make([]byte, 20000)), Text(t, "datagram")
	dgram.Addr = addr
	for name, f := range map[string]func(){
		"memory queue":  func() { finish(l.Push(d, small)); finish(l.Pop(d, 0)) },
		"stream":        func() { finish(l.Push(a, small)); free(finish(l.Pop(b, 0))) },
		"large message": func() { finish(l.Push(a, large)); free(finish(l.Pop(b, 0))) },
		"datagram":      func() { finish(l.Push(c, dgram)); free(finish(l.Pop(c, 0))) },
		"drop": func() {
			qt, _ := l.Pop(b, 0)
			l.Drive(1)
			_ = l.Drop(qt)
		},
		"own": func() {
			qt, _ := l.Push(full, large)
			if err := l.Own(qt); err != 0 {
				panic(err)
			}
			_ = l.Drop(qt)
		},
	} {
		for i := 0; i < 10; i++ {
			f()
		}
		assert.Zero(t, testing.AllocsPerRun(1000, f), name)
	}
}

// noGarbage checks that queues are used again: a process without garbage collection may open and close any number.
func noGarbage(t *testing.T, opt *Options) {
	if opt.Garbage {
		t.Skip("it makes garbage")
	}
	l := Open(t, opt, nil)
	lqd, addr := l.Listener()
	from, to := l.Bound(engine.KindDatagram)
	msg := Text(t, "a message")
	finish := l.finish
	socket := func(k engine.Kind) int32 {
		qd, err := l.Engine.Open(&engine.Args{Kind: k})
		if err != 0 {
			panic(err)
		}
		return qd
	}
	drop := func(qt uint64, err abi.Errno) { _ = l.Drop(qt) }
	for name, f := range map[string]func(){
		"memory queue": func() {
			qd, _ := l.Queue()
			finish(l.Push(qd, msg))
			finish(l.Pop(qd, 0))
			drop(l.Push(qd, msg))
			_ = l.CloseQueue(qd)
		},
		"datagrams": func() {
			qd := socket(engine.KindDatagram)
			finish(l.Connect(qd, &to))
			finish(l.Push(qd, msg))
			r := finish(l.Pop(from, 0))
			mem.Free(r.SGA.Buf.Pointer())
			drop(l.Pop(qd, 0))
			_ = l.CloseQueue(qd)
		},
		"unconnected": func() { _ = l.CloseQueue(socket(engine.KindStream)) },
		"connection": func() {
			client := socket(engine.KindStream)
			_ = l.SetOption(client, abi.OptNoDelay, 0)
			accept, _ := l.Accept(lqd)
			finish(l.Connect(client, &addr))
			r := finish(accept, 0)
			server := r.Accept().QD
			_ = l.SetOption(server, abi.OptKeepalive, 100)
			finish(l.Push(client, msg))
			finish(l.Push(client, msg))
			r = finish(l.Pop(server, 0))
			mem.Free(r.SGA.Buf.Pointer())
			drop(l.Pop(client, 0))
			_ = l.CloseQueue(client)
			_ = l.CloseQueue(server)
		},
	} {
		for range 200 {
			f()
		}
		assert.Zero(t, testing.AllocsPerRun(500, f), name)
	}
}

// reused checks that a queue has nothing of those before it that were closed in any state.
func reused(t *testing.T, opt *Options) {
	l := Open(t, opt, func(c *config.Config) { c.Framing = config.FramingAuto })
	for range 20 {
		a, b := l.Pair()
		def, err := l.Option(a, abi.OptFraming)
		require.Zero(t, err)
		assert.EqualValues(t, config.FramingMessage, def) // of the end that connects
		l.Pushed(a, Text(t, "first"))
		l.Pushed(a, Text(t, "unread"))
		assert.Equal(t, "first", l.PopText(b))
		dropped := l.Token(l.Pop(b, 0))
		for i := 0; i < 50; i++ {
			l.Step()
		}
		assert.Zero(t, l.Drop(dropped)) // goes back, to nobody
		l.Token(l.Pop(a, 0))
		_ = l.SetOption(b, abi.OptNoDelay, 0)
		require.Zero(t, l.CloseQueue(b))
		require.Zero(t, l.CloseQueue(a))

		c, d := l.Pair()
		if on, err := l.Option(d, abi.OptNoDelay); err == 0 {
			assert.EqualValues(t, 1, on)
		}
		l.Pushed(d, Text(t, "second"))
		assert.Equal(t, "second", l.PopText(c))
		plain := l.Socket(engine.KindStream)
		require.Zero(t, l.SetOption(plain, abi.OptFraming, uint32(config.FramingStream)))
		require.Zero(t, l.CloseQueue(plain))
		fresh := l.Socket(engine.KindStream)
		framing, err := l.Option(fresh, abi.OptFraming)
		require.Zero(t, err)
		assert.EqualValues(t, config.FramingAuto, framing)
		_, err = l.Pop(fresh, 0)
		assert.Equal(t, unix.EINVAL, err)
		require.Zero(t, l.CloseQueue(fresh))
		require.Zero(t, l.CloseQueue(c))
		require.Zero(t, l.CloseQueue(d))
	}
}
