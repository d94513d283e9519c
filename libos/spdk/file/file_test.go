package file

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// done counts the requests that have ended.
type done int

func (d *done) Done(*block.Request) { *d++ }

// image makes a file of a size.
func image(t *testing.T, dir string, size int64) string {
	path := filepath.Join(dir, "drive")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Truncate(path, size))
	return path
}

func opened(t *testing.T, path string) *Device {
	t.Helper()
	d, err := Open(path, false)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(d.Close)
	return d
}

// run does one request.
func run(t testing.TB, d *Device, r *block.Request) abi.Errno {
	t.Helper()
	var n done
	r.Owner = &n
	require.Zero(t, d.Submit(r))
	for start := time.Now(); n == 0; d.Poll() {
		require.Less(t, time.Since(start), 20*time.Second)
	}
	return r.Err
}

// eachKind runs a test on a file, on one in a file system without O_DIRECT (of older kernels) and on a block device.
func eachKind(t *testing.T, test func(t *testing.T, path string)) {
	t.Run("file", func(t *testing.T) { test(t, image(t, t.TempDir(), 1<<20)) })
	t.Run("tmpfs", func(t *testing.T) { test(t, image(t, tmpfs(t, "size=8m"), 1<<20)) })
	t.Run("device", func(t *testing.T) { test(t, loopDevice(t, image(t, t.TempDir(), 1<<20))) })
}

func tmpfs(t *testing.T, options string) string {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skip("cannot mount: ", err)
	}
	t.Cleanup(func() { // the kernel may hold on to a file for a moment after its close
		assert.Eventually(t, func() bool { return unix.Unmount(dir, 0) == nil }, 10*time.Second, time.Millisecond)
	})
	return dir
}

func loopDevice(t *testing.T, path string) string {
	ctl, err := unix.Open("/dev/loop-control", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("no loop devices: ", err)
	}
	defer unix.Close(ctl)
	file, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(file)
	for range 10 { // others may be quicker
		n, err := unix.IoctlRetInt(ctl, unix.LOOP_CTL_GET_FREE)
		require.NoError(t, err)
		name := fmt.Sprint("/dev/loop", n)
		fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		if err = unix.IoctlSetInt(fd, unix.LOOP_SET_FD, file); err == nil {
			t.Cleanup(func() {
				assert.NoError(t, unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0))
				unix.Close(fd)
			})
			return name
		}
		unix.Close(fd)
		require.Equal(t, unix.EBUSY, err)
	}
	t.Skip("no free loop device")
	return ""
}

func TestReadWrite(t *testing.T) {
	eachKind(t, func(t *testing.T, path string) {
		d := opened(t, path)
		info := d.Info()
		b := int(info.BlockSize)
		assert.EqualValues(t, 1<<20, info.Blocks*uint64(b))
		buf := d.Alloc(8 * b)
		defer d.Free(buf)
		assert.Equal(t, make([]byte, 8*b), buf)
		for i := range buf {
			buf[i] = byte(i/b + 1)
		}
		require.Zero(t, run(t, d, &block.Request{Op: block.Write, Block: 3, Buf: buf[:4*b], Durable: true}))
		require.Zero(t, run(t, d, &block.Request{Op: block.Write, Block: info.Blocks - 1, Buf: buf[b : 2*b]}))
		require.Zero(t, run(t, d, &block.Request{Op: block.Flush}))
		require.Zero(t, run(t, d, &block.Request{Op: block.Read, Block: 2, Buf: buf[:6*b]}))
		for i := range 6 {
			assert.Equal(t, bytes.Repeat([]byte{byte(i % 5)}, b), buf[i*b:(i+1)*b], "block %d", i)
		}
		require.Zero(t, run(t, d, &block.Request{Op: block.Discard, Block: 4, Count: 2}))
		require.Zero(t, run(t, d, &block.Request{Op: block.Read, Block: 3, Buf: buf[:4*b]}))
		assert.Equal(t, byte(1), buf[0])
		assert.Equal(t, byte(4), buf[3*b])
		require.Zero(t, run(t, d, &block.Request{Op: block.Read, Block: info.Blocks - 1, Buf: buf[:b]}))
		assert.Equal(t, bytes.Repeat([]byte{2}, b), buf[:b])
	})
}

// A discard gives room back to the file system.
func TestDiscard(t *testing.T) {
	path := image(t, t.TempDir(), 8<<20)
	d := opened(t, path)
	buf := d.Alloc(1 << 20)
	defer d.Free(buf)
	require.Zero(t, run(t, d, &block.Request{Op: block.Write, Buf: buf, Durable: true}))
	used := func() int64 {
		var st unix.Stat_t
		require.NoError(t, unix.Stat(path, &st))
		return st.Blocks * 512
	}
	before := used()
	require.GreaterOrEqual(t, before, int64(1<<20))
	require.Zero(t, run(t, d, &block.Request{Op: block.Discard, Count: 128}))
	assert.LessOrEqual(t, used(), before-512<<10)
}

func TestRefusedRequests(t *testing.T) {
	d := opened(t, image(t, t.TempDir(), 1<<20+5000))
	info := d.Info()
	b := int(info.BlockSize)
	assert.EqualValues(t, (1<<20+5000)/b, info.Blocks, "whole blocks only")
	buf := d.Alloc(maxTransfer + b)
	defer d.Free(buf)
	var n done
	for i, r := range []block.Request{
		{Op: block.Read, Block: info.Blocks, Buf: buf[:b]},
		{Op: block.Read, Block: info.Blocks - 1, Buf: buf[:2*b]},
		{Op: block.Write, Block: ^uint64(0), Buf: buf[:2*b]},
		{Op: block.Write, Block: ^uint64(0) / uint64(b), Buf: buf[:2*b]},
		{Op: block.Read, Buf: nil},
		{Op: block.Read, Buf: buf[:b-1]},
		{Op: block.Read, Buf: buf[1 : b+1]},
		{Op: block.Write, Buf: buf},
		{Op: block.Discard, Block: 1, Count: ^uint64(0)},
		{Op: block.Discard, Block: 0, Count: info.Blocks + 1},
		{Op: block.Discard},
		{Op: 99},
	} {
		r.Owner = &n
		assert.Equal(t, unix.EINVAL, d.Submit(&r), "%d", i)
	}
	d.Poll()
	assert.Zero(t, n)
}

// All of the depth is under way at once, and no more.
func TestDepth(t *testing.T) {
	d := opened(t, image(t, t.TempDir(), 1<<20))
	b := int(d.Info().BlockSize)
	buf := d.Alloc(b * depth)
	defer d.Free(buf)
	var n done
	reqs := make([]block.Request, depth+1)
	for round := 1; round <= 3; round++ {
		for i := range reqs {
			r := &reqs[i]
			*r = block.Request{Op: block.Write, Block: uint64(i), Owner: &n, Durable: i%2 == 0}
			if i == depth {
				r.Buf = buf[:b]
				require.Equal(t, unix.EAGAIN, d.Submit(r))
				break
			}
			r.Buf = buf[i*b : (i+1)*b]
			r.Buf[0] = byte(i + round)
			require.Zero(t, d.Submit(r))
		}
		for int(n) < depth*round {
			d.Poll()
		}
	}
	for i := range depth {
		require.Zero(t, reqs[i].Err)
		require.Zero(t, run(t, d, &block.Request{Op: block.Read, Block: uint64(i), Buf: buf[:b]}))
		require.Equal(t, byte(i+3), buf[0])
	}
}

// chain submits the next request as soon as one has ended.
type chain struct {
	d    *Device
	left int
}

func (c *chain) Done(r *block.Request) {
	if c.left--; c.left > 0 && c.d.Submit(r) != 0 {
		panic("no room in Done")
	}
}

// What has ended, or is submitted from Done, shows on the descriptor after Arm.
func TestSleep(t *testing.T) {
	d := opened(t, image(t, t.TempDir(), 1<<20))
	buf := d.Alloc(int(d.Info().BlockSize))
	defer d.Free(buf)
	c := &chain{d, 50}
	require.Zero(t, d.Submit(&block.Request{Op: block.Write, Buf: buf, Durable: true, Owner: c}))
	for c.left > 0 {
		d.Arm()
		fds := [1]unix.PollFd{{Fd: int32(d.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(fds[:], 5000)
		if err != unix.EINTR {
			require.NoError(t, err)
			require.Equal(t, 1, n, "nothing woke the sleeper")
		}
		d.Poll()
	}
	d.Arm()
	fds := [1]unix.PollFd{{Fd: int32(d.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(fds[:], 0)
	require.NoError(t, err)
	assert.Zero(t, n, "all is quiet")
}

func TestAllocs(t *testing.T) {
	d := opened(t, image(t, t.TempDir(), 1<<20))
	buf := d.Alloc(4096)
	defer d.Free(buf)
	c := &chain{d: d}
	r := &block.Request{Op: block.Write, Buf: buf, Owner: c}
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		c.left = 3
		_ = d.Submit(r)
		for c.left > 0 {
			d.Poll()
			d.Arm()
		}
	}))
}

// One process, one Device. Those that only read can be several.
func TestBusy(t *testing.T) {
	eachKind(t, func(t *testing.T, path string) {
		d, err := Open(path, false)
		require.NoError(t, err)
		for _, readOnly := range []bool{false, true} {
			_, err := Open(path, readOnly)
			assert.ErrorIs(t, err, unix.EBUSY)
		}
		d.Close()
		d, err = Open(path, true)
		require.NoError(t, err)
		_, err = Open(path, false)
		assert.ErrorIs(t, err, unix.EBUSY)
		buf := d.Alloc(4096)
		defer d.Free(buf)
		assert.Equal(t, unix.EROFS, d.Submit(&block.Request{Op: block.Write, Buf: buf}))
		assert.Equal(t, unix.EROFS, d.Submit(&block.Request{Op: block.Discard, Count: 1}))
		assert.Zero(t, run(t, d, &block.Request{Op: block.Read, Buf: buf}))
		d.Close()
	})
}

func TestMounted(t *testing.T) {
	dev := loopDevice(t, image(t, t.TempDir(), 8<<20))
	mkfs(t, dev)
	dir := t.TempDir()
	if err := unix.Mount(dev, dir, "ext4", 0, ""); err != nil {
		t.Skip("cannot mount: ", err)
	}
	_, err := Open(dev, false)
	assert.ErrorIs(t, err, unix.EBUSY)
	require.NoError(t, unix.Unmount(dir, 0))
	opened(t, dev)
}

func TestRefusedFiles(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	require.NoError(t, unix.Mkfifo(at("fifo"), 0o600))
	require.NoError(t, os.WriteFile(at("small"), make([]byte, 4095), 0o600))
	for _, c := range []struct {
		path string
		want abi.Errno
	}{
		{dir, unix.ENOTSUP}, {at("fifo"), unix.ENOTSUP}, {"/dev/null", unix.ENOTSUP}, {at("none"), unix.ENOENT}, {"", unix.ENOENT},
		{at("small"), unix.EINVAL}, {at("small") + "/x", unix.ENOTDIR},
	} {
		_, err := Open(c.path, false)
		assert.ErrorIs(t, err, c.want, c.path)
	}
}

// A file that becomes shorter gives errors, as does a file system that is full.
func TestErrors(t *testing.T) {
	path := image(t, tmpfs(t, "size=128k"), 4<<20)
	d := opened(t, path)
	buf := d.Alloc(1 << 20)
	defer d.Free(buf)
	assert.Equal(t, unix.ENOSPC, run(t, d, &block.Request{Op: block.Write, Buf: buf, Durable: true}))
	assert.Zero(t, run(t, d, &block.Request{Op: block.Write, Buf: buf[:4096], Durable: true}), "it goes on")
	require.NoError(t, os.Truncate(path, 8192))
	assert.Equal(t, unix.EIO, run(t, d, &block.Request{Op: block.Read, Buf: buf[:16384]}))
	assert.Zero(t, run(t, d, &block.Request{Op: block.Read, Buf: buf[:8192]}))
	assert.Equal(t, unix.ENODEV, ofDrive(unix.ENXIO))
	assert.Equal(t, unix.ETIMEDOUT, ofDrive(unix.ETIMEDOUT))
	assert.Equal(t, unix.EIO, ofDrive(unix.EREMOTEIO))
}

// The kernel cancels the requests of a thread that ends. They are begun again.
func TestThreadEnds(t *testing.T) {
	d := opened(t, image(t, t.TempDir(), 1<<20))
	buf := d.Alloc(1 << 20)
	defer d.Free(buf)
	var n done
	reqs := make([]block.Request, 16)
	for range 20 {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			runtime.LockOSThread() // and never unlocked, so the thread ends with the goroutine
			for i := range reqs {
				reqs[i] = block.Request{Op: block.Write, Buf: buf[i<<16 : (i+1)<<16], Block: uint64(i) * 16, Owner: &n, Durable: true}
				_ = d.Submit(&reqs[i])
			}
			d.Arm()
		}()
		<-ended
		for n = 0; int(n) < len(reqs); d.Poll() {
			runtime.Gosched()
		}
		for i := range reqs {
			require.Zero(t, reqs[i].Err)
		}
	}
}

// Ended by the kernel for reasons of its own, a request is begun again, but not for ever; a write that went in part goes on.
func TestBegunAgain(t *testing.T) {
	d := opened(t, image(t, t.TempDir(), 1<<20))
	buf := d.Alloc(8192)
	defer d.Free(buf)
	var n done
	r := &block.Request{Op: block.Write, Buf: buf, Owner: &n}
	require.Zero(t, d.Submit(r))
	d.Poll() // its own end may come, too; it is not looked at
	d.slots[r.Slot] = slot{r: r}
	n = 0
	d.ended, d.again = list{}, list{}
	d.Ended(uint64(r.Slot), 4096)
	assert.Same(t, r, d.again.take())
	assert.EqualValues(t, 4096, d.slots[r.Slot].done)
	for range tries - 1 {
		d.Ended(uint64(r.Slot), -int32(unix.ECANCELED))
		assert.Same(t, r, d.again.take())
	}
	d.Ended(uint64(r.Slot), -int32(unix.ECANCELED))
	assert.Nil(t, d.again.head)
	d.Arm()
	fds := [1]unix.PollFd{{Fd: int32(d.Fd()), Events: unix.POLLIN}}
	ready, err := unix.Poll(fds[:], 0)
	require.NoError(t, err)
	assert.Equal(t, 1, ready, "there is something to report")
	assert.Equal(t, unix.EIO, d.ended.take().Err)
}

func TestClose(t *testing.T) {
	path := image(t, t.TempDir(), 1<<20)
	d, err := Open(path, false)
	require.NoError(t, err)
	buf := d.Alloc(1 << 20)
	defer d.Free(buf)
	for i := range buf {
		buf[i] = 7
	}
	var n done
	for i := range uint64(16) {
		require.Zero(t, d.Submit(&block.Request{Op: block.Write, Block: i * 16, Buf: buf[i<<16 : (i+1)<<16], Owner: &n}))
	}
	d.Close()
	assert.Zero(t, n)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, bytes.Repeat([]byte{7}, 1<<20), content)
}

// Neither rings nor buffers are in children.
func TestNotForked(t *testing.T) {
	d := opened(t, image(t, t.TempDir(), 1<<20))
	buf := d.Alloc(1 << 20)
	defer d.Free(buf)
	smaps, err := os.ReadFile("/proc/self/smaps")
	require.NoError(t, err)
	at := fmt.Sprintf("%x-", uintptr(unsafe.Pointer(unsafe.SliceData(buf))))
	_, rest, found := strings.Cut("\n"+string(smaps), "\n"+at)
	require.True(t, found)
	_, flags, _ := strings.Cut(rest, "VmFlags:")
	line, _, _ := strings.Cut(flags, "\n")
	assert.Contains(t, line+" ", " dc ")
}

func mkfs(t *testing.T, dev string) {
	t.Helper()
	for _, tool := range []string{"/sbin/mkfs.ext4", "/usr/sbin/mkfs.ext4"} {
		if _, err := os.Stat(tool); err == nil {
			p, err := os.StartProcess(tool, []string{tool, "-q", dev}, &os.ProcAttr{})
			require.NoError(t, err)
			state, err := p.Wait()
			require.NoError(t, err)
			require.True(t, state.Success())
			return
		}
	}
	t.Skip("no mkfs.ext4")
}
