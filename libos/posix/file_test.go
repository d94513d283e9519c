package posix

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

func TestFileReadWrite(t *testing.T) {
	eachBackend(t, func(r *rig) {
		path := filepath.Join(r.TempDir(), "f")
		qd := r.open(path, unix.O_RDWR|unix.O_CREAT)
		r.waitOK(r.push(qd, "hello"))
		r.waitOK(r.push(qd, ", ", "", "world"))
		r.waitOK(r.push(qd, ""))
		r.waitOK(r.push(qd, "", "", ""))
		assert.Equal(r, "hello, world", r.content(path))
		assert.Empty(r, r.waitOK(r.pop(qd, 0)), "end of file")
		assert.Empty(r, r.waitOK(r.pop(qd, 1)), "still")
		require.Zero(r, r.eng.Lseek(qd, 0, unix.SEEK_SET))
		assert.Equal(r, "hel", r.waitOK(r.pop(qd, 3)))
		assert.Equal(r, "lo, world", r.waitOK(r.pop(qd, 0)))
		require.Zero(r, r.eng.Lseek(qd, -5, unix.SEEK_END))
		r.waitOK(r.push(qd, "W"))
		assert.Equal(r, "orld", r.waitOK(r.pop(qd, 5000)))
		assert.Equal(r, "hello, World", r.content(path))
		r.close(qd)
	})
}

func TestFileLarge(t *testing.T) {
	eachBackend(t, func(r *rig) {
		path := r.file("")
		qd := r.open(path, unix.O_RDWR)
		part := strings.Repeat("0123456789abcdef", 1<<16)
		r.waitOK(r.push(qd, part, part, part))
		require.Zero(r, r.eng.Lseek(qd, 0, unix.SEEK_SET))
		assert.Len(r, r.waitOK(r.pop(qd, 0)), 16<<10, "limit of the configuration")
		require.Zero(r, r.eng.Lseek(qd, 0, unix.SEEK_SET))
		got := r.waitOK(r.pop(qd, 64<<20))
		assert.True(r, got == part+part+part)

		sga := r.carray("x")
		sga.Segs[0].Len = 64<<20 + 1 // never looked at
		_, err := r.eng.Push(qd, sga)
		assert.Equal(r, unix.EMSGSIZE, err)
		_, err = r.eng.Pop(qd, 64<<20+1)
		assert.Equal(r, unix.EMSGSIZE, err)
	})
}

// Operations on one file run one at a time, in the order in which they were started.
func TestFileOrder(t *testing.T) {
	eachBackend(t, func(r *rig) {
		path := r.file(strings.Repeat("-", 100))
		qd := r.open(path, unix.O_RDWR)
		var qts []uint64
		for i := range 10 {
			qts = append(qts, r.push(qd, fmt.Sprint("<", i), ">"), r.pop(qd, 2))
		}
		for !r.done(qts[len(qts)-1]) {
			r.eng.Drive(1)
		}
		last := uint64(0)
		for i, qt := range qts {
			seq := r.eng.Token(qt).Seq
			assert.Less(r, last, seq)
			last = seq
			if got := r.waitOK(qt); i%2 == 1 {
				assert.Equal(r, "--", got)
			}
		}
		assert.True(r, strings.HasPrefix(r.content(path), "<0>--<1>--<2>--"))
	})
}

func TestFileOpen(t *testing.T) {
	eachBackend(t, func(r *rig) {
		dir := r.TempDir()
		at := func(n string) string { return filepath.Join(dir, n) }
		require.NoError(r, os.WriteFile(at("file"), []byte("abc"), 0o600))
		require.NoError(r, unix.Mkfifo(at("fifo"), 0o600))
		require.NoError(r, os.Symlink(at("file"), at("link")))
		s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		require.NoError(r, err)
		defer unix.Close(s)
		require.NoError(r, unix.Bind(s, &unix.SockaddrUnix{Name: at("sock")}))
		before := openFds(t)
		for _, tt := range []struct {
			path  string
			flags int
			want  abi.Errno
		}{
			{at("fifo"), unix.O_RDONLY, unix.ENOTSUP},
			{at("fifo"), unix.O_WRONLY, unix.ENOTSUP},
			{at("fifo"), unix.O_RDWR, unix.ENOTSUP},
			{at("fifo"), unix.O_PATH, unix.ENOTSUP},
			{at("sock"), unix.O_RDWR, unix.ENOTSUP},
			{dir, unix.O_RDONLY, unix.ENOTSUP},
			{dir, unix.O_RDONLY | unix.O_DIRECTORY, unix.ENOTSUP},
			{dir, unix.O_WRONLY, unix.ENOTSUP},
			{"/proc/self/fd", unix.O_RDONLY, unix.ENOTSUP},
			{at("none"), unix.O_RDONLY, unix.ENOENT},
			{"", unix.O_RDONLY, unix.ENOENT},
			{at("none") + "/x", unix.O_RDONLY, unix.ENOENT},
			{at("file") + "/x", unix.O_RDONLY, unix.ENOTDIR},
			{at("file"), unix.O_RDONLY | unix.O_DIRECTORY, unix.ENOTDIR},
			{at("file"), unix.O_RDWR | unix.O_CREAT | unix.O_EXCL, unix.EEXIST},
			{at("link"), unix.O_RDONLY | unix.O_NOFOLLOW, unix.ELOOP},
			{at("link"), unix.O_PATH | unix.O_NOFOLLOW, unix.ENOTSUP},
			{at(strings.Repeat("x", 300)), unix.O_RDONLY, unix.ENAMETOOLONG},
		} {
			_, err := r.tryOpen(tt.path, tt.flags)
			assert.Equal(r, tt.want, err, "%s %#x", tt.path, tt.flags)
		}
		assert.ElementsMatch(r, before, openFds(t))

		for _, flags := range []int{unix.O_RDWR | unix.O_NONBLOCK, unix.O_RDWR | unix.O_CLOEXEC, unix.O_RDWR | unix.O_SYNC} {
			qd := r.open(at("link"), flags)
			assert.Equal(r, "abc", r.waitOK(r.pop(qd, 0)))
			r.close(qd)
		}
		qd := r.open(dir, unix.O_TMPFILE|unix.O_RDWR)
		r.waitOK(r.push(qd, "x"))
		r.close(qd)
		assert.ElementsMatch(r, before, openFds(t))
	})
}

func TestFileCloseOnExec(t *testing.T) {
	eachBackend(t, func(r *rig) {
		qd := r.open(r.file("x"), unix.O_RDONLY)
		r.waitOK(r.pop(qd, 0))
		for _, fd := range []int{r.os.epfd, r.os.files.be.fd(), r.os.files.slots[0].fd} {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			require.NoError(r, err)
			assert.NotZero(r, flags&unix.FD_CLOEXEC)
		}
	})
}

func TestFileDirections(t *testing.T) {
	eachBackend(t, func(r *rig) {
		path := r.file("abc")
		for _, tt := range []struct {
			flags     int
			push, pop abi.Errno
		}{
			{unix.O_RDONLY, unix.EBADF, 0},
			{unix.O_WRONLY, 0, unix.EBADF},
			{unix.O_RDWR, 0, 0},
			{unix.O_PATH, unix.EBADF, unix.EBADF},
			{unix.O_ACCMODE, unix.EBADF, unix.EBADF},
		} {
			qd := r.open(path, tt.flags)
			_, err := r.eng.Push(qd, r.carray("x"))
			assert.Equal(r, tt.push, err)
			_, err = r.eng.Pop(qd, 0)
			assert.Equal(r, tt.pop, err)
			_, err = r.eng.Accept(qd)
			assert.Equal(r, unix.ENOTSUP, err)
			r.drive()
			r.close(qd)
		}
	})
}

func TestFileAppend(t *testing.T) {
	eachBackend(t, func(r *rig) {
		path := r.file("123")
		a := r.open(path, unix.O_RDWR|unix.O_APPEND)
		b := r.open(path, unix.O_WRONLY|unix.O_APPEND)
		assert.Equal(r, "1", r.waitOK(r.pop(a, 1)))
		qts := []uint64{r.push(a, "a"), r.push(a, "aa"), r.pop(a, 0)}
		for _, qt := range qts {
			assert.Empty(r, r.waitOK(qt), "a pop after an append is at the end of the file")
		}
		r.waitOK(r.push(b, "bbb"))
		assert.Equal(r, "bbb", r.waitOK(r.pop(a, 0)))
		require.Zero(r, r.eng.Lseek(a, 2, unix.SEEK_SET))
		assert.Equal(r, "3a", r.waitOK(r.pop(a, 2)))
		r.waitOK(r.push(a, "end"))
		assert.Equal(r, "123aaabbbend", r.content(path))
	})
}

func TestFileLseek(t *testing.T) {
	eachBackend(t, func(r *rig) {
		qd := r.open(r.file("0123456789"), unix.O_RDWR)
		for _, tt := range []struct {
			offset int64
			whence int
			want   abi.Errno
			at     string
		}{
			{3, unix.SEEK_SET, 0, "3"},
			{2, unix.SEEK_CUR, 0, "6"},
			{-7, unix.SEEK_CUR, 0, "0"},
			{-2, unix.SEEK_CUR, unix.EINVAL, "1"},
			{-1, unix.SEEK_SET, unix.EINVAL, "2"},
			{-11, unix.SEEK_END, unix.EINVAL, "3"},
			{0, 99, unix.EINVAL, "4"},
			{0, -1, unix.EINVAL, "5"},
			{1<<63 - 1, unix.SEEK_CUR, unix.EOVERFLOW, "6"},
			{1<<63 - 1, unix.SEEK_END, unix.EINVAL, "7"},
			{-1, unix.SEEK_END, 0, "9"},
			{5, unix.SEEK_END, 0, ""},
			{-15, unix.SEEK_CUR, 0, "0"},
		} {
			assert.Equal(r, tt.want, r.eng.Lseek(qd, tt.offset, tt.whence), "%d %d", tt.offset, tt.whence)
			assert.Equal(r, tt.at, r.waitOK(r.pop(qd, 1)), "%d %d", tt.offset, tt.whence)
		}

		// It awaits what was started before.
		require.Zero(r, r.eng.Lseek(qd, 0, unix.SEEK_SET))
		first, second, third := r.pop(qd, 4), r.push(qd, "ab"), r.pop(qd, 1)
		require.Zero(r, r.eng.Lseek(qd, -1, unix.SEEK_CUR))
		assert.True(r, r.done(first) && r.done(second) && r.done(third))
		assert.Equal(r, "6", r.waitOK(r.pop(qd, 1)))
		assert.Equal(r, "0123", r.waitOK(first))
		assert.Equal(r, "6", r.waitOK(third))
		sock, err := r.eng.Open(&engine.Args{Kind: engine.KindStream})
		require.Zero(r, err)
		assert.Equal(r, unix.ENOTSUP, r.eng.Lseek(sock, 0, 0))
	})
}

func TestFileDevices(t *testing.T) {
	eachBackend(t, func(r *rig) {
		zero := r.open("/dev/zero", unix.O_RDWR)
		assert.Equal(r, strings.Repeat("\x00", 16<<10), r.waitOK(r.pop(zero, 0)))
		null := r.open("/dev/null", unix.O_RDWR)
		r.waitOK(r.push(null, "x", "y", "z"))
		assert.Empty(r, r.waitOK(r.pop(null, 0)))
		random := r.open("/dev/urandom", unix.O_RDONLY)
		assert.Len(r, r.waitOK(r.pop(random, 99)), 99)
		full := r.open("/dev/full", unix.O_RDWR)
		_, err := r.wait(r.push(full, "x"))
		assert.Equal(r, unix.ENOSPC, err)
		assert.Len(r, r.waitOK(r.pop(full, 7)), 7, "the queue goes on")
	})
}

// terminal opens both sides of a new pseudo terminal, the slave as a queue.
func (r *rig) terminal() (master *os.File, qd int32) {
	r.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(r, err)
	r.Cleanup(func() { master.Close() })
	require.NoError(r, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(r, err)
	return master, r.open(fmt.Sprint("/dev/pts/", n), unix.O_RDWR|unix.O_NOCTTY)
}

// A device that is not ready is waited for in the epoll set, and holds up nobody.
func TestFileTerminal(t *testing.T) {
	eachBackend(t, func(r *rig) {
		master, qd := r.terminal()
		defer master.Close()
		assert.Equal(r, unix.ESPIPE, r.eng.Lseek(qd, 0, 0))
		pop, push := r.pop(qd, 0), r.push(qd, "answer\n")
		other := r.open(r.file("other"), unix.O_RDONLY)
		assert.Equal(r, "other", r.waitOK(r.pop(other, 0)))
		r.drive()
		assert.False(r, r.done(pop))
		_, err := master.WriteString("question\n")
		require.NoError(r, err)
		r.sleep(pop)
		assert.Equal(r, "question\n", r.waitOK(pop))
		r.waitOK(push)

		dropped := r.pop(qd, 0)
		r.drive()
		require.Zero(r, r.eng.Drop(dropped))
		pop = r.pop(qd, 0)
		_, err = master.WriteString("again\n")
		require.NoError(r, err)
		assert.Equal(r, "again\n", r.waitOK(pop))
		closed := r.pop(qd, 0)
		r.drive()
		r.close(qd)
		_, no := r.wait(closed)
		assert.Equal(r, unix.ECANCELED, no)
	})
}

// sleep does as a blocked wait: arms, and sleeps until the token is done.
func (r *rig) sleep(qt uint64) {
	r.Helper()
	start := time.Now()
	for naps := 0; !r.done(qt); naps++ {
		r.eng.Arm()
		fds := [1]unix.PollFd{{Fd: int32(r.os.epfd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds[:], 5000)
		if err != unix.EINTR {
			require.NoError(r, err)
			require.Equal(r, 1, n, "nothing woke the sleeper")
		}
		r.eng.Drive(1)
		require.Less(r, naps, 1000, "woken again and again for nothing")
		require.Less(r, time.Since(start), 20*time.Second)
	}
}

func TestFileSleep(t *testing.T) {
	eachBackend(t, func(r *rig) {
		path := r.file("")
		qd := r.open(path, unix.O_RDWR|unix.O_SYNC)
		for i := range 20 {
			qt := r.push(qd, strings.Repeat("x", i*1000))
			r.sleep(qt)
			r.waitOK(qt)
		}
		// All is quiet when nothing is under way.
		r.eng.Drive(1)
		r.eng.Arm()
		fds := [1]unix.PollFd{{Fd: int32(r.os.epfd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds[:], 0)
		require.NoError(r, err)
		assert.Zero(r, n)
	})
}

// More files and operations than the backend takes at a time.
func TestFileMany(t *testing.T) {
	eachBackend(t, func(r *rig) {
		const files, each = 1000, 3
		dir := r.TempDir()
		qds := make([]int32, files)
		var qts []uint64
		for i := range qds {
			qds[i] = r.open(filepath.Join(dir, fmt.Sprint(i)), unix.O_RDWR|unix.O_CREAT)
			for j := range each {
				qts = append(qts, r.push(qds[i], fmt.Sprintf("%d.%d ", i, j)))
			}
		}
		for _, qt := range qts {
			r.waitOK(qt)
		}
		for _, qd := range qds {
			require.Zero(r, r.eng.Lseek(qd, 0, unix.SEEK_SET))
		}
		qts = qts[:0]
		for _, qd := range qds {
			qts = append(qts, r.pop(qd, 0))
		}
		for i, qt := range qts {
			assert.Equal(r, fmt.Sprintf("%d.0 %d.1 %d.2 ", i, i, i), r.waitOK(qt))
		}
		for _, qd := range qds {
			r.close(qd)
		}
		assert.False(r, r.os.files.pending())
	})
}

func TestFileAllocs(t *testing.T) {
	eachBackend(t, func(r *rig) {
		qd := r.open(r.file(strings.Repeat("x", 100_000)), unix.O_RDWR)
		sga := r.carray("one", "two")
		turn := func() {
			qt, err := r.eng.Push(qd, sga)
			if err != 0 {
				panic(err)
			}
			pop, err := r.eng.Pop(qd, 10)
			if err != 0 {
				panic(err)
			}
			for r.eng.Token(pop).State != abi.TokenDone {
				r.eng.Drive(1)
				r.eng.Arm()
			}
			r.eng.Drop(qt)
			r.eng.Drop(pop)
		}
		turn()
		assert.Zero(r, testing.AllocsPerRun(1000, turn))
	})
}
