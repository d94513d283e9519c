package nvme

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// drive opens the drive that the test may overwrite; tests/vm/nvme_driver.sh names it.
func drive(t *testing.T) *rig {
	address := os.Getenv("DMTR_NVME")
	if address == "" {
		t.Skip("DMTR_NVME names no drive")
	}
	d, err := Open(Config{Address: address, Namespace: 1})
	require.NoError(t, err)
	return &rig{T: t, Device: d}
}

func TestDriveBusy(t *testing.T) {
	if os.Getenv("DMTR_NVME_BUSY") == "" {
		t.Skip("DMTR_NVME_BUSY names no drive that the kernel has")
	}
	_, err := Open(Config{Address: os.Getenv("DMTR_NVME_BUSY"), Namespace: 1})
	require.ErrorIs(t, err, unix.EBUSY)
	assert.ErrorContains(t, err, vfioPCI)
}

func TestDrive(t *testing.T) {
	r := drive(t)
	info := r.Info()
	t.Logf("%+v %+v", info, r.Identity())
	size := int(info.MaxTransfer)
	buf := r.Alloc(size + 8192)
	require.NotNil(t, buf)
	for _, n := range []int{512, 4096, 4608, 8192, 12288, 65536, size} {
		for _, offset := range []int{0, 512, 4096} {
			b := buf[offset : offset+n]
			fill(b, uint64(n+offset))
			want := bytes.Clone(b)
			require.Zero(t, r.does(&block.Request{Op: block.Write, Block: 7, Buf: b, Durable: offset == 512}), "%d", n)
			clear(b)
			require.Zero(t, r.does(&block.Request{Op: block.Read, Block: 7, Buf: b}), "%d", n)
			require.True(t, bytes.Equal(want, b), "%d bytes at %d", n, offset)
		}
	}
	require.Zero(t, r.does(&block.Request{Op: block.Flush}))
	require.Zero(t, r.does(&block.Request{Op: block.Discard, Block: 8, Count: 64}))
	require.Zero(t, r.does(&block.Request{Op: block.Read, Block: info.Blocks - 1, Buf: buf[:info.BlockSize]}))
	_, err := Open(Config{Address: r.cfg.Address, Namespace: 1})
	require.ErrorIs(t, err, unix.EBUSY)
	stats := r.Stats()
	assert.Zero(t, stats.Errors+stats.Timeouts+stats.Resets+stats.Faults)
	r.Close()
	_, err = Open(Config{Address: r.cfg.Address, Namespace: 9})
	require.ErrorIs(t, err, unix.ENODEV)
}

// All places of the queue are in use, some rounds long, by polling and by sleeping.
func TestDriveDepth(t *testing.T) {
	r := drive(t)
	defer r.Close()
	depth := r.Info().Depth
	buf := r.Alloc(depth * 4096)
	fill(buf, 1)
	want := bytes.Clone(buf)
	for _, op := range []block.Op{block.Write, block.Read} {
		if op == block.Read {
			clear(buf)
		}
		left := 10 * depth
		r.owner.then = func(q *block.Request) {
			assert.Zero(t, q.Err)
			if left--; left > 0 {
				r.submit(q)
			}
		}
		for i := range depth {
			r.submit(&block.Request{Op: op, Block: uint64(8 * i), Buf: buf[i*4096 : (i+1)*4096]})
		}
		for end := time.Now().Add(20 * time.Second); len(r.owner.ended) < 11*depth-1; {
			r.Arm()
			require.True(t, readable(r.Fd(), time.Second))
			r.Poll()
			require.True(t, time.Now().Before(end), "%d", len(r.owner.ended))
		}
		r.owner.ended, r.owner.then = nil, nil
	}
	assert.True(t, bytes.Equal(want, buf))
}

// TestDriveLoad keeps the drive busy until the process is killed; what it says first is that it has begun.
func TestDriveLoad(t *testing.T) {
	if os.Getenv("DMTR_NVME_LOAD") == "" {
		t.Skip("only to be killed")
	}
	r := drive(t)
	buf := r.Alloc(int(r.Info().MaxTransfer))
	r.owner.then = func(q *block.Request) { r.owner.ended = r.owner.ended[:0]; r.submit(q) }
	for i := range 32 {
		r.submit(&block.Request{Op: block.Op(i & 1), Block: uint64(i * 256), Buf: buf})
	}
	fmt.Println("loading")
	for {
		r.Poll()
	}
}

// TestDriveLatency measures writes of 4 KiB, one after the other, durable.
func TestDriveLatency(t *testing.T) {
	r := drive(t)
	defer r.Close()
	buf := r.Alloc(4096)
	req := &block.Request{Op: block.Write, Buf: buf, Durable: true, Owner: &r.owner}
	took := make([]time.Duration, 2000)
	for i := range took {
		req.Block = uint64(8 * i)
		start := time.Now()
		require.Equal(t, abi.Errno(0), r.Submit(req))
		for r.owner.ended = r.owner.ended[:0]; len(r.owner.ended) == 0; {
			r.Poll()
		}
		took[i] = time.Since(start)
		require.Zero(t, req.Err)
		runtime.Gosched()
	}
	slices.Sort(took)
	t.Logf("p50 %v, p99 %v", took[len(took)/2], took[len(took)*99/100])
}

func TestNoDrive(t *testing.T) {
	_, err := Open(Config{Address: "ffff:ff:1f.7", Namespace: 1})
	assert.True(t, errors.Is(err, unix.ENODEV), "%v", err)
	_, err = Open(Config{Address: "sda", Namespace: 1})
	assert.ErrorIs(t, err, unix.EINVAL)
}
