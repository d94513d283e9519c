package verbs

import (
	"bytes"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

func TestConnect(t *testing.T) {
	a, b, toB, toA := pair(t, 1)
	local, peer := a.d.Name(toB)
	assert.Equal(t, near, local.Addr)
	assert.Equal(t, far, peer.Addr)
	local2, peer2 := b.d.Name(toA)
	assert.Equal(t, peer.Number(), local2.Number())
	assert.Equal(t, local.Number(), peer2.Number())
}

func TestReject(t *testing.T) {
	a, b := newSide(t, near), newSide(t, far)
	listener, errno := b.d.Listen(address(far, 0), 16)
	require.Zero(t, errno)
	at, _ := b.d.Name(listener)
	require.NotZero(t, at.Number())
	id := a.dial(&at, nil)
	require.Zero(t, a.d.Connect(id, nil))
	request := b.event(EventConnectRequest, a)
	require.Zero(t, b.d.Reject(request.ID, []byte("go away")))
	assert.Equal(t, abi.Errno(unix.EINVAL), b.d.Accept(request.ID, nil), "gone")
	rejected := a.event(EventRejected, b)
	assert.Equal(t, abi.Errno(unix.ECONNREFUSED), rejected.Errno)
	assert.Equal(t, "go away", string(rejected.Private[:7]))
}

func TestNobodyListens(t *testing.T) {
	a := newSide(t, near)
	id := a.dial(address(far, 9), nil)
	require.Zero(t, a.d.Connect(id, nil))
	assert.Equal(t, abi.Errno(unix.ECONNREFUSED), a.event(EventRejected).Errno)
	a.d.Destroy(id)
}

func TestPorts(t *testing.T) {
	b := newSide(t, far)
	first, errno := b.d.Listen(address(far, 0), 1)
	require.Zero(t, errno)
	at, _ := b.d.Name(first)
	_, errno = b.d.Listen(&at, 1)
	assert.Equal(t, abi.Errno(unix.EADDRINUSE), errno)
	b.d.Destroy(first)
	second, errno := b.d.Listen(&at, 1)
	assert.Zero(t, errno)
	b.d.Destroy(second)
	_, errno = b.d.Listen(address([4]byte{192, 0, 2, 1}, 0), 1)
	assert.Equal(t, abi.Errno(unix.EADDRNOTAVAIL), errno)
	_, errno = b.d.Dial(address([4]byte{192, 0, 2, 1}, 1), nil)
	if errno == 0 {
		until(t, "error", func() bool { return len(b.events) > 0 }, b)
		errno = b.events[0].Errno
	}
	assert.NotZero(t, errno)
}

func TestAnyAddress(t *testing.T) {
	a, b := newSide(t, near), newSide(t, far)
	listener, errno := b.d.Listen(address([4]byte{}, 0), 16)
	require.Zero(t, errno)
	connect(t, a, b, listener, 1)
}

// send sends segments and waits for both completions.
func send(t *testing.T, a, b *side, wr *SendWR, want []byte, buffer int) {
	t.Helper()
	require.Zero(t, a.d.PostSend(wr))
	c := a.completion(b)
	assert.Equal(t, Completion{WRID: wr.WRID, ID: wr.ID, Op: wr.Op, Bytes: c.Bytes}, c)
	c = b.completion(a)
	require.Equal(t, uint64(buffer), c.WRID)
	require.Equal(t, OpRecv, c.Op)
	require.Zero(t, c.Status)
	require.Equal(t, len(want), int(c.Bytes))
	assert.True(t, bytes.Equal(want, b.memory[buffer*bufferSize:][:len(want)]))
}

func TestSegments(t *testing.T) {
	a, b, toB, _ := pair(t, 8)
	data := a.memory[1<<20:][:100000]
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	for n := 1; n <= usual.MaxSGE; n++ {
		wr := SendWR{ID: toB, WRID: uint64(100 + n), Signaled: true, NumSGE: uint8(n)}
		var want []byte
		for i := range n {
			from, length := i*20000+n, 1+i*5000
			wr.SGEs[i] = a.sge(1<<20+from, length)
			want = append(want, data[from:][:length]...)
		}
		send(t, a, b, &wr, want, n-1)
	}
	send(t, a, b, &SendWR{ID: toB, Signaled: true}, nil, usual.MaxSGE) // no bytes at all
	inline := []byte("a few bytes that nobody has registered")
	copy(a.memory[1<<20:], inline)
	wr := SendWR{ID: toB, Signaled: true, Inline: true, NumSGE: 2}
	wr.SGEs[0], wr.SGEs[1] = a.sge(1<<20, 5), a.sge(1<<20+5, len(inline)-5)
	wr.SGEs[0].LKey = 0
	require.Zero(t, a.d.PostSend(&wr))
	clear(a.memory[1<<20:][:len(inline)]) // has been copied
	c := b.completion(a)
	assert.Equal(t, inline, b.memory[c.WRID*bufferSize:][:c.Bytes])
	wr.NumSGE, wr.SGEs[0] = 1, a.sge(1<<20, a.d.conn(toB).maxInline+1)
	assert.Equal(t, abi.Errno(unix.EINVAL), a.d.PostSend(&wr), "too long to be inline")
	wr.NumSGE = uint8(a.d.conn(toB).maxSGE + 1)
	assert.Equal(t, abi.Errno(unix.EINVAL), a.d.PostSend(&wr), "too many segments")
}

func TestRead(t *testing.T) {
	a, b, toB, _ := pair(t, 1)
	remote(t, a, b, SendWR{ID: toB, WRID: 7, Op: OpRead, RemoteAddr: b.mr.Addr + 2<<20, RKey: b.mr.RKey}, b.memory[2<<20:], a.memory[1<<20:])
	wr := SendWR{ID: toB, WRID: 8, Op: OpWrite, Signaled: true, NumSGE: 1, RemoteAddr: b.mr.Addr, RKey: b.mr.RKey}
	wr.SGEs[0] = a.sge(0, 1)
	require.Zero(t, a.d.PostSend(&wr))
	assert.Equal(t, uint8(StatusRemoteKey), a.completion(b).Status, "only to be read")
}

func TestWrite(t *testing.T) {
	a, b, toB, _ := pair(t, 1)
	p := mem.Map(1 << 20)
	mr, errno := b.d.Register(p, 1<<20, RemoteWrite)
	require.Zero(t, errno)
	remote(t, a, b, SendWR{ID: toB, WRID: 7, Op: OpWrite, RemoteAddr: mr.Addr, RKey: mr.RKey}, a.memory[1<<20:], unsafe.Slice((*byte)(p), 1<<20))
	b.d.Deregister(mr)
	wr := SendWR{ID: toB, WRID: 8, Op: OpWrite, Signaled: true, NumSGE: 1, RemoteAddr: mr.Addr, RKey: mr.RKey}
	wr.SGEs[0] = a.sge(0, 1)
	require.Zero(t, a.d.PostSend(&wr))
	c := a.completion(b)
	assert.Equal(t, uint8(StatusRemoteKey), c.Status, "not registered any more")
	assert.Equal(t, abi.Errno(unix.EPROTO), StatusErrno(c.Status))
	mem.Unmap(p, 1<<20)
}

// remote moves 1 MiB between a.memory[1<<20:] and what wr says.
func remote(t *testing.T, a, b *side, wr SendWR, from, to []byte) {
	const size = 1 << 20
	for i := range from[:size] {
		from[i] = byte(i ^ i>>8 ^ i>>13)
	}
	wr.Signaled, wr.NumSGE = true, 1
	wr.SGEs[0] = a.sge(1<<20, size)
	require.Zero(t, a.d.PostSend(&wr))
	c := a.completion(b)
	require.Equal(t, Completion{WRID: 7, ID: wr.ID, Op: wr.Op, Bytes: c.Bytes}, c)
	require.True(t, bytes.Equal(from[:size], to[:size]))
}

func TestOrderAndRoom(t *testing.T) {
	a, b, toB, _ := pair(t, 32)
	wr := SendWR{ID: toB, NumSGE: 1, Inline: true}
	for i := range usual.SendWR {
		a.memory[1<<20] = byte(i)
		wr.WRID, wr.SGEs[0], wr.Signaled = uint64(i), a.sge(1<<20, 1), i == usual.SendWR-1
		require.Zero(t, a.d.PostSend(&wr))
	}
	assert.Equal(t, abi.Errno(unix.ENOBUFS), a.d.PostSend(&wr))
	for i := range usual.RecvWR {
		c := b.completion(a)
		require.Equal(t, uint64(i), c.WRID)
		require.Equal(t, byte(i), b.memory[i*bufferSize])
	}
	c := a.completion(b)
	assert.Equal(t, uint64(usual.SendWR-1), c.WRID, "the only one that is signaled")
	assert.Empty(t, a.completions)
	wr.Signaled = true
	assert.Zero(t, b.d.PostRecv(b.conn(), 0, b.sge(0, 1)))
	assert.Zero(t, a.d.PostSend(&wr), "there is room again")
	a.completion(b)
}

// conn is the ID of the side's only connection.
func (s *side) conn() (id ID) {
	s.d.conns.all(func(c *conn) {
		if c.hasQP {
			id = c.id
		}
	})
	return id
}

func TestDisconnect(t *testing.T) {
	a, b, toB, toA := pair(t, 3)
	a.d.Disconnect(toB)
	a.d.Disconnect(toB)
	gone := func(s *side, other *side, id ID) {
		assert.Equal(t, id, s.event(EventDisconnected, other).ID)
		for i := range 3 {
			c := s.completion(other)
			assert.Equal(t, uint8(StatusFlushed), c.Status)
			assert.Equal(t, uint64(i), c.WRID)
		}
	}
	gone(b, a, toA)
	gone(a, b, toB)
	b.d.Destroy(toA)
	b.d.Destroy(toA)
	assert.Equal(t, abi.Errno(unix.EINVAL), b.d.PostRecv(toA, 0, b.sge(0, 1)), "destroyed")
	wr := SendWR{ID: toB, WRID: 9, Signaled: true}
	if errno := a.d.PostSend(&wr); errno == 0 {
		assert.NotZero(t, a.completion(b).Status)
	}
}

// TestLate destroys an ID of which completions are in the queue.
func TestLate(t *testing.T) {
	a, b, toB, toA := pair(t, 4)
	wr := SendWR{ID: toB, Signaled: true}
	for range 4 {
		require.Zero(t, a.d.PostSend(&wr))
	}
	for range 4 {
		a.completion() // so they have arrived, but b has not looked
	}
	b.d.Destroy(toA)
	late := b.d.counters.late
	a.event(EventDisconnected, b)
	until(t, "late completions", func() bool { return b.d.counters.late > late }, b)
	assert.Empty(t, b.completions)
}

func TestWrongCalls(t *testing.T) {
	a, b, toB, _ := pair(t, 1)
	d := a.d
	bad := abi.Errno(unix.EINVAL)
	for _, id := range []ID{0, -1, 1 << 30, toB + 1<<16, 0xffff} {
		assert.Equal(t, bad, d.PostSend(&SendWR{ID: id}))
		assert.Equal(t, bad, d.PostRecv(id, 0, a.sge(0, 1)))
		assert.Equal(t, bad, d.CreateQP(id, &usual))
		assert.Equal(t, bad, d.Connect(id, nil))
		assert.Equal(t, bad, d.Accept(id, nil))
		assert.Equal(t, bad, d.Reject(id, nil))
		d.Disconnect(id)
		d.Destroy(id)
		d.Name(id)
		d.QPN(id)
	}
	assert.Equal(t, abi.Errno(unix.ENOTCONN), d.CreateQP(toB, &usual))
	assert.Equal(t, abi.Errno(unix.ENOTCONN), d.Connect(toB, nil))
	assert.Equal(t, abi.Errno(unix.ENOTCONN), d.Accept(toB, nil))
	assert.Equal(t, bad, d.Connect(toB, make([]byte, MaxPrivateConnect+1)))
	assert.Equal(t, bad, d.PostSend(&SendWR{ID: toB, Op: OpRecv}))
	_, errno := d.Register(nil, 1, 0)
	assert.Equal(t, bad, errno)
	d.Deregister(MR{Handle: 77})
	d.FreeAH(77)
	_, errno = d.Dial(&abi.SockaddrIn{Family: 10}, nil)
	assert.Equal(t, abi.Errno(unix.EAFNOSUPPORT), errno)
	id := a.dialing(b)
	for _, p := range []QPParams{{}, {SendWR: 1, RecvWR: 1}, {SendWR: 1 << 30, RecvWR: 1, MaxSGE: 1}, {SendWR: 1, RecvWR: 1, MaxSGE: MaxSGE + 1},
		{SendWR: 1, RecvWR: 1, MaxSGE: 1, Inline: MaxInline + 1}} {
		assert.Equal(t, bad, d.CreateQP(id, &p))
	}
	d.Destroy(id)
}

// dialing is an ID that is resolved.
func (s *side) dialing(to *side) ID {
	id, errno := s.d.Dial(address(far, 9), nil)
	require.Zero(s.t, errno)
	s.event(EventResolved)
	return id
}

// TestManyQueues makes QPs so large that one completion queue does not do.
func TestManyQueues(t *testing.T) {
	a, b := newSide(t, near), newSide(t, far)
	listener, errno := b.d.Listen(address(far, 0), 16)
	require.Zero(t, errno)
	at, _ := b.d.Name(listener)
	large := usual
	large.SendWR = 8000
	usable := func() (toB, toA ID) {
		toB, errno := a.d.Dial(&at, nil)
		require.Zero(t, errno)
		a.event(EventResolved, b)
		require.Zero(t, a.d.CreateQP(toB, &large))
		require.Zero(t, a.d.Connect(toB, nil))
		toA = b.event(EventConnectRequest, a).ID
		require.Zero(t, b.d.CreateQP(toA, &large))
		require.Zero(t, b.d.PostRecv(toA, 1, b.sge(0, 1)))
		require.Zero(t, b.d.Accept(toA, nil))
		a.event(EventEstablished, b)
		b.event(EventEstablished, a)
		return toB, toA
	}
	var ids [][2]ID
	for len(ids) < 10 {
		toB, toA := usable()
		ids = append(ids, [2]ID{toB, toA})
	}
	queues := a.d.c.num_queues
	assert.Greater(t, int(queues), 1)
	for _, id := range ids { // each is polled
		require.Zero(t, a.d.PostSend(&SendWR{ID: id[0], Signaled: true}))
		require.Equal(t, id[0], a.completion(b).ID)
		require.Equal(t, id[1], b.completion(a).ID)
	}
	for range 20 { // what is gone leaves its place to others
		id := ids[0]
		ids = ids[1:]
		a.d.Destroy(id[0])
		b.d.Destroy(id[1])
		a.poll()
		b.poll()
		a.events, b.events = nil, nil
		toB, toA := usable()
		ids = append(ids, [2]ID{toB, toA})
	}
	assert.Equal(t, queues, a.d.c.num_queues)
	assert.Equal(t, queues, b.d.c.num_queues)
}

// TestRefused posts what the QP cannot take.
func TestRefused(t *testing.T) {
	a, b := newSide(t, near), newSide(t, far)
	listener, errno := b.d.Listen(address(far, 0), 16)
	require.Zero(t, errno)
	old := usual
	defer func() { usual = old }()
	usual.MaxSGE, usual.Inline = 1, 0
	toB, _ := connect(t, a, b, listener, 4)
	conn := a.d.conn(toB)
	conn.maxSGE = MaxSGE // so that it gets to the device
	wr := SendWR{ID: toB, Signaled: true}
	for i := range MaxSGE {
		wr.SGEs[i] = a.sge(1<<20, 8)
	}
	for i, segments := range []uint8{1, MaxSGE, 1} {
		wr.WRID, wr.NumSGE = uint64(100+i), segments
		require.Zero(t, a.d.PostSend(&wr))
	}
	got := map[uint64]uint8{}
	for range 3 + 4 { // and what a is to receive
		c := a.completion(b)
		got[c.WRID] = c.Status
		assert.Equal(t, toB, c.ID)
	}
	assert.Len(t, got, 7)
	assert.Equal(t, uint8(StatusLocalQP), got[101])
	assert.Equal(t, uint8(StatusLocalQP), got[102])
	assert.Equal(t, uint8(StatusFlushed), got[0])
	assert.Equal(t, uint64(2), a.d.counters.refused)
	assert.Equal(t, abi.Errno(unix.ENOTCONN), a.d.PostSend(&wr))
	assert.Equal(t, abi.Errno(unix.ENOTCONN), a.d.PostRecv(toB, 0, a.sge(0, 1)))
}
