package libostest

import (
	"bytes"
	"fmt"
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

// FileOptions say what is tested of the files of a libOS.
type FileOptions struct {
	Options
	// Prefix is put before the names of files.
	Prefix string
	// Logs says that the files are logs: there is nothing behind their ends or before what was trimmed, and pushes let go of memory.
	Logs bool
}

const appending = unix.O_RDWR | unix.O_CREAT | unix.O_APPEND

// RunFiles runs the suite for files. They are opened with O_APPEND, so that logs and files are alike.
func RunFiles(t *testing.T, opt FileOptions) {
	tests := []struct {
		name string
		f    func(*testing.T, *FileOptions)
	}{
		{"Write", fileWrite}, {"Order", fileOrder}, {"Counts", fileCounts}, {"Mixed", fileMixed}, {"Seek", fileSeek}, {"Large", fileLarge},
		{"Flags", fileFlags}, {"Limits", fileLimits}, {"CloseCancels", fileCloseCancels}, {"Drop", fileDrop}, {"Own", fileOwn},
		{"Reopen", fileReopen}, {"Trim", fileTrim}, {"Truncate", fileTruncate}, {"Unlink", fileUnlink}, {"Shared", fileShared},
		{"Many", fileMany}, {"Sleep", fileSleep}, {"NoAllocations", fileNoAllocations},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) { c.f(t, &opt) })
	}
}

// File opens a file of a name of the test's own.
func (l *Lib) File(o *FileOptions, t *testing.T, flags int) int32 {
	t.Helper()
	qd, err := l.TryFile(pathOf(o, t), flags)
	require.Zero(t, err, "%v", err)
	return qd
}

// pathOf is a name without folders.
func pathOf(o *FileOptions, t *testing.T) string {
	return o.Prefix + string(bytes.ReplaceAll([]byte(t.Name()), []byte("/"), []byte("_")))
}

// TryFile opens a file, or says why not.
func (l *Lib) TryFile(path string, flags int) (int32, abi.Errno) {
	return l.Engine.Open(&engine.Args{Kind: engine.KindFile, Path: path, Flags: flags, Mode: 0o600})
}

// Seek moves a position.
func (l *Lib) Seek(qd int32, offset int64, whence int) {
	l.t.Helper()
	err := l.Lseek(qd, offset, whence)
	require.Zero(l.t, err, "%v", err)
}

// Rest is what a file has from its position on.
func (l *Lib) Rest(qd int32) (all []byte) {
	l.t.Helper()
	for {
		p := l.Popped(l.Token(l.Pop(qd, 100_000)))
		require.Len(l.t, p, 1)
		if len(p[0]) == 0 {
			return all
		}
		all = append(all, p[0]...)
	}
}

func fileWrite(t *testing.T, o *FileOptions) {
	l := Open(t, &o.Options, nil)
	qd := l.File(o, t, appending)
	assert.Empty(t, l.PopText(qd), "the end")
	l.Pushed(qd, Text(t, "hello"))
	push := l.Token(l.Push(qd, Array(t, []byte(", "), nil, []byte("world"))))
	r, err := l.Wait(push)
	assert.Zero(t, err)
	assert.Equal(t, abi.OpPush, r.Opcode)
	assert.EqualValues(t, 3, r.SGA.NumSegs, "the array is echoed")
	l.Pushed(qd, Text(t, ""))
	l.Pushed(qd, Array(t, nil, nil))
	for range 2 {
		assert.Empty(t, l.PopText(qd), "a push moves the position to the end")
	}
	l.Seek(qd, 0, unix.SEEK_SET)
	assert.Equal(t, "hello, world", string(l.Rest(qd)))
}

// Many pushes under way complete in their order, and that is how they lie in the file.
func fileOrder(t *testing.T, o *FileOptions) {
	l := Open(t, &o.Options, nil)
	qd := l.File(o, t, appending)
	r := rand.New(rand.NewPCG(5, 6))
	var want []byte
	for range 3 {
		var qts []uint64
		for i := range 300 {
			m := make([]byte, 1+r.IntN(1<<r.IntN(16)))
			for j := range m {
				m[j] = byte(r.Uint32())
			}
			at := len(m) * i / 300
			qts = append(qts, l.Token(l.Push(qd, Array(t, m[:at], m[at:]))))
			want = append(want, m...)
		}
		last := uint64(0)
		for _, qt := range qts {
			for l.Engine.Token(qt).State != abi.TokenDone {
				l.Step()
			}
			seq := l.Engine.Token(qt).Seq
			require.Less(t, last, seq)
			last = seq
			_, err := l.Wait(qt)
			require.Zero(t, err)
		}
	}
	l.Seek(qd, 0, unix.SEEK_SET)
	assert.True(t, bytes.Equal(want, l.Rest(qd)))
}

func fileCounts(t *testing.T, o *FileOptions) {
	l := Open(t, &o.Options, func(c *config.Config) { c.Limits.MaxPop = 1000 })
	qd := l.File(o, t, appending)
	text := bytes.Repeat([]byte("abcdefg"), 30_000)
	l.Pushed(qd, Array(t, text[:100], text[100:100_000]))
	l.Pushed(qd, Array(t, text[100_000:]))
	l.Seek(qd, 0, unix.SEEK_SET)
	var got []byte
	for i := 0; len(got) < len(text); i++ {
		count := []uint64{0, 1, 17, 5000}[i%4]
		p := l.Popped(l.Token(l.Pop(qd, count)))
		require.Len(t, p, 1)
		require.NotEmpty(t, p[0])
		if count == 0 {
			count = 1000
		}
		require.LessOrEqual(t, len(p[0]), int(count))
		if at := len(got); (at > 100_000 || at+int(count) <= 100_000) && at+int(count) <= len(text) {
			require.Len(t, p[0], int(count), "within a record it is all there")
		}
		got = append(got, p[0]...)
	}
	assert.True(t, bytes.Equal(text, got))
	assert.Empty(t, l.PopText(qd))
}

// Pushes and pops take effect in the order in which they were started.
func fileMixed(t *testing.T, o *FileOptions) {
	l := Open(t, &o.Options, nil)
	qd := l.File(o, t, appending)
	l.Pushed(qd, Text(t, "0123456789"))
	l.Seek(qd, 0, unix.SEEK_SET)
	pop := func(n uint64) uint64 { return l.Token(l.Pop(qd, n)) }
	push := func(s string) uint64 { return l.Token(l.Push(qd, Text(t, s))) }
	qts := []uint64{pop(2), pop(3), push("a"), push("b"), pop(1), push("c"), pop(5)}
	want := []string{"01", "234", "", "", "", "", ""}
	last := uint64(0)
	for i, qt := range qts {
		for l.Engine.Token(qt).State != abi.TokenDone {
			l.Step()
		}
		seq := l.Engine.Token(qt).Seq
		assert.Less(t, last, seq, "%d", i)
		last = seq
		if r, _ := l.Result(qt); r.Opcode == abi.OpPop {
			assert.Equal(t, want[i], string(Bytes(&r.SGA)), "%d", i)
			mem.Free(r.SGA.Buf.Pointer())
		}
	}
	l.Seek(qd, 0, unix.SEEK_SET)
	assert.Equal(t, "0123456789abc", string(l.Rest(qd)))
}

func fileSeek(t *testing.T, o *FileOptions) {
	l := Open(t, &o.Options, nil)
	qd := l.File(o, t, appending)
	l.Pushed(qd, Text(t, "01234"))
	l.Pushed(qd, Text(t, "56789"))
	l.Seek(qd, 0, unix.SEEK_SET)
	for _, c := range []struct {
		offset int64
		whence int
		want   abi.Errno
		at     string
	}{
		{3, unix.SEEK_SET, 0, "3"}, {2, unix.SEEK_CUR, 0, "6"}, {-7, unix.SEEK_CUR, 0, "0"}, {-2, unix.SEEK_CUR, unix.EINVAL, "1"},
		{-1, unix.SEEK_SET, unix.EINVAL, "2"}, {-11, unix.SEEK_END, unix.EINVAL, "3"}, {0, 99, unix.EINVAL, "4"},
		{0, -1, unix.EINVAL, "5"}, {1<<63 - 1, unix.SEEK_CUR, unix.EOVERFLOW, "6"}, {-1, unix.SEEK_END, 0, "9"},
		{0, unix.SEEK_END, 0, ""}, {-10, unix.SEEK_CUR, 0, "0"},
	} {
		assert.Equal(t, c.want, l.Lseek(qd, c.offset, c.whence), "%d %d", c.offset, c.whence)
		assert.Equal(t, c.at, string(l.Popped(l.Token(l.Pop(qd, 1)))[0]), "%d %d", c.offset, c.whence)
	}
	if o.Logs {
		assert.Equal(t, unix.EINVAL, l.Lseek(qd, 1, unix.SEEK_END))
		assert.Equal(t, unix.EINVAL, l.Lseek(qd, 11, unix.SEEK_SET))
	}
	// It awaits what was started before.
	a, b := l.Token(l.Push(qd, Text(t, "x"))), l.Token(l.Pop(qd, 1))
	l.Seek(qd, -1, unix.SEEK_CUR)
	for _, qt := range []uint64{a, b} {
		assert.EqualValues(t, abi.TokenDone, l.Engine.Token(qt).State)
	}
	assert.Empty(t, l.Popped(b)[0])
	assert.Equal(t, "x", l.PopText(qd))
	q, err := l.Queue()
	require.Zero(t, err)
	assert.Equal(t, unix.ENOTSUP, l.Lseek(q, 0, 0))
}

func fileLarge(t *testing.T, o *FileOptions) {
	l := Open(t, &o.Options, nil)
	qd := l.File(o, t, appending)
	part := bytes.Repeat([]byte("0123456789abcdef"), 4<<20/16)
	qts := []uint64{l.Token(l.Push(qd, Array(t, part, part[:1<<20+1], part))), l.Token(l.Push(qd, Text(t, "behind")))}
	for _, qt := range qts {
		_, err := l.Wait(qt)
		require.Zero(t, err)
	}
	l.Seek(qd, 0, unix.SEEK_SET)
	n := 9<<20 + 1
	got := l.Popped(l.Token(l.Pop(qd, uint64(n))))[0]
	require.Len(t, got, n)
	assert.True(t, bytes.Equal(part, got[:4<<20]) && bytes.Equal(part, got[5<<20+1:]))
	assert.Equal(t, "behind", l.PopText(qd))
}

func fileMany(t *testing.T, o *FileOptions) {
	l := Open(t, &o.Options, nil)
	const files, each = 60, 5
	var qds []int32
	var qts []uint64
	for i := range files {
		qd, err := l.TryFile(fmt.Sprint(pathOf(o, t), i), appending)
		require.Zero(t, err)
		qds = append(qds, qd)
		for j := range each {
			qts = append(qts, l.Token(l.Push(qd, Text(t, fmt.Sprintf("%d.%d ", i, j)))))
		}
	}
	for _, qt := range qts {
		_, err := l.Wait(qt)
		require.Zero(t, err)
	}
	for i, qd := range qds {
		l.Seek(qd, 0, unix.SEEK_SET)
		want := ""
		for j := range each {
			want += fmt.Sprintf("%d.%d ", i, j)
		}
		assert.Equal(t, want, string(l.Rest(qd)))
		require.Zero(t, l.CloseQueue(qd))
	}
}
