package store

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/spdk/store/sim"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// appendOnce is one record from Append to its end.
func (r *rig) appendOnce(l *Log, a *testAppend) {
	a.done = false
	if l.Append(&a.Append) != 0 {
		_ = l.Trim(l.End())
		return
	}
	for !a.done {
		r.s.Poll()
	}
}

func (r *rig) readOnce(l *Log, rd *Reader, x *testRead) {
	x.done = false
	if rd.Read(&x.Read) != 0 {
		panic("read")
	}
	for !x.done {
		r.s.Poll()
	}
	mem.Free(unsafe.Pointer(x.Data))
	if x.Pos += x.N; x.Pos == l.End() {
		x.Pos = 0
	}
}

func TestNoAllocations(t *testing.T) {
	r := newRig(t, sim.Config{Blocks: 2048})
	l := r.create("l")
	small, large := newAppend(strings.Repeat("x", 4096)), newAppend(strings.Repeat("x", 300_000))
	defer small.free()
	defer large.free()
	for range 200 { // touches the whole drive
		r.appendOnce(l, large)
	}
	require.Zero(t, l.Trim(l.End()))
	assert.Zero(t, testing.AllocsPerRun(300, func() { r.appendOnce(l, small) }))
	assert.Zero(t, testing.AllocsPerRun(5, func() { r.appendOnce(l, large) }))
	rd, x := l.NewReader(), &testRead{}
	x.Max, x.Owner, x.Pos = 1<<30, x, l.Begin()
	assert.Zero(t, testing.AllocsPerRun(200, func() { r.readOnce(l, rd, x) }))
	x.Max, x.Pos = 100, l.Begin()
	assert.Zero(t, testing.AllocsPerRun(200, func() { r.readOnce(l, rd, x) }))
	assert.Zero(t, testing.AllocsPerRun(200, func() { r.s.Poll(); r.s.Arm() }))
}

func BenchmarkAppend4K(b *testing.B)   { benchAppend(b, 4096, 1) }
func BenchmarkAppend100B(b *testing.B) { benchAppend(b, 100, 1) }
func BenchmarkAppend4K32(b *testing.B) { benchAppend(b, 4096, 32) }

// benchAppend appends with so many records under way; the drive has no delay.
func benchAppend(b *testing.B, size, depth int) {
	r := newRig(b, sim.Config{Blocks: 32768})
	l := r.create("l")
	list := make([]*testAppend, depth)
	for i := range list {
		list[i] = newAppend(strings.Repeat("x", size))
		defer list[i].free()
	}
	large := newAppend(strings.Repeat("x", 1_000_000))
	defer large.free()
	for range 150 {
		r.appendOnce(l, large)
	}
	_ = l.Trim(l.End())
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += depth {
		for _, a := range list {
			a.done = false
			if l.Append(&a.Append) != 0 {
				a.done = true
				b.StopTimer()
				for !r.s.Idle() {
					r.s.Poll()
				}
				_ = l.Trim(l.End())
				b.StartTimer()
			}
		}
		for _, a := range list {
			for !a.done {
				r.s.Poll()
			}
		}
	}
}

func BenchmarkRead4K(b *testing.B)   { benchRead(b, 4096) }
func BenchmarkRead100B(b *testing.B) { benchRead(b, 100) }

func benchRead(b *testing.B, size int) {
	r := newRig(b, sim.Config{Blocks: 32768})
	l := r.create("l")
	var last *testAppend
	for range 5000 {
		last = newAppend(strings.Repeat("x", size))
		defer last.free()
		if l.Append(&last.Append) != 0 {
			b.Fatal("full")
		}
	}
	r.until(&last.done)
	rd, x := l.NewReader(), &testRead{}
	x.Max, x.Owner = 1<<30, x
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		r.readOnce(l, rd, x)
	}
}
