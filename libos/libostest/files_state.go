package libostest

import (
	"bytes"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

func fileFlags(t *testing.T, o *FileOptions) {
	l := Open(t, &o.Options, nil)
	path := pathOf(o, t)
	for _, c := range []struct {
		path  string
		flags int
		want  abi.Errno
	}{
		{path, unix.O_RDWR, unix.ENOENT},
		{"", unix.O_RDWR, unix.ENOENT},
		{"", appending, unix.ENOENT},
		{o.Prefix + strings.Repeat("x", 300), appending, unix.ENAMETOOLONG},
		{path, appending | unix.O_EXCL, 0},
		{path, appending | unix.O_EXCL, unix.EEXIST},
		{path, unix.O_RDONLY | unix.O_DIRECTORY, unix.ENOTDIR},
		{path, unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_SYNC, 0},
	} {
		qd, err := l.TryFile(c.path, c.flags)
		assert.Equal(t, c.want, err, "%s %#x", c.path, c.flags)
		if err == 0 {
			require.Zero(t, l.CloseQueue(qd))
		}
	}
	for _, c := range []struct {
		flags     int
		push, pop abi.Errno
	}{
		{unix.O_RDONLY, unix.EBADF, 0}, {unix.O_WRONLY | unix.O_APPEND, 0, unix.EBADF}, {unix.O_RDWR | unix.O_APPEND, 0, 0},
		{unix.O_ACCMODE, unix.EBADF, unix.EBADF},
	} {
		qd := l.File(o, t, c.flags)
		_, err := l.Push(qd, Text(t, "x"))
		assert.Equal(t, c.push, err)
		_, err = l.Pop(qd, 0)
		assert.Equal(t, c.pop, err)
		_, err = l.Engine.Accept(qd)
		assert.Equal(t, unix.ENOTSUP, err)
		require.Zero(t, l.CloseQueue(qd))
	}
}

func fileLimits(t *testing.T, o *FileOptions) {
	l := Open(t, &o.Options, func(c *config.Config) { c.Limits.MaxMessage, c.Limits.MaxPop = 100_000, 100_000 })
	qd := l.File(o, t, appending)
	l.Pushed(qd, Array(t, make([]byte, 50_000), make([]byte, 50_000)))
	_, err := l.Push(qd, Array(t, make([]byte, 50_000), make([]byte, 50_001)))
	assert.Equal(t, unix.EMSGSIZE, err)
	_, err = l.Pop(qd, 100_001)
	assert.Equal(t, unix.EMSGSIZE, err)
	l.Seek(qd, 0, unix.SEEK_SET)
	assert.Len(t, l.Rest(qd), 100_000)
}

// A close cancels what is pending. What it has reported as done is in the file, in order, and what is in there is whole.
func fileCloseCancels(t *testing.T, o *FileOptions) {
	l := Open(t, &o.Options, nil)
	const each = 10_000
	for round := range 10 {
		qd := l.File(o, t, appending|unix.O_TRUNC)
		var qts []uint64
		m := Memory(t, 50*each)
		for i := range 50 {
			part := m[i*each : (i+1)*each]
			copy(part, bytes.Repeat([]byte{byte('0' + i)}, each))
			qts = append(qts, l.Token(l.Push(qd, Given(part))))
		}
		for range round {
			l.Step()
		}
		pop := l.Token(l.Pop(qd, 10))
		require.Zero(t, l.CloseQueue(qd))
		clear(m) // it is the program's again
		_, err := l.Wait(pop)
		assert.Equal(t, unix.ECANCELED, err)
		acked := 0
		for i, qt := range qts {
			switch _, err := l.Wait(qt); err {
			case 0:
				assert.Equal(t, acked, i, "done, but not one before it")
				acked++
			default:
				assert.Equal(t, unix.ECANCELED, err)
			}
		}
		qd = l.File(o, t, unix.O_RDONLY)
		got := l.Rest(qd)
		require.GreaterOrEqual(t, len(got), acked*each)
		require.Zero(t, len(got)%each)
		for i, b := range got {
			require.Equal(t, byte('0'+i/each), b)
		}
		require.Zero(t, l.CloseQueue(qd))
	}
}

// What is dropped is there as a whole or not at all, and the memory is the program's again at once.
func fileDrop(t *testing.T, o *FileOptions) {
	l := Open(t, &o.Options, nil)
	qd := l.File(o, t, appending)
	const n, each = 40, 20_000
	m := Memory(t, n*each)
	var kept []uint64
	for i := range n {
		part := m[i*each : (i+1)*each]
		copy(part, bytes.Repeat([]byte{byte('0' + i)}, each))
		qt := l.Token(l.Push(qd, Given(part)))
		if i%3 == 1 {
			l.Step()
		}
		if i%2 == 0 {
			kept = append(kept, qt)
			continue
		}
		require.Zero(t, l.Drop(qt))
		clear(part)
	}
	for _, qt := range kept {
		_, err := l.Wait(qt)
		require.Zero(t, err)
	}
	l.Seek(qd, 0, unix.SEEK_SET)
	got := l.Rest(qd)
	next := 0
	for ; len(got) > 0; got = got[each:] {
		require.GreaterOrEqual(t, len(got), each)
		require.Equal(t, bytes.Repeat(got[:1], each), got[:each])
		i := int(got[0] - '0')
		require.GreaterOrEqual(t, i, next)
		require.LessOrEqual(t, i, next+next%2, "one that was kept is missing")
		next = i + 1
	}
	assert.GreaterOrEqual(t, next, n-1)

	// A pop that is dropped leaves the position where it was, or where it would be.
	l.Seek(qd, 0, unix.SEEK_SET)
	pop := l.Token(l.Pop(qd, 10))
	require.Zero(t, l.Drop(pop))
	l.Seek(qd, 0, unix.SEEK_SET)
	assert.Equal(t, "0000000000", string(l.Popped(l.Token(l.Pop(qd, 10)))[0]))
	first, second := l.Token(l.Pop(qd, 10)), l.Token(l.Push(qd, Text(t, "end")))
	require.Zero(t, l.Drop(first))
	_, err := l.Wait(second)
	assert.Zero(t, err, "goes on behind a dropped pop")
}

// Given makes an array of memory as it is.
func Given(m []byte) *abi.SGArray {
	return &abi.SGArray{NumSegs: 1, Segs: [abi.MaxSegs]abi.Seg{{Buf: abi.PtrTo(unsafe.Pointer(unsafe.SliceData(m))), Len: uint32(len(m))}}}
}

func fileOwn(t *testing.T, o *FileOptions) {
	l := Open(t, &o.Options, nil)
	qd := l.File(o, t, appending)
	m := Memory(t, 300_000)
	want := bytes.Repeat([]byte("own"), 100_000)
	for range 5 {
		copy(m, want)
		qt := l.Token(l.Push(qd, Given(m)))
		err := l.Own(qt)
		if !o.Logs {
			assert.Contains(t, []abi.Errno{0, unix.ENOTSUP}, err)
			_, err = l.Wait(qt)
			assert.Zero(t, err)
			continue
		}
		require.Zero(t, err)
		clear(m)
		r, err := l.Wait(qt)
		assert.Zero(t, err)
		assert.Equal(t, *Given(m), r.SGA, "the array is echoed")
	}
	l.Seek(qd, 0, unix.SEEK_SET)
	assert.True(t, bytes.Equal(bytes.Repeat(want, 5), l.Rest(qd)))
}

func fileReopen(t *testing.T, o *FileOptions) {
	var want []byte
	for round := range 4 {
		l := Open(t, &o.Options, nil)
		qd := l.File(o, t, appending)
		l.Seek(qd, 0, unix.SEEK_SET)
		require.True(t, bytes.Equal(want, l.Rest(qd)), "round %d", round)
		for i := range 20 {
			m := bytes.Repeat([]byte{byte(round*20 + i)}, 1+i*i*100)
			l.Pushed(qd, Array(t, m))
			want = append(want, m...)
		}
		if round%2 == 0 {
			require.Zero(t, l.CloseQueue(qd))
		}
		l.Stop()
	}
}

func fileTrim(t *testing.T, o *FileOptions) {
	l := Open(t, &o.Options, nil)
	qd := l.File(o, t, appending)
	const n = 10_000
	want := make([]byte, n)
	for i := range 10 {
		m := bytes.Repeat([]byte{byte('a' + i)}, n)
		l.Token(l.Push(qd, Array(t, m)))
		want = append(want, m...)
	}
	require.Zero(t, l.Trim(qd, 5*n), "awaits what was started before")
	assert.Equal(t, unix.EINVAL, l.Trim(qd, -1))
	assert.Equal(t, unix.EINVAL, l.Trim(qd, 10*n+1))
	assert.Equal(t, unix.ENOENT, l.Trim(0x3fffffff, 0))
	l.Seek(qd, 5*n, unix.SEEK_SET)
	assert.True(t, bytes.Equal(want[6*n:], l.Rest(qd)))
	if o.Logs {
		assert.Equal(t, unix.EINVAL, l.Lseek(qd, 5*n-1, unix.SEEK_SET))
		assert.Equal(t, unix.EINVAL, l.Trim(qd, 4*n))
	} else {
		l.Seek(qd, 4*n, unix.SEEK_SET)
		assert.Equal(t, make([]byte, n), l.Popped(l.Token(l.Pop(qd, n)))[0])
	}
	rd := l.File(o, t, unix.O_RDONLY)
	assert.Equal(t, unix.EBADF, l.Trim(rd, 0))
	if o.Logs {
		assert.True(t, bytes.Equal(want[6*n:], l.Rest(rd)), "begins with the oldest byte kept")
	}
	q, err := l.Queue()
	require.Zero(t, err)
	assert.Equal(t, unix.ENOTSUP, l.Trim(q, 0))
}

func fileTruncate(t *testing.T, o *FileOptions) {
	l := Open(t, &o.Options, nil)
	qd := l.File(o, t, appending)
	l.Pushed(qd, Text(t, "old"))
	require.Zero(t, l.CloseQueue(qd))
	qd = l.File(o, t, appending|unix.O_TRUNC)
	assert.Empty(t, l.PopText(qd))
	l.Pushed(qd, Text(t, "new"))
	require.Zero(t, l.CloseQueue(qd))
	qd = l.File(o, t, unix.O_RDONLY)
	assert.Equal(t, "new", string(l.Rest(qd)))
}

func fileUnlink(t *testing.T, o *FileOptions) {
	l := Open(t, &o.Options, nil)
	path := pathOf(o, t)
	assert.Equal(t, unix.ENOENT, l.Unlink(path))
	assert.Equal(t, unix.ENOENT, l.Unlink(""))
	qd := l.File(o, t, appending)
	l.Pushed(qd, Text(t, "first"))
	require.Zero(t, l.Unlink(path))
	_, err := l.TryFile(path, unix.O_RDONLY)
	assert.Equal(t, unix.ENOENT, err)
	l.Pushed(qd, Text(t, " goes on"))
	other := l.File(o, t, appending)
	l.Pushed(other, Text(t, "second"))
	l.Seek(qd, 0, unix.SEEK_SET)
	l.Seek(other, 0, unix.SEEK_SET)
	assert.Equal(t, "first goes on", string(l.Rest(qd)))
	assert.Equal(t, "second", string(l.Rest(other)))
}

// Two queues of one file have a position each.
func fileShared(t *testing.T, o *FileOptions) {
	l := Open(t, &o.Options, nil)
	wr, rd := l.File(o, t, unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND), l.File(o, t, unix.O_RDONLY)
	for _, s := range []string{"one", "two", "three"} {
		assert.Empty(t, l.PopText(rd))
		l.Pushed(wr, Text(t, s))
		assert.Equal(t, s, l.PopText(rd))
	}
	require.Zero(t, l.CloseQueue(wr))
	l.Seek(rd, 0, unix.SEEK_SET)
	assert.Equal(t, "onetwothree", string(l.Rest(rd)))
}

// A thread that sleeps on the descriptors is woken for each completion, and not for nothing.
func fileSleep(t *testing.T, o *FileOptions) {
	l := Open(t, &o.Options, nil)
	qd := l.File(o, t, appending)
	sleep := func(timeout int) int {
		l.Arm()
		ctl := l.Control()
		var fds [abi.MaxWaitFds]unix.PollFd
		for i := range ctl.NumFds {
			fds[i] = unix.PollFd{Fd: ctl.Fds[i], Events: unix.POLLIN}
		}
		for {
			n, err := unix.Poll(fds[:ctl.NumFds], timeout)
			if err != unix.EINTR {
				require.NoError(t, err)
				return n
			}
		}
	}
	for i := range 30 {
		qt := l.Token(l.Push(qd, Array(t, make([]byte, i*1000))))
		if i%5 == 4 {
			l.Pushed(qd, Text(t, "behind"))
			l.Seek(qd, 0, unix.SEEK_SET)
			qt = l.Token(l.Pop(qd, 10))
		}
		for naps := 0; l.Engine.Token(qt).State != abi.TokenDone; naps++ {
			require.NotZero(t, sleep(5000), "nothing woke the sleeper")
			l.Drive(1)
			require.Less(t, naps, 1000, "woken again and again for nothing")
		}
		require.Zero(t, l.Drop(qt))
	}
	l.Drive(1)
	assert.Zero(t, sleep(0), "all is quiet when nothing is under way")
}

func fileNoAllocations(t *testing.T, o *FileOptions) {
	l := Open(t, &o.Options, nil)
	qd := l.File(o, t, appending)
	sga := Array(t, []byte("one"), []byte("two"))
	turn := func() {
		var qts [9]uint64
		for i := range qts {
			if i%3 == 2 {
				qts[i], _ = l.Pop(qd, 10)
			} else {
				qts[i], _ = l.Push(qd, sga)
			}
		}
		for _, qt := range qts {
			for l.Engine.Token(qt).State != abi.TokenDone {
				l.Drive(1)
				l.Arm()
			}
			if r, _ := l.Result(qt); r.Opcode == abi.OpPop {
				mem.Free(r.SGA.Buf.Pointer())
			}
		}
	}
	for range 20 {
		turn()
	}
	assert.Zero(t, testing.AllocsPerRun(100, turn))
	l.Seek(qd, 0, unix.SEEK_SET)
	read := func() {
		qt, _ := l.Pop(qd, 6)
		for l.Engine.Token(qt).State != abi.TokenDone {
			l.Drive(1)
		}
		r, _ := l.Result(qt)
		if r.SGA.Segs[0].Len != 6 {
			panic("short read")
		}
		mem.Free(r.SGA.Buf.Pointer())
	}
	for range 20 {
		read()
	}
	assert.Zero(t, testing.AllocsPerRun(100, read))
}
