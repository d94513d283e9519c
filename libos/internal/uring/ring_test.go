package uring

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/mem"
)

// log has the results in the order in which they came.
type log struct {
	data []uint64
	res  []int32
}

func (l *log) Ended(data uint64, res int32) { l.data, l.res = append(l.data, data), append(l.res, res) }

func newRing(t *testing.T, entries uint32) (*Ring, *log) {
	l := &log{}
	r, err := New(entries, l)
	if err == unix.ENOSYS || err == unix.EPERM {
		t.Skip("no io_uring here: ", err)
	}
	require.Zero(t, err)
	t.Cleanup(r.Close)
	return r, l
}

// until waits for n results.
func (l *log) until(r *Ring, n int) {
	for len(l.data) < n {
		r.Wait()
	}
}

func TestEntryLayout(t *testing.T) {
	assert.EqualValues(t, sizeofSQE, unsafe.Sizeof(Entry{}))
	assert.EqualValues(t, sizeofCQE, unsafe.Sizeof(result{}))
	assert.EqualValues(t, 120, unsafe.Sizeof(params{}))
}

func TestReadWrite(t *testing.T) {
	r, l := newRing(t, 8)
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	defer f.Close()
	p := mem.Map(8192)
	defer mem.Unmap(p, 8192)
	buf := unsafe.Slice((*byte)(p), 8192)
	copy(buf, "hello")
	fd, addr := int32(f.Fd()), uint64(uintptr(p))
	r.Put(Entry{Op: OpWrite, FD: fd, Off: 3, Addr: addr, N: 5, OpFlag: unix.RWF_DSYNC, Data: 7})
	l.until(r, 1)
	r.Put(Entry{Op: OpFsync, FD: fd, OpFlag: FsyncData, Data: 8})
	l.until(r, 2)
	r.Put(Entry{Op: OpRead, FD: fd, Addr: addr + 4096, N: 4096, Data: 9, Flags: Async})
	l.until(r, 3)
	assert.Equal(t, []uint64{7, 8, 9}, l.data)
	assert.Equal(t, []int32{5, 0, 8}, l.res)
	assert.Equal(t, "\x00\x00\x00hello", string(buf[4096:4104]))
	// The length and the mode of fallocate(2) have each other's places.
	r.Put(Entry{Op: OpFallocate, FD: fd, Addr: 4096, N: unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, Data: 10})
	r.Put(Entry{Op: OpRead, FD: -1, Addr: addr, N: 1, Data: 11})
	l.until(r, 5)
	assert.ElementsMatch(t, []uint64{10, 11}, l.data[3:])
	assert.ElementsMatch(t, []int32{0, -int32(unix.EBADF)}, l.res[3:])
	content, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	assert.Equal(t, make([]byte, 8), content)
}

// What nobody is told of is counted all the same, so that there is room again.
func TestRoom(t *testing.T) {
	r, l := newRing(t, 4)
	for round := range 10 {
		for i := range 4 {
			require.True(t, r.Room(), "%d %d", round, i)
			r.Put(Entry{Op: OpNop, Data: uint64(i)})
		}
		require.False(t, r.Room())
		r.Wake()
		l.until(r, 4*(round+1))
		r.Poll()
		assert.Zero(t, r.unanswered)
	}
}

func TestWake(t *testing.T) {
	r, l := newRing(t, 4)
	readable := func() bool {
		fds := [1]unix.PollFd{{Fd: int32(r.FD()), Events: unix.POLLIN}}
		n, err := unix.Poll(fds[:], 0)
		require.NoError(t, err)
		return n == 1
	}
	assert.False(t, readable())
	r.Wake()
	assert.True(t, readable())
	r.Poll()
	assert.False(t, readable())
	assert.Empty(t, l.data)
}

func TestCancel(t *testing.T) {
	r, l := newRing(t, 4)
	var p [2]int
	require.NoError(t, unix.Pipe2(p[:], unix.O_CLOEXEC))
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	block := mem.Map(4096)
	defer mem.Unmap(block, 4096)
	runtime.LockOSThread() // whose end would cancel it
	defer runtime.UnlockOSThread()
	r.Put(Entry{Op: OpRead, FD: int32(p[0]), Off: ^uint64(0), Addr: uint64(uintptr(block)), N: 1, Data: 1})
	r.Poll()
	assert.Empty(t, l.data)
	r.Cancel(1)
	l.until(r, 1)
	assert.Contains(t, []int32{-int32(unix.ECANCELED), -int32(unix.EINTR)}, l.res[0])
}

// A descriptor that somebody has closed makes errors, not silence.
func TestLost(t *testing.T) {
	r, l := newRing(t, 4)
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Dup3(null, r.FD(), unix.O_CLOEXEC))
	unix.Close(null)
	r.Put(Entry{Op: OpNop, Data: 1})
	r.Put(Entry{Op: OpNop, Data: 2})
	r.Poll()
	assert.Equal(t, []uint64{2, 1}, l.data)
	assert.Equal(t, []int32{-int32(unix.EOPNOTSUPP), -int32(unix.EOPNOTSUPP)}, l.res)
	assert.True(t, r.Room())
}

func TestRefused(t *testing.T) {
	_, err := New(0, &log{})
	if err != unix.ENOSYS && err != unix.EPERM {
		assert.Equal(t, unix.EINVAL, err)
	}
}
