package engine

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// idle is a libOS without devices.
type idle struct{ polls, arms int }

func (i *idle) Open(*Args) (Queue, abi.Errno) { return nil, unix.ENOTSUP }
func (i *idle) Poll()                         { i.polls++ }
func (i *idle) Arm()                          { i.arms++ }
func (i *idle) Fds() []int                    { return []int{0} }
func (i *idle) Close()                        {}

func newEngine(t *testing.T, lim config.Limits) *Engine {
	if lim.Queues == 0 {
		lim.Queues = 1000
	}
	if lim.Tokens == 0 {
		lim.Tokens = 10_000
	}
	if lim.MemoryQueue == 0 {
		lim.MemoryQueue = 1000
	}
	e, err := New(lim)
	require.Zero(t, err)
	i := &idle{}
	require.Zero(t, e.Attach(i, i))
	t.Cleanup(e.Close)
	return e
}

func queue(t *testing.T, e *Engine) int32 {
	qd, err := e.Queue()
	require.Zero(t, err)
	return qd
}

func array(n uint32) *abi.SGArray {
	return &abi.SGArray{Buf: abi.Ptr(n) << 32, NumSegs: 1, Segs: [3]abi.Seg{{Buf: 1, Len: n}}}
}

func TestMemoryQueueIsVerbatimAndInOrder(t *testing.T) {
	e := newEngine(t, config.Limits{})
	qd := queue(t, e)
	var pops []uint64
	pop := func() {
		qt, err := e.Pop(qd, 0)
		require.Zero(t, err)
		pops = append(pops, qt)
	}
	next := uint32(0)
	push := func() {
		next++
		qt, err := e.Push(qd, array(next))
		require.Zero(t, err)
		r, err := e.Result(qt)
		require.Zero(t, err)
		assert.Equal(t, *array(next), r.SGA)
	}
	for i := 0; i < 5; i++ {
		pop()
	}
	for i := 0; i < 100; i++ { // makes the ring grow, from the middle
		push()
		if i%3 == 0 {
			pop()
		}
	}
	for len(pops) < 100 {
		pop()
	}
	for i, qt := range pops {
		r, err := e.Result(qt)
		require.Zero(t, err)
		assert.Equal(t, *array(uint32(i + 1)), r.SGA)
		assert.Equal(t, abi.OpPop, r.Opcode)
		assert.Equal(t, qd, r.QD)
		assert.EqualValues(t, qd, qt>>32)
	}
}

func TestMemoryQueueLimit(t *testing.T) {
	e := newEngine(t, config.Limits{MemoryQueue: 20})
	qd := queue(t, e)
	n := 0
	for ; ; n++ {
		qt, err := e.Push(qd, array(1))
		if err != 0 {
			assert.Equal(t, unix.ENOBUFS, err)
			break
		}
		_, _ = e.Result(qt)
	}
	assert.Equal(t, 20, n)
}

func TestDropGivesBack(t *testing.T) {
	e := newEngine(t, config.Limits{})
	qd := queue(t, e)
	pending, _ := e.Pop(qd, 0)
	assert.Zero(t, e.Drop(pending))
	for i := uint32(1); i <= 3; i++ {
		_, err := e.Push(qd, array(i))
		require.Zero(t, err)
	}
	var qt [4]uint64
	for i := range qt {
		qt[i], _ = e.Pop(qd, 0)
	}
	assert.Zero(t, e.Drop(qt[1])) // goes to the pending pop
	assert.Zero(t, e.Drop(qt[0])) // goes to the next pop
	r, err := e.Result(qt[3])
	require.Zero(t, err)
	assert.Equal(t, *array(2), r.SGA)
	next, _ := e.Pop(qd, 0)
	r, err = e.Result(next)
	require.Zero(t, err)
	assert.Equal(t, *array(1), r.SGA)
}

func TestArguments(t *testing.T) {
	e := newEngine(t, config.Limits{})
	qd := queue(t, e)
	for _, sga := range []abi.SGArray{{}, {NumSegs: 4}, {NumSegs: 2, Segs: [3]abi.Seg{{Buf: 1, Len: 1}, {Len: 1}}}} {
		_, err := e.Push(qd, &sga)
		assert.Equal(t, unix.EINVAL, err)
	}
	_, err := e.Push(qd, &abi.SGArray{NumSegs: 1})
	assert.Zero(t, err, "an empty segment needs no memory")
	for qd, want := range map[int32]abi.Errno{0: unix.EINVAL, -1: unix.EINVAL, 5: unix.ENOENT, qd + 1: unix.ENOENT, 1<<31 - 1: unix.ENOENT} {
		_, err := e.Pop(qd, 0)
		assert.Equal(t, want, err, "%#x", qd)
		assert.Equal(t, want, e.CloseQueue(qd))
		assert.False(t, e.Valid(qd))
	}
	_, err = e.Accept(qd)
	assert.Equal(t, unix.ENOTSUP, err)
	assert.Equal(t, unix.ENOTSUP, e.Lseek(qd, 0, 0))
	assert.Equal(t, unix.ENOENT, e.Drop(uint64(qd)<<32))
	assert.Equal(t, unix.ENOENT, e.Drop(1<<64-1))
}

func TestDescriptors(t *testing.T) {
	e := newEngine(t, config.Limits{Queues: 100})
	seen := map[int32]bool{}
	for i := 0; i < 1000; i++ {
		qd := queue(t, e)
		assert.Greater(t, qd, int32(abi.QDBase-1))
		assert.False(t, seen[qd], "reused after %d", i)
		seen[qd] = true
		require.Zero(t, e.CloseQueue(qd))
		assert.False(t, e.Valid(qd))
	}
	for i := 0; i < 100; i++ {
		queue(t, e)
	}
	_, err := e.Queue()
	assert.Equal(t, unix.EMFILE, err)
}

func TestTokenLimit(t *testing.T) {
	e := newEngine(t, config.Limits{Tokens: 5000})
	qd := queue(t, e)
	var tokens []uint64
	for {
		qt, err := e.Pop(qd, 0)
		if err != 0 {
			assert.Equal(t, unix.ENOBUFS, err)
			break
		}
		tokens = append(tokens, qt)
	}
	assert.Len(t, tokens, 5000)
	for _, qt := range tokens {
		require.Zero(t, e.Drop(qt))
	}
	_, err := e.Pop(qd, 0)
	assert.Zero(t, err)
}

// A program that closes queues and forgets their tokens must not run out of them, and recent ones stay.
func TestForgottenTokens(t *testing.T) {
	e := newEngine(t, config.Limits{Tokens: 20_000})
	var last uint64
	for i := 0; i < 100_000; i++ {
		qd := queue(t, e)
		qt, err := e.Pop(qd, 0)
		require.Zero(t, err)
		require.Zero(t, e.CloseQueue(qd))
		last = qt
	}
	assert.Less(t, e.tokens, 20_000)
	_, err := e.Result(last)
	assert.Equal(t, unix.ECANCELED, err)
}

// A stale token must not be taken for the one that has its record now.
func TestTokensAreNotReusedSoon(t *testing.T) {
	e := newEngine(t, config.Limits{})
	qd := queue(t, e)
	seen := map[uint64]bool{}
	for i := 0; i < 200_000; i++ {
		qt, err := e.Pop(qd, 0)
		require.Zero(t, err)
		require.False(t, seen[qt], "after %d", i)
		seen[qt] = true
		require.Zero(t, e.Drop(qt))
	}
}

// C programs leave fields uninitialised, so arrays that wait in the Go heap hold any values there are.
func TestGarbagePointers(t *testing.T) {
	e := newEngine(t, config.Limits{})
	qd := queue(t, e)
	heap := uintptr(unsafe.Pointer(new([100]byte)))
	for i := uintptr(0); i < 500; i++ {
		sga := array(1)
		sga.Buf = abi.Ptr(heap + i*4096)
		_, err := e.Push(qd, sga)
		require.Zero(t, err)
	}
	for i := 0; i < 3; i++ {
		_ = testing.AllocsPerRun(100, func() { _ = make([]byte, 1<<20) })
	}
}

// Storage that is apart is polled with every single poll, and often enough in a spin, even one that the network always ends.
func TestDrivePollsStorage(t *testing.T) {
	e, err := New(config.Limits{Queues: 10, Tokens: 1000, MemoryQueue: 10})
	require.Zero(t, err)
	t.Cleanup(e.Close)
	net, storage := &idle{}, &idle{}
	require.Zero(t, e.Attach(net, storage))
	for i := range 20 {
		e.Drive(1)
		assert.Equal(t, i+1, storage.polls)
	}
	before := storage.polls
	e.Drive(64)
	assert.Equal(t, 84, net.polls)
	assert.GreaterOrEqual(t, storage.polls-before, 64/storageEvery)
	before = storage.polls
	e.ctl.Want = 1 // ends each Drive after its first round
	for range 64 {
		e.Drive(64)
	}
	assert.Equal(t, 148, net.polls)
	assert.Equal(t, 64/storageEvery, storage.polls-before)
}

func TestDriveStopsEarly(t *testing.T) {
	e := newEngine(t, config.Limits{})
	i := e.net.(*idle)
	e.Drive(10)
	assert.Equal(t, 10, i.polls)
	e.ctl.Want = 1
	e.Drive(10)
	assert.Equal(t, 11, i.polls)
	e.ctl.Want = 0
	e.Arm()
	assert.Equal(t, 1, i.arms)
}

func TestMemory(t *testing.T) {
	p := mem.Alloc(10)
	require.NotNil(t, p)
	p = mem.Realloc(p, 1<<20)
	require.NotNil(t, p)
	mem.Free(p)
	assert.Nil(t, mem.Alloc(1<<62), "no panic when there is no memory")
	m := mem.Map(4096)
	require.NotNil(t, m)
	mem.Unmap(m, 4096)
}
