package posix

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// inChild runs the rest of a test in a process of its own. It returns true in the child.
func inChild(t *testing.T) bool {
	const mark = "DMTR_TEST_CHILD"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v")
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "--- SKIP") {
		t.Skip(string(out))
	}
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS")
	return false
}

// A write beyond the limit on file sizes gives EFBIG. By itself, it would end the process with SIGXFSZ.
func TestFileSizeLimit(t *testing.T) {
	if !inChild(t) {
		return
	}
	var deadly struct{ handler, flags, restorer, mask uintptr } // SIG_DFL, in place of the handler of Go
	_, _, err := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGXFSZ), uintptr(unsafe.Pointer(&deadly)), 0, 8, 0, 0)
	require.Zero(t, err)
	eachBackend(t, func(r *rig) {
		path := r.file("")
		qd := r.open(path, unix.O_WRONLY)
		limitFileSize(t, 10_000)
		qt, after := r.push(qd, strings.Repeat("a", 6_000), strings.Repeat("b", 6_000)), r.push(qd, "c")
		for _, qt := range []uint64{qt, after} {
			_, err := r.wait(qt)
			assert.Equal(r, unix.EFBIG, err)
		}
		limitFileSize(t, unix.RLIM_INFINITY)
		assert.Equal(r, strings.Repeat("a", 6_000)+strings.Repeat("b", 4_000), r.content(path), "what fits is written")
		r.waitOK(r.push(qd, "d"))
		assert.Equal(r, "d", r.content(path)[10_000:], "the position is behind what was written")
		r.close(qd)

		// Unlike others, direct writes are tried by the calling thread first, on all file systems that know them.
		if qd, err := r.tryOpen(r.file(""), unix.O_WRONLY|unix.O_DIRECT); err == 0 {
			page := mem.Map(1 << 16)
			defer mem.Unmap(page, 1<<16)
			limitFileSize(t, 8192)
			qt, err := r.eng.Push(qd, &abi.SGArray{NumSegs: 1, Segs: [3]abi.Seg{{Buf: abi.PtrTo(page), Len: 1 << 16}}})
			require.Zero(r, err)
			_, err = r.wait(qt)
			assert.Equal(r, unix.EFBIG, err)
			limitFileSize(t, unix.RLIM_INFINITY)
			r.close(qd)
		}
	})
}

func limitFileSize(t *testing.T, n uint64) {
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: unix.RLIM_INFINITY}))
}

func TestFileSystemFull(t *testing.T) {
	eachBackend(t, func(r *rig) {
		dir := r.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
			r.Skip("cannot mount: ", err)
		}
		r.Cleanup(func() { // the kernel may hold on to a file for a moment after its close
			assert.Eventually(r, func() bool { return unix.Unmount(dir, 0) == nil }, 10*time.Second, time.Millisecond)
		})
		path := filepath.Join(dir, "f")
		qd := r.open(path, unix.O_RDWR|unix.O_CREAT)
		_, err := r.wait(r.push(qd, strings.Repeat("x", 50_000), strings.Repeat("y", 50_000)))
		assert.Equal(r, unix.ENOSPC, err)
		assert.Len(r, r.content(path), 64<<10, "what fits is written")
		require.Zero(r, r.eng.Lseek(qd, 0, unix.SEEK_SET))
		r.waitOK(r.push(qd, "room"))
		assert.Equal(r, "xxx", r.waitOK(r.pop(qd, 3)))
		r.close(qd)
	})
}

func TestFileBlockDevice(t *testing.T) {
	eachBackend(t, func(r *rig) {
		const size = 64 << 10
		dev := r.loopDevice(strings.Repeat("0123456789abcdef", size/16))
		qd := r.open(dev, unix.O_RDWR)
		require.Zero(r, r.eng.Lseek(qd, -6, unix.SEEK_END))
		assert.Equal(r, "abcdef", r.waitOK(r.pop(qd, 100)))
		assert.Empty(r, r.waitOK(r.pop(qd, 100)))
		_, err := r.wait(r.push(qd, "x"))
		assert.Equal(r, unix.ENOSPC, err)
		require.Zero(r, r.eng.Lseek(qd, 10, unix.SEEK_SET))
		r.waitOK(r.push(qd, "ABC"))
		assert.Equal(r, "def0", r.waitOK(r.pop(qd, 4)))
		r.close(qd)
	})
}

func (r *rig) loopDevice(content string) string {
	r.Helper()
	ctl, err := unix.Open("/dev/loop-control", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		r.Skip("no loop devices: ", err)
	}
	defer unix.Close(ctl)
	n, err := unix.IoctlRetInt(ctl, unix.LOOP_CTL_GET_FREE)
	if err != nil {
		r.Skip("no loop device: ", err)
	}
	dev := "/dev/loop" + string(rune('0'+n))
	loop, err := unix.Open(dev, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		r.Skip("no loop device: ", err)
	}
	defer unix.Close(loop)
	back, err := unix.Open(r.file(content), unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(r, err)
	defer unix.Close(back)
	if err := unix.IoctlSetInt(loop, unix.LOOP_SET_FD, back); err != nil {
		r.Skip("no loop device: ", err)
	}
	r.Cleanup(func() {
		loop, err := unix.Open(dev, unix.O_RDWR|unix.O_CLOEXEC, 0)
		require.NoError(r, err)
		assert.NoError(r, unix.IoctlSetInt(loop, unix.LOOP_CLR_FD, 0))
		unix.Close(loop)
	})
	return dev
}

func TestFileNoDescriptors(t *testing.T) {
	if !inChild(t) {
		return
	}
	for _, uring := range []bool{true, false} {
		r := newRig(t, uring)
		path := r.file("x")
		lower := func(max uint64) {
			require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: max, Max: 4096}))
		}
		lower(3)
		_, err := r.tryOpen(path, unix.O_RDONLY)
		assert.Equal(t, unix.EMFILE, err)
		lower(4096)
		assert.Equal(t, "x", r.waitOK(r.pop(r.open(path, unix.O_RDONLY), 0)), "nothing is wrong afterwards")
		if uring {
			assert.True(t, r.uring(), "a passing lack of descriptors does not turn the ring down")
		}
		lower(3)
		_, err = r.tryOpen(path, unix.O_RDONLY)
		assert.Equal(t, unix.EMFILE, err)
		lower(4096)
	}
}

// Where io_uring is missing or forbidden, the worker thread steps in.
func TestFileRingForbidden(t *testing.T) {
	for _, errno := range []abi.Errno{unix.ENOSYS, unix.EPERM, unix.ENOMEM} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			if !inChild(t) {
				return
			}
			forbid(t, unix.SYS_IO_URING_SETUP, errno)
			r := newRig(t, true)
			path := r.file("")
			qd := r.open(path, unix.O_RDWR)
			assert.False(t, r.uring())
			r.waitOK(r.push(qd, "x"))
			assert.Equal(t, "x", r.content(path))
		})
	}
}

// forbid makes a system call fail in all threads from now on.
func forbid(t *testing.T, nr uint32, errno abi.Errno) {
	const load, jeq, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	filter := []unix.SockFilter{
		{Code: load, K: 0},
		{Code: jeq, K: nr, Jf: 1},
		{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	require.NoError(t, unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	_, _, err := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if err != 0 {
		t.Skip("no seccomp: ", err)
	}
}
