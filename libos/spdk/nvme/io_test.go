package nvme

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

func fill(b []byte, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
}

func TestInfo(t *testing.T) {
	r := newRig(t, nil)
	assert.Equal(t, block.Info{BlockSize: 512, Blocks: 8192, MaxTransfer: 128 << 10, Depth: 128}, r.Info())
	assert.Equal(t, Identity{Serial: "serial", Model: "A drive of memory"}, r.Identity())
}

// Requests of all sizes, beginning anywhere in a page, over chunks in one piece and in many.
func TestReadWrite(t *testing.T) {
	for _, scatter := range []bool{false, true} {
		r := newRig(t, func(f *fake) { f.scatter, f.controller[77] = scatter, 0 })
		require.Equal(t, uint32(maxTransfer), r.Info().MaxTransfer)
		buf := r.Alloc(3 << 20)
		for i, n := range []int{512, 1024, 3584, 4096, 4608, 8192, 8704, 12288, 65536, 128 << 10, 1 << 20, 2<<20 - 512, 2 << 20} {
			for _, offset := range []int{0, 512, 3584, 4096, 64} {
				w, back := buf[offset:offset+n], uint64(3*i)
				fill(w, uint64(n+offset))
				want := bytes.Clone(w)
				require.Zero(t, r.does(&block.Request{Op: block.Write, Block: back, Buf: w}), "%d bytes at %d", n, offset)
				clear(w)
				require.Zero(t, r.does(&block.Request{Op: block.Read, Block: back, Buf: w}), "%d bytes at %d", n, offset)
				require.True(t, bytes.Equal(want, w), "%d bytes at %d", n, offset)
			}
		}
		r.Free(buf)
	}
}

func TestInvalid(t *testing.T) {
	r := newRig(t, nil)
	buf := r.Alloc(256 << 10)
	for name, req := range map[string]block.Request{
		"empty":        {Op: block.Read},
		"part":         {Op: block.Read, Buf: buf[:100]},
		"large":        {Op: block.Write, Buf: buf[:128<<10+512]},
		"odd place":    {Op: block.Write, Buf: buf[2:514]},
		"heap":         {Op: block.Write, Buf: make([]byte, 512)},
		"behind":       {Op: block.Read, Buf: buf[:512], Block: 8192},
		"over the end": {Op: block.Read, Buf: buf[:1024], Block: 8191},
		"far":          {Op: block.Write, Buf: buf[:1024], Block: 1<<64 - 1},
		"no blocks":    {Op: block.Discard},
		"many blocks":  {Op: block.Discard, Count: 8193},
		"far blocks":   {Op: block.Discard, Block: 1<<64 - 1, Count: 2},
		"operation":    {Op: 9},
	} {
		assert.Equal(t, unix.EINVAL, r.Submit(&req), name)
	}
	assert.Zero(t, r.does(&block.Request{Op: block.Read, Buf: buf[:512], Block: 8191}))
}

// What goes to the drive for each operation.
func TestCommands(t *testing.T) {
	r := newRig(t, nil)
	buf := r.Alloc(4096)
	fill(buf, 1)
	require.Zero(t, r.does(&block.Request{Op: block.Write, Buf: buf}))
	require.Zero(t, r.does(&block.Request{Op: block.Write, Buf: buf, Durable: true}))
	require.Zero(t, r.does(&block.Request{Op: block.Flush}))
	require.Zero(t, r.does(&block.Request{Op: block.Discard, Block: 1, Count: 2}))
	require.Zero(t, r.does(&block.Request{Op: block.Read, Buf: buf}))
	assert.Equal(t, make([]byte, 1024), buf[512:1536])
	assert.NotEqual(t, make([]byte, 512), buf[1536:2048])
	r.fake.with(func() {
		c := r.fake.commands
		require.Len(t, c, 5)
		assert.Equal(t, []uint32{opWrite, 7}, []uint32{c[0].head & 0xff, c[0].dw12})
		assert.Equal(t, []uint32{opWrite, forceUnit | 7}, []uint32{c[1].head & 0xff, c[1].dw12})
		assert.Equal(t, uint32(opFlush), c[2].head&0xff)
		assert.Equal(t, []uint32{opDataset, 0, deallocate}, []uint32{c[3].head & 0xff, c[3].dw10, c[3].dw11})
		assert.Equal(t, uint32(opRead), c[4].head&0xff)
	})
}

func TestRanges(t *testing.T) {
	var list [512]uint64
	assert.Equal(t, 3, ranges(&list, 10, 2*maxRangeBlocks+5))
	assert.Equal(t, []uint64{maxRangeBlocks << 32, 10, maxRangeBlocks << 32, 10 + maxRangeBlocks, 5 << 32, 10 + 2*maxRangeBlocks, 0}, list[:7])
	assert.Equal(t, datasetRanges, ranges(&list, 0, datasetRanges*maxRangeBlocks))
}

// A drive need not be able to discard, or may find it too much.
func TestNoDiscard(t *testing.T) {
	r := newRig(t, func(f *fake) { f.controller[520] = 0 })
	req := r.submit(&block.Request{Op: block.Discard, Count: 5})
	assert.Empty(t, r.owner.ended)
	r.Arm()
	assert.True(t, readable(r.Fd(), time.Second))
	assert.Same(t, req, r.ends(1)[0])
	assert.Empty(t, r.fake.commands)

	r = newRig(t, func(f *fake) { f.onIO = func(*command) answer { return answer{code: statusSizeExceeded} } })
	assert.Zero(t, r.does(&block.Request{Op: block.Discard, Count: 5}))
	assert.Equal(t, unix.EIO, r.does(&block.Request{Op: block.Read, Buf: r.Alloc(512)}))
}

func TestStatus(t *testing.T) {
	for code, want := range map[uint16]abi.Errno{
		0x004: unix.EIO, statusAborted: unix.EIO, statusNamespace: unix.ENODEV, statusCapacity: unix.ENOSPC, 0x080: unix.EIO,
		0x280: unix.EIO, 0x281: unix.EIO, 0x7ff: unix.EIO,
	} {
		r := newRig(t, func(f *fake) { f.onIO = func(*command) answer { return answer{code: code} } })
		assert.Equal(t, want, r.does(&block.Request{Op: block.Flush}), "%#x", code)
		assert.Equal(t, Stats{Commands: 1, Errors: 1, Status: code}, r.Stats())
	}
}

// The queues wrap often, requests are submitted from Done, and no more than Depth are taken.
func TestDepth(t *testing.T) {
	r := newRig(t, func(f *fake) { f.putCap(63 | 20<<24 | 1<<32 | 1<<37) })
	depth := r.Info().Depth
	require.Equal(t, 63, depth)
	buf := r.Alloc(depth * 512)
	left := 5000
	r.owner.then = func(q *block.Request) {
		assert.Zero(t, q.Err)
		if left > 0 {
			left--
			r.submit(q)
		}
	}
	for i := range depth {
		r.submit(&block.Request{Op: block.Write, Block: uint64(i), Buf: buf[i*512 : (i+1)*512]})
	}
	assert.Equal(t, unix.EAGAIN, r.Submit(&block.Request{Op: block.Flush}))
	r.ends(depth + 5000)
	assert.Equal(t, uint64(depth+5000), r.Stats().Commands)
}

// A sleep ends when a request does; without any it does not.
func TestArm(t *testing.T) {
	r := newRig(t, nil)
	r.Arm()
	assert.False(t, readable(r.Fd(), 20*time.Millisecond))
	for range 3 {
		r.submit(&block.Request{Op: block.Flush})
		for len(r.owner.ended) == 0 {
			r.Arm()
			require.True(t, readable(r.Fd(), time.Second))
			r.Poll()
		}
		r.owner.ended = nil
	}
	r.Arm()
	assert.False(t, readable(r.Fd(), 20*time.Millisecond))
}

func readable(fd int, limit time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, _ := unix.Poll(fds, int(limit/time.Millisecond))
	return n == 1
}

// instant completes whatever was announced, with success and at once, as cheaply as can be.
type instant struct {
	h    half
	sq   []command
	cq   []completion
	head int
}

func newInstant(d *Device) *instant { return &instant{h: half{phase: 1}, sq: d.io.sq, cq: d.io.cq} }

func (i *instant) step(d *Device) {
	size := len(i.sq)
	for i.head != int(d.io.rung) {
		c := &i.cq[i.h.tail]
		id := i.sq[i.head].head >> 16
		i.head = (i.head + 1) & (size - 1)
		c.queue, c.status = uint32(i.head)|1<<16, id|i.h.phase<<16
		if i.h.tail++; i.h.tail == size {
			i.h.tail, i.h.phase = 0, i.h.phase^1
		}
	}
}

type counter struct{ n int }

func (c *counter) Done(*block.Request) { c.n++ }

// hot is a drive that answers at once, and requests for it.
func hot(tb testing.TB, n int) (*Device, *instant, []block.Request, *counter) {
	f := newFake()
	f.run()
	d, err := open(f, Config{Address: "fake", Namespace: 1})
	require.NoError(tb, err)
	f.pause()
	buf := d.Alloc(n * 4096)
	count := &counter{}
	reqs := make([]block.Request, n)
	for i := range reqs {
		reqs[i] = block.Request{Op: block.Write, Durable: true, Block: uint64(8 * i), Buf: buf[4096*i : 4096*(i+1)], Owner: count}
	}
	tb.Cleanup(func() { f.run(); d.Close() })
	return d, newInstant(d), reqs, count
}

func round(tb testing.TB, d *Device, drive *instant, reqs []block.Request) {
	for i := range reqs {
		if d.Submit(&reqs[i]) != 0 {
			tb.Fatal("not taken")
		}
	}
	d.Poll()
	drive.step(d)
	d.Poll()
}

func TestAllocs(t *testing.T) {
	d, drive, reqs, count := hot(t, 16)
	big := d.Alloc(64 << 10)
	reqs[1].Buf, reqs[2].Op, reqs[3].Op, reqs[3].Count, reqs[4].Op = big, block.Read, block.Discard, 9, block.Flush
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		round(t, d, drive, reqs)
		d.Arm()
	}))
	assert.Equal(t, 1001*16, count.n)
}

// The driver's own cost of a request: Submit, doorbells (to memory), what the drive of this test does, Poll.
func BenchmarkDriver(b *testing.B) {
	for _, depth := range []int{1, 32} {
		for _, size := range []int{4096, 128 << 10} {
			b.Run(map[int]string{4096: "4KiB", 128 << 10: "128KiB"}[size]+map[int]string{1: "/1", 32: "/32"}[depth], func(b *testing.B) {
				d, drive, reqs, count := hot(b, depth)
				if size > 4096 {
					big := d.Alloc(size)
					for i := range reqs {
						reqs[i].Buf, reqs[i].Block = big, 0
					}
				}
				b.ReportAllocs()
				b.ResetTimer()
				for n := 0; n < b.N; n += depth {
					round(b, d, drive, reqs)
				}
				b.StopTimer()
				if count.n < b.N {
					b.Fatal("lost")
				}
			})
		}
	}
}
