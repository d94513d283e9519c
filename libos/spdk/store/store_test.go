package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/libos/spdk/store/sim"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

func TestAppendAndRead(t *testing.T) {
	for _, clean := range []bool{true, false} {
		r := newRig(t, sim.Config{})
		l := r.create("log")
		var want []string
		for i := range 100 {
			text := strings.Repeat(fmt.Sprint(i, "-"), 1+i*i)
			require.Zero(t, r.append(l, text))
			want = append(want, text)
		}
		big := strings.Repeat("0123456789", 500_000)
		require.Zero(t, r.append(l, big))
		want = append(want, big)
		got, err := r.readAll(l)
		require.Zero(t, err)
		require.Equal(t, want, got)
		r.again(clean)
		l = r.open("log")
		got, err = r.readAll(l)
		require.Zero(t, err)
		require.Equal(t, want, got)

		rd := l.NewReader()
		text, err := r.read(rd, 1, 1) // within the first record, "0-": one byte
		require.Zero(t, err)
		assert.Equal(t, "-", text)
		text, err = r.read(rd, l.End()-5_000_000+1_234_567, 10)
		require.Zero(t, err)
		assert.Equal(t, "7890123456", text)
		_, err = r.read(rd, l.End()+1, 10)
		assert.Equal(t, abi.Errno(unix.EINVAL), err)
		_, err = r.read(rd, 0, 0)
		assert.Equal(t, abi.Errno(unix.EINVAL), err)
		rd.Close()
	}
}

func TestNames(t *testing.T) {
	r := newRig(t, sim.Config{})
	names := []string{"a", "with/slash", strings.Repeat("x", 255), "\xff\n\x01"}
	for _, name := range names {
		l := r.create(name)
		require.Zero(t, r.append(l, name))
	}
	for name, want := range map[string]abi.Errno{"": unix.EINVAL, "a\x00b": unix.EINVAL, strings.Repeat("x", 256): unix.ENAMETOOLONG} {
		_, err := r.s.Create(name)
		assert.Equal(t, want, err)
		_, err = r.s.Open(name)
		assert.Equal(t, want, err)
	}
	_, err := r.s.Create("a")
	assert.Equal(t, abi.Errno(unix.EEXIST), err)
	_, err = r.s.Open("b")
	assert.Equal(t, abi.Errno(unix.ENOENT), err)
	assert.Equal(t, abi.Errno(unix.ENOENT), r.s.Unlink("b"))
	r.again(false)
	var got []string
	require.Zero(t, r.s.List(func(i LogInfo) bool {
		assert.Equal(t, LogInfo{Name: i.Name, End: uint64(len(i.Name)), Records: 1, Extents: 1}, i)
		got = append(got, i.Name)
		return true
	}))
	assert.Equal(t, names, got)
}

func TestCatalogFull(t *testing.T) {
	r := newRig(t, sim.Config{})
	n := 0
	for ; ; n++ {
		if _, err := r.s.Create(fmt.Sprintf("%0255d", n)); err != 0 {
			require.Equal(t, abi.Errno(unix.ENOSPC), err)
			break
		}
	}
	assert.Greater(t, n, 100)
	require.Zero(t, r.s.Unlink(fmt.Sprintf("%0255d", 7)))
	r.create("short")
	r.again(true)
	r.open("short")
	r.open(fmt.Sprintf("%0255d", n-1))
}

func TestFullDrive(t *testing.T) {
	r := newRig(t, sim.Config{Blocks: 4096})
	all := r.s.Info().Free
	l, other := r.create("l"), r.create("other")
	text := strings.Repeat("x", 300_000)
	n := 0
	for ; ; n++ {
		if err := r.append(l, text); err != 0 {
			require.Equal(t, abi.Errno(unix.ENOSPC), err)
			break
		}
	}
	assert.Greater(t, n, 40, "of 16 MiB")
	assert.Equal(t, abi.Errno(unix.ENOSPC), r.append(other, "one extent of its own"))
	got, err := r.readAll(l)
	require.Zero(t, err)
	require.Len(t, got, n)
	r.again(false)
	l, other = r.open("l"), r.open("other")
	assert.Equal(t, uint64(n*len(text)), l.End())
	assert.Equal(t, abi.Errno(unix.ENOSPC), r.append(other, "one extent of its own"))
	require.Zero(t, l.Trim(l.End()/2))
	require.Zero(t, r.append(other, "one extent of its own"))
	require.Zero(t, r.append(l, text))
	require.Zero(t, l.Trim(l.End()))
	assert.Equal(t, all-1, r.s.Info().Free, "the other log has one")
	require.Zero(t, r.append(l, text))
	require.Zero(t, l.Close())
	require.Zero(t, r.s.Unlink("l"))
	assert.Equal(t, all-1, r.s.Info().Free)
	require.Zero(t, other.Close())
	require.Zero(t, r.s.Unlink("other"))
	assert.Equal(t, all, r.s.Info().Free)
}

func TestTrim(t *testing.T) {
	r := newRig(t, sim.Config{})
	l := r.create("l")
	for range 40 {
		require.Zero(t, r.append(l, strings.Repeat("0123456789", 10_000)))
	}
	assert.Equal(t, abi.Errno(unix.EINVAL), l.Trim(l.End()+1))
	require.Zero(t, l.Trim(2_000_005))
	assert.Equal(t, abi.Errno(unix.EINVAL), l.Trim(2_000_004))
	for range 2 {
		assert.Equal(t, uint64(2_000_005), l.Begin())
		rd := l.NewReader()
		_, err := r.read(rd, 2_000_004, 3)
		assert.Equal(t, abi.Errno(unix.EINVAL), err)
		text, err := r.read(rd, 2_000_005, 3)
		assert.Zero(t, err)
		assert.Equal(t, "567", text)
		rd.Close()
		r.again(false)
		l = r.open("l")
	}
	require.Zero(t, l.Trim(l.End()))
	require.Zero(t, r.append(l, "new"))
	r.again(true)
	l = r.open("l")
	assert.Equal(t, uint64(4_000_000), l.Begin())
	got, err := r.readAll(l)
	assert.Zero(t, err)
	assert.Equal(t, []string{"new"}, got)
}

func TestUnlinkedLogLivesOn(t *testing.T) {
	r := newRig(t, sim.Config{})
	free := r.s.Info().Free
	l := r.create("l")
	require.Zero(t, r.append(l, "one"))
	require.Zero(t, r.s.Unlink("l"))
	l2 := r.create("l")
	require.Zero(t, r.append(l, "two"))
	got, err := r.readAll(l)
	assert.Zero(t, err)
	assert.Equal(t, []string{"one", "two"}, got)
	got, err = r.readAll(l2)
	assert.Zero(t, err)
	assert.Empty(t, got)
	require.Zero(t, l.Close())
	assert.Equal(t, free, r.s.Info().Free)
	assert.Equal(t, abi.Errno(unix.EBADF), r.append(l, "three"))
}

func TestEmptyRecordsAndLimits(t *testing.T) {
	r := newRig(t, sim.Config{})
	r.again(true)
	l := r.create("l")
	require.Zero(t, r.append(l, ""))
	require.Zero(t, r.append(l, "x"))
	require.Zero(t, r.append(l, ""))
	assert.Equal(t, uint64(1), l.End())
	r.opt.MaxRecord = 10
	r.again(true)
	l = r.open("l")
	assert.Equal(t, abi.Errno(unix.EMSGSIZE), r.append(l, "12345678901"))
	require.Zero(t, r.append(l, "1234567890"))
	got, err := r.readAll(l)
	assert.Zero(t, err)
	assert.Equal(t, []string{"x", "1234567890"}, got)
}

// A record that waits for buffers can be taken back, one that is partly copied cannot.
func TestCancelAppend(t *testing.T) {
	r := newRig(t, sim.Config{MaxDelay: 5})
	r.opt = Options{WriteChunks: 1, ChunkSize: 8192}
	r.again(true)
	l := r.create("l")
	a, b, c := newAppend(strings.Repeat("a", 100_000)), newAppend("b"), newAppend("c")
	for _, x := range []*testAppend{a, b, c} {
		defer x.free()
		require.Zero(t, l.Append(&x.Append))
	}
	assert.Equal(t, uint64(100_002), l.Tail())
	assert.False(t, l.Cancel(&a.Append))
	assert.False(t, l.Cancel(&b.Append), "not the last")
	assert.True(t, l.Cancel(&c.Append))
	assert.Equal(t, uint64(100_001), l.Tail())
	r.until(&b.done)
	assert.True(t, a.done)
	assert.False(t, c.done)
	got, err := r.readAll(l)
	assert.Zero(t, err)
	assert.Equal(t, []string{strings.Repeat("a", 100_000), "b"}, got)
}

func TestCancelRead(t *testing.T) {
	r := newRig(t, sim.Config{})
	l := r.create("l")
	require.Zero(t, r.append(l, "one"))
	rd := l.NewReader()
	var x [3]testRead
	for i := range x {
		x[i].Pos, x[i].Max, x[i].Owner = 0, 9, &x[i]
		require.Zero(t, rd.Read(&x[i].Read))
	}
	rd.Cancel(&x[1].Read)
	rd.Cancel(&x[0].Read)
	r.until(&x[2].done)
	assert.False(t, x[0].done || x[1].done)
	mem.Free(x[2].Data)
	require.Zero(t, rd.Read(&x[0].Read)) // from the window: it has ended, but nobody has been told
	rd.Cancel(&x[0].Read)
	require.Zero(t, rd.Read(&x[1].Read))
	rd.Close()
	r.s.Poll()
	assert.False(t, x[0].done)
	mem.Free(x[1].Data)
}

func TestReadersShareAndFollow(t *testing.T) {
	r := newRig(t, sim.Config{MaxDelay: 9})
	r.opt = Options{ReadChunks: 2}
	r.again(true)
	l := r.create("l")
	var readers [5]*Reader
	for i := range readers {
		readers[i] = l.NewReader()
	}
	for i := range uint64(300) {
		text := fmt.Sprintf("%0200d", i)
		require.Zero(t, r.append(l, text))
		for _, rd := range readers {
			got, err := r.read(rd, i*200, 1000)
			require.Zero(t, err)
			require.Equal(t, text, got)
			got, err = r.read(rd, i*200+200, 1000)
			require.Zero(t, err)
			require.Empty(t, got)
		}
	}
}

func TestOthersGoOn(t *testing.T) {
	r := newRig(t, sim.Config{MaxDelay: 4})
	l, other := r.create("l"), r.create("other")
	require.Zero(t, r.append(l, "one"))
	at := r.s.extentBlock(l.last)
	r.d.Inject(sim.Fault{Op: block.Write, First: at, Last: at + 100, Err: unix.EIO, Times: 1})
	assert.Equal(t, abi.Errno(unix.EIO), r.append(l, "two"))
	assert.Equal(t, abi.Errno(unix.EIO), r.append(l, "three"), "until it is opened anew")
	require.Zero(t, r.append(other, "fine"))
	require.Zero(t, l.Close())
	l = r.open("l")
	require.Zero(t, r.append(l, "four"))
	r.again(false)
	got, err := r.readAll(r.open("l"))
	assert.Zero(t, err)
	assert.Equal(t, []string{"one", "four"}, slices.DeleteFunc(got, func(s string) bool { return s == "two" }))
	got, err = r.readAll(r.open("other"))
	assert.Zero(t, err)
	assert.Equal(t, []string{"fine"}, got)
}

// What is left of a large record is erased from its end, so that a crash meanwhile leaves nothing that looks like a loss.
func TestCrashWhileErasing(t *testing.T) {
	for polls := 1; polls < 60; polls++ {
		r := newRig(t, sim.Config{MaxDelay: 1, Seed: uint64(polls)})
		l := r.create("l")
		require.Zero(t, r.append(l, "one"))
		a := newAppend(strings.Repeat("x", 9<<20))
		defer a.free()
		require.Zero(t, l.Append(&a.Append))
		for l.extents < 7 {
			r.s.Poll()
		}
		r.again(false)
		r.d.CrashAfter(polls, false)
		_, _ = r.s.Open("l")
		r.d.Close()
		r.s, r.d = nil, r.d.Restart()
		r.mount()
		got, err := r.readAll(r.open("l"))
		require.Zero(t, err, "%d", polls)
		require.Equal(t, []string{"one"}, got)
	}
}

// No record is put together of fragments of two epochs, though all else fits.
func TestRecordOfTwoEpochs(t *testing.T) {
	r := newRig(t, sim.Config{Blocks: 2048})
	l := r.create("l")
	require.Zero(t, r.append(l, "one"))
	whole := make([]byte, 2048*4096)
	r.d.Peek(0, whole)
	at, chunk := r.s.extentBlock(l.last)+uint64(l.tail.off)/4096, make([]byte, r.s.chunkSize)
	require.Zero(t, r.append(l, strings.Repeat("x", 200_000)))
	r.d.Peek(at, chunk)
	r.stop(false)
	r.d.Poke(0, whole)
	r.mount()
	require.Zero(t, r.append(r.open("l"), strings.Repeat("y", 200_000)))
	r.stop(false)
	r.d.Poke(at, chunk) // the first fragment of the other
	r.mount()
	got, err := r.readAll(r.open("l"))
	assert.Zero(t, err)
	assert.Equal(t, []string{"one"}, got)
}

// A drive of 100 GiB on which nothing was written is mounted in a moment.
func TestLargeDrive(t *testing.T) {
	r := newRig(t, sim.Config{Blocks: 100 << 30 / 4096, Depth: 128})
	info := r.s.Info()
	assert.Equal(t, uint64(2<<20), info.ExtentSize)
	assert.Greater(t, info.Extents, uint64(51_000))
	l := r.create("l")
	require.Zero(t, r.append(l, strings.Repeat("x", 5<<20)))
	begin, heard := time.Now(), uint64(0)
	r.opt.Progress = func(done, total uint64) { heard = done }
	r.again(false)
	t.Log("mounted in", time.Since(begin))
	assert.Equal(t, info.Extents, heard)
	got, err := r.readAll(r.open("l"))
	assert.Zero(t, err)
	assert.Len(t, got, 1)
}

func TestReadOnly(t *testing.T) {
	r := newRig(t, sim.Config{})
	l := r.create("l")
	require.Zero(t, r.append(l, "one"))
	r.opt.ReadOnly = true
	writes := r.d.Stats().Writes
	r.again(false)
	l = r.open("l")
	assert.Equal(t, abi.Errno(unix.EROFS), r.append(l, "two"))
	assert.Equal(t, abi.Errno(unix.EROFS), l.Trim(1))
	assert.Equal(t, abi.Errno(unix.EROFS), r.s.Unlink("l"))
	_, err := r.s.Create("m")
	assert.Equal(t, abi.Errno(unix.EROFS), err)
	got, err := r.readAll(l)
	assert.Zero(t, err)
	assert.Equal(t, []string{"one"}, got)
	r.stop(true)
	assert.Equal(t, writes, r.d.Stats().Writes)
	r.opt.ReadOnly = false
	r.mount()
}
