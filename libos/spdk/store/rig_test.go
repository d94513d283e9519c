package store

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/spdk/store/sim"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// rig is a store on a simulated drive, and what the tests do with it.
type rig struct {
	testing.TB
	d   *sim.Drive
	s   *Store
	opt Options
}

func newRig(t testing.TB, cfg sim.Config) *rig {
	r := &rig{TB: t, d: sim.New(cfg)}
	require.Zero(t, Format(r.d, FormatOptions{}))
	r.mount()
	t.Cleanup(func() {
		if r.s != nil {
			r.s.Close()
		}
		require.Zero(t, r.d.Allocated())
	})
	return r
}

func (r *rig) mount() {
	r.Helper()
	s, err := Mount(r.d, r.opt)
	require.Zero(r, err)
	r.s = s
}

// again mounts anew, after a clean end or a loss of power.
func (r *rig) again(clean bool) {
	r.Helper()
	r.stop(clean)
	r.mount()
}

func (r *rig) stop(clean bool) {
	r.Helper()
	if clean {
		require.Zero(r, r.s.Close())
	} else {
		r.d.PowerLoss()
	}
	r.s = nil
	r.d = r.d.Restart()
}

func (r *rig) create(name string) *Log {
	r.Helper()
	l, err := r.s.Create(name)
	require.Zero(r, err)
	return l
}

func (r *rig) open(name string) *Log {
	r.Helper()
	l, err := r.s.Open(name)
	require.Zero(r, err)
	return l
}

type testAppend struct {
	Append
	sga  abi.SGArray
	done bool
}

// Appended is that of the Append.
func (a *testAppend) Appended(*Append) { a.done = true }

func newAppend(text string) *testAppend {
	a := &testAppend{}
	a.Owner = a
	p := mem.Alloc(uint64(len(text)) + 1)
	copy(unsafe.Slice((*byte)(p), len(text)), text)
	a.sga.NumSegs = 1
	a.sga.Segs[0] = abi.Seg{Buf: abi.PtrTo(p), Len: uint32(len(text))}
	a.SGA = &a.sga
	return a
}

func (a *testAppend) free() { mem.Free(a.sga.Segs[0].Buf.Pointer()) }

// append appends and waits.
func (r *rig) append(l *Log, text string) abi.Errno {
	r.Helper()
	a := newAppend(text)
	defer a.free()
	if err := l.Append(&a.Append); err != 0 {
		return err
	}
	r.until(&a.done)
	return a.Err
}

func (r *rig) until(done *bool) {
	r.Helper()
	for range 1_000_000 {
		if *done {
			return
		}
		r.s.Poll()
	}
	r.Fatal("never ends")
}

type testRead struct {
	Read
	done bool
}

// ReadDone is that of the Read.
func (x *testRead) ReadDone(*Read) { x.done = true }

// read reads what is left of a record at pos, at most so many bytes.
func (r *rig) read(rd *Reader, pos, most uint64) (string, abi.Errno) {
	r.Helper()
	x := &testRead{}
	x.Pos, x.Max, x.Owner = pos, most, x
	if err := rd.Read(&x.Read); err != 0 {
		return "", err
	}
	r.until(&x.done)
	defer mem.Free(x.Data)
	return string(unsafe.Slice((*byte)(x.Data), x.N)), x.Err
}

// readAll reads to the end or an error.
func (r *rig) readAll(l *Log) (records []string, err abi.Errno) {
	r.Helper()
	rd := l.NewReader()
	defer rd.Close()
	for pos := l.Begin(); ; {
		text, err := r.read(rd, pos, 1<<40)
		if err != 0 || text == "" {
			return records, err
		}
		records = append(records, text)
		pos += uint64(len(text))
	}
}
