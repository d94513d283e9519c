package sim

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

var _ block.Device = (*Drive)(nil)

type waiter struct{ ended int }

func (w *waiter) Done(*block.Request) { w.ended++ }

func write(t *testing.T, d *Drive, w *waiter, at uint64, blocks int, fill byte, durable bool) *block.Request {
	buf := d.Alloc(blocks * 4096)
	copy(buf, bytes.Repeat([]byte{fill}, len(buf)))
	r := &block.Request{Op: block.Write, Durable: durable, Block: at, Buf: buf, Owner: w}
	require.Zero(t, d.Submit(r))
	return r
}

func finish(d *Drive) {
	for d.Flying() > 0 {
		d.Poll()
	}
}

func content(d *Drive, b uint64) byte {
	buf := make([]byte, 4096)
	d.Peek(b, buf)
	return buf[100]
}

func TestDurableWritesStay(t *testing.T) {
	for seed := range uint64(50) {
		d, w := New(Config{Seed: seed, MaxDelay: 5}), &waiter{}
		for i := range uint64(10) {
			write(t, d, w, i, 1, byte(i+1), true)
		}
		finish(d)
		require.Equal(t, 10, w.ended)
		d.PowerLoss()
		d = d.Restart()
		for i := range uint64(10) {
			assert.Equal(t, byte(i+1), content(d, i))
		}
	}
}

// What is not durable is sometimes lost, sometimes not, and after a flush it never is; requests end in any order.
func TestOtherWritesMayGo(t *testing.T) {
	lost, kept, killed := 0, 0, 0
	for seed := range uint64(100) {
		d, w := New(Config{Seed: seed, MaxDelay: 5}), &waiter{}
		write(t, d, w, 1, 1, 1, false)
		finish(d)
		require.Zero(t, d.Submit(&block.Request{Op: block.Flush, Owner: w}))
		finish(d)
		write(t, d, w, 1, 1, 2, false)
		finish(d)
		assert.Equal(t, byte(2), content(d, 1))
		write(t, d, w, 3, 4, 3, true)
		d.Kill()
		d = d.Restart()
		assert.Equal(t, byte(2), content(d, 1), "a cache outlives the process")
		killed += int(content(d, 4)) / 3
		d.PowerLoss()
		switch content(d.Restart(), 1) {
		case 1:
			lost++
		case 2:
			kept++
		}
	}
	assert.Equal(t, 100, lost+kept)
	assert.Greater(t, lost, 20)
	assert.Greater(t, kept, 20)
	assert.Greater(t, killed, 20)
	assert.Less(t, killed, 80)
}

func TestTornWrites(t *testing.T) {
	var seen [16]int
	for seed := range uint64(1000) {
		d := New(Config{Seed: seed, MaxDelay: 5})
		write(t, d, &waiter{}, 0, 4, 1, true)
		d.PowerLoss()
		mask := 0
		for b := range uint64(4) {
			mask |= int(content(d.Restart(), b)) << b
		}
		seen[mask]++
	}
	for mask, n := range seen {
		assert.NotZero(t, n, "blocks %04b never were the ones stored", mask)
	}
}

func TestSeedReplays(t *testing.T) {
	run := func() (order []uint64) {
		d := New(Config{Seed: 7, MaxDelay: 9, Tears: true})
		o := &ordered{}
		for i := range uint64(20) {
			r := write(t, d, &waiter{}, i, 1, byte(i), i%2 == 0)
			r.Owner = o
		}
		d.Poll()
		d.Poll()
		d.PowerLoss()
		d = d.Restart()
		for i := range uint64(20) {
			o.blocks = append(o.blocks, uint64(content(d, i)))
		}
		return o.blocks
	}
	assert.Equal(t, run(), run())
}

type ordered struct{ blocks []uint64 }

func (o *ordered) Done(r *block.Request) { o.blocks = append(o.blocks, r.Block) }

func TestLimitsAndFaults(t *testing.T) {
	d, w := New(Config{Depth: 2}), &waiter{}
	r := write(t, d, w, 0, 1, 1, true)
	write(t, d, w, 1, 1, 1, true)
	extra := &block.Request{Op: block.Read, Buf: r.Buf, Owner: w}
	assert.Equal(t, abi.Errno(unix.EAGAIN), d.Submit(extra))
	finish(d)
	for _, bad := range []*block.Request{
		{Op: block.Read, Buf: r.Buf, Block: 16384, Owner: w}, {Op: block.Read, Buf: r.Buf[:100], Owner: w}, {Op: block.Read, Owner: w},
		{Op: block.Discard, Block: 1, Count: 16384, Owner: w}, {Op: block.Write, Buf: make([]byte, 256<<10), Owner: w},
	} {
		assert.Equal(t, abi.Errno(unix.EINVAL), d.Submit(bad))
	}
	d.Inject(Fault{Op: block.Read, First: 5, Last: 6, Err: unix.EIO, Times: 1})
	for _, want := range []abi.Errno{unix.EIO, 0} {
		*extra = block.Request{Op: block.Read, Block: 6, Buf: r.Buf, Owner: w}
		require.Zero(t, d.Submit(extra))
		finish(d)
		assert.Equal(t, want, extra.Err)
	}
	d.Inject(Fault{Op: block.Flush})
	require.Zero(t, d.Submit(&block.Request{Op: block.Flush, Owner: w}))
	ended := w.ended
	for range 100 {
		d.Poll()
	}
	assert.Equal(t, ended, w.ended)
	d.Close()
	assert.Equal(t, abi.Errno(unix.ENODEV), d.Submit(extra))
}

func TestArm(t *testing.T) {
	d := New(Config{})
	fds := []unix.PollFd{{Fd: int32(d.Fd()), Events: unix.POLLIN}}
	ready := func() bool { n, _ := unix.Poll(fds, 0); return n == 1 }
	d.Arm()
	assert.False(t, ready())
	write(t, d, &waiter{}, 0, 1, 1, true)
	assert.False(t, ready())
	d.Arm()
	assert.True(t, ready())
	d.Poll()
	assert.False(t, ready())
	d.Close()
}
