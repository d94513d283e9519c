// Package libostest is the conformance suite that every libOS runs. A libOS passes when a test of its own that calls
// Run passes:
//
//	func TestConformance(t *testing.T) { libostest.Run(t, libostest.Options{New: mylibos.New}) }
//
// The tests drive the engine as the C front does, on one thread.
package libostest

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// Options say what is tested.
type Options struct {
	New func(*engine.Engine, *config.Config) (engine.LibOS, error)
	// Addr is an address of the libOS to which it and others can connect; nil: always 127.0.0.1.
	Addr func(engine.LibOS) [4]byte
	// Garbage: queues that are opened and closed make garbage.
	Garbage bool

	open []*Lib // of the test that runs
}

// Lib is one library under test, with calls that fail the test instead of returning errors.
type Lib struct {
	*engine.Engine
	t    testing.TB
	opt  *Options
	addr [4]byte
}

// Open starts a library that lives until the end of the test.
func Open(t testing.TB, opt *Options, change func(*config.Config)) *Lib {
	cfg := config.Default()
	if change != nil {
		change(cfg)
	}
	e, err := engine.New(cfg.Limits)
	require.Zero(t, err)
	os, problem := opt.New(e, cfg)
	require.NoError(t, problem)
	require.Zero(t, e.Attach(os, os))
	l := &Lib{e, t, opt, [4]byte{127, 0, 0, 1}}
	if opt.Addr != nil {
		l.addr = opt.Addr(os)
	}
	opt.open = append(opt.open, l)
	t.Cleanup(l.Stop)
	return l
}

// Stop ends the library before the test does.
func (l *Lib) Stop() {
	if i := slices.Index(l.opt.open, l); i >= 0 {
		l.opt.open = slices.Delete(l.opt.open, i, i+1)
		l.Close()
	}
}

// Memory returns n bytes outside the Go heap, as programs have them, until the end of the test.
func Memory(t testing.TB, n int) []byte {
	p := mem.Alloc(uint64(max(n, 1)))
	require.NotNil(t, p)
	t.Cleanup(func() { mem.Free(p) })
	return unsafe.Slice((*byte)(p), n)
}

// Array makes a scatter-gather array with copies of the segments.
func Array(t testing.TB, segs ...[]byte) *abi.SGArray {
	sga := &abi.SGArray{Buf: 0xdeadbeef, NumSegs: uint32(len(segs))}
	for i, s := range segs {
		m := Memory(t, len(s))
		copy(m, s)
		sga.Segs[i] = abi.Seg{Buf: abi.PtrTo(unsafe.Pointer(unsafe.SliceData(m))), Len: uint32(len(s))}
	}
	return sga
}

// Text makes an array of one segment.
func Text(t testing.TB, s string) *abi.SGArray { return Array(t, []byte(s)) }

// Bytes is everything in an array, joined.
func Bytes(sga *abi.SGArray) (b []byte) {
	for i := uint32(0); i < sga.NumSegs; i++ {
		b = append(b, sga.Bytes(i)...)
	}
	return b
}

// Socket makes a socket.
func (l *Lib) Socket(k engine.Kind) int32 {
	qd, err := l.Engine.Open(&engine.Args{Kind: k})
	require.Zero(l.t, err)
	return qd
}

// Addr is the address that the libOS has here, with a port.
func (l *Lib) Addr(port uint16) abi.SockaddrIn {
	a := abi.SockaddrIn{Family: unix.AF_INET, Addr: l.addr}
	binary.BigEndian.PutUint16(a.Port[:], port)
	return a
}

// Bound makes a socket that is bound to a free port.
func (l *Lib) Bound(k engine.Kind) (int32, abi.SockaddrIn) {
	qd := l.Socket(k)
	s, err := l.Engine.Socket(qd)
	require.Zero(l.t, err)
	a := l.Addr(0)
	require.Zero(l.t, s.Bind(&a))
	name, err := s.Name()
	require.Zero(l.t, err)
	return qd, name
}

// Listener makes a listening socket.
func (l *Lib) Listener() (int32, abi.SockaddrIn) {
	qd, name := l.Bound(engine.KindStream)
	s, _ := l.Engine.Socket(qd)
	require.Zero(l.t, s.Listen(1000))
	return qd, name
}

// Pair makes a connection: the end that connected and the one accepted.
func (l *Lib) Pair() (client, server int32) {
	lqd, addr := l.Listener()
	accept := l.Token(l.Engine.Accept(lqd))
	client = l.Socket(engine.KindStream)
	_, err := l.Wait(l.Token(l.Engine.Connect(client, &addr)))
	require.Zero(l.t, err)
	r, err := l.Wait(accept)
	require.Zero(l.t, err)
	require.Zero(l.t, l.CloseQueue(lqd))
	return client, r.Accept().QD
}

// Token passes on a token, and fails the test if the call gave an error.
func (l *Lib) Token(qt uint64, err abi.Errno) uint64 {
	l.t.Helper()
	require.Zero(l.t, err, "%v", err)
	return qt
}

// Step drives the libraries of the test once; any may have to answer another one.
func (l *Lib) Step() {
	for _, o := range l.opt.open {
		o.Drive(1)
	}
}

// Wait drives the libraries of the test until the token completes.
func (l *Lib) Wait(qt uint64) (abi.QResult, abi.Errno) {
	l.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for i := 1; ; i++ {
		if r, err := l.Result(qt); err != unix.EAGAIN {
			return r, err
		}
		l.Step()
		if i%1000 == 0 {
			l.Arm()
			require.True(l.t, time.Now().Before(deadline), "no completion in 20 s")
		}
	}
}

// Pushed pushes an array and waits until it has gone.
func (l *Lib) Pushed(qd int32, sga *abi.SGArray) {
	l.t.Helper()
	_, err := l.Wait(l.Token(l.Push(qd, sga)))
	require.Zero(l.t, err, "%v", err)
}

// Popped waits for an array, copies it segment by segment, and releases it.
func (l *Lib) Popped(qt uint64) (segs [][]byte) {
	l.t.Helper()
	r, err := l.Wait(qt)
	require.Zero(l.t, err, "%v", err)
	for i := uint32(0); i < r.SGA.NumSegs; i++ {
		segs = append(segs, append([]byte{}, r.SGA.Bytes(i)...))
	}
	mem.Free(r.SGA.Buf.Pointer())
	return segs
}

// PopText pops an array and joins it.
func (l *Lib) PopText(qd int32) string {
	l.t.Helper()
	s := ""
	for _, seg := range l.Popped(l.Token(l.Pop(qd, 0))) {
		s += string(seg)
	}
	return s
}
