package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/libos/spdk/store/sim"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// What bad media do: a clear errno, and nothing is overwritten.

// image is all that is on the drive.
func (r *rig) image() string {
	buf := make([]byte, r.d.Info().Blocks*4096)
	r.d.Peek(0, buf)
	return string(buf)
}

// refused mounts in vain; the drive stays as it is.
func (r *rig) refused(want abi.Errno) {
	r.Helper()
	before := r.image()
	_, err := Mount(r.d, r.opt)
	assert.Equal(r, want, err)
	assert.True(r, before == r.image(), "overwritten")
	if want != ErrNotFormatted {
		assert.Equal(r, abi.Errno(unix.EEXIST), Format(r.d, FormatOptions{}))
		assert.True(r, before == r.image(), "overwritten by format")
	}
}

func (r *rig) problems() (list []string) {
	r.Helper()
	before := r.image()
	c, err := Check(r.d, Options{}, func(p Problem) { list = append(list, fmt.Sprint(p.Log, ": ", p.Err, ": ", p.Text)) }, nil)
	require.Zero(r, err)
	assert.Equal(r, len(list), c.Problems)
	assert.True(r, before == r.image(), "overwritten by check")
	return list
}

var small = sim.Config{Blocks: 4096}

// filled has a log of five extents or so.
func filled(t *testing.T) *rig {
	r := newRig(t, small)
	l := r.create("l")
	for i := range 50 {
		require.Zero(t, r.append(l, strings.Repeat(fmt.Sprintf("%09d ", i), 10_000)))
	}
	return r
}

func TestSuperblocks(t *testing.T) {
	for _, bad := range [][]uint64{{0}, {4095}, {0, 4095}} {
		r := filled(t)
		r.stop(false)
		for _, b := range bad {
			r.d.Flip(b*4096+100, 0x10)
		}
		if len(bad) == 2 {
			r.refused(ErrStructure)
			continue
		}
		assert.Len(t, r.problems(), 1)
		before := r.image()[bad[0]*4096:][:4096]
		r.mount()
		got, err := r.readAll(r.open("l"))
		assert.Zero(t, err)
		assert.Len(t, got, 50)
		r.stop(true)
		assert.Equal(t, before, r.image()[bad[0]*4096:][:4096], "repaired only if told so")
		repaired, err := RepairSuperblock(r.d)
		assert.True(t, repaired)
		assert.Zero(t, err)
		assert.Empty(t, r.problems())
		repaired, err = RepairSuperblock(r.d)
		assert.False(t, repaired)
		assert.Zero(t, err)
	}
}

func TestOtherDrives(t *testing.T) {
	r := &rig{TB: t, d: sim.New(small)}
	r.refused(ErrNotFormatted)
	require.Zero(t, Format(r.d, FormatOptions{}))
	buf := make([]byte, 4096)
	r.d.Peek(0, buf)
	le.PutUint32(buf[8:], 2)
	le.PutUint32(buf[superCRC:], superSum(buf))
	r.d.Poke(0, buf)
	r.refused(ErrVersion)
	r.d.Poke(4095, buf)
	r.refused(ErrVersion)
	require.Zero(t, Format(r.d, FormatOptions{Force: true}))
	other := sim.New(small)
	require.Zero(t, Format(other, FormatOptions{}))
	other.Peek(0, buf)
	r.d.Poke(0, buf) // of another store
	r.refused(ErrStructure)
	for _, o := range []FormatOptions{{ExtentSize: 4096}, {ExtentSize: 3 << 20}, {ExtentSize: 64 << 20}, {CatalogSize: 64 << 20}} {
		o.Force = true
		assert.Equal(t, abi.Errno(unix.EINVAL), Format(r.d, o))
	}
}

func TestCatalogs(t *testing.T) {
	for bad := 1; bad < 4; bad++ {
		r := filled(t)
		r.create("other")
		areas := r.s.sb.catalogs
		r.stop(false)
		for i, b := range areas {
			if bad&(1<<i) != 0 {
				r.d.Flip(b*4096+70, 1)
			}
		}
		if bad == 3 {
			r.refused(ErrStructure)
			continue
		}
		assert.Len(t, r.problems(), 1)
		r.mount()
		got, err := r.readAll(r.open("l"))
		assert.Zero(t, err)
		assert.Len(t, got, 50)
		r.open("other")
		r.stop(false)
		assert.Empty(t, r.problems(), "written anew")
	}
}

// A bit of acknowledged data turns, anywhere: what is read is right, or an error, and what was good is not written over.
func TestFlippedBits(t *testing.T) {
	for _, clean := range []bool{true, false} {
		for i := range 24 {
			r := filled(t)
			first := r.s.extentBlock(0) * 4096
			l := r.open("l")
			used := (l.tail.idx)*r.s.sb.extentSize + uint64(l.tail.off)
			r.stop(clean)
			r.d.Flip(first+used*uint64(i)/24+uint64(i*137%4096), 1<<(i%8))
			r.checkFlipped(i, clean)
		}
	}
}

func (r *rig) checkFlipped(i int, clean bool) {
	before := r.image()
	r.mount()
	defer r.stop(false)
	l, err := r.s.Open("l")
	if err != 0 {
		assert.Equal(r, ErrStructure, err, "flip %d", i)
		assert.True(r, before[300*4096:] == r.image()[300*4096:], "overwritten")
		return
	}
	got, err := r.readAll(l)
	for k, text := range got {
		require.True(r, text == strings.Repeat(fmt.Sprintf("%09d ", k), 10_000), "flip %d: record %d is wrong", i, k)
	}
	if err != 0 {
		assert.Equal(r, ErrData, err)
		assert.Less(r, len(got), 50)
		// What comes behind can be read all the same.
		text, err := r.read(l.NewReader(), 49*100_000+5, 5)
		if len(got) < 49 {
			assert.Zero(r, err)
			assert.Equal(r, "0049 ", text)
		}
		return
	}
	// The last record cannot be told from one that was never acknowledged, unless the store was closed.
	assert.GreaterOrEqual(r, len(got), 49, "flip %d, clean %v", i, clean)
	if clean {
		assert.Len(r, got, 50)
	}
}

func TestDamagedEnd(t *testing.T) {
	for _, c := range []struct {
		clean  bool
		record int
	}{{true, 49}, {true, 20}, {false, 47}, {false, 20}} {
		r := filled(t)
		l := r.open("l")
		rd := l.NewReader()
		_, err := r.read(rd, uint64(c.record)*100_000, 1<<30)
		require.Zero(t, err)
		at := r.s.extentBlock(rd.place)*4096 + uint64(rd.at.off)
		r.stop(c.clean)
		r.d.Flip(at-50_000, 4)
		problems := r.problems()
		require.NotEmpty(t, problems, "%+v", c)
		for _, p := range problems {
			assert.Contains(t, p, "l: ")
		}
	}
}

// A header has two copies; if both are damaged the extent is missed, be it in the middle or the last one.
func TestExtentHeaders(t *testing.T) {
	for i := range 6 {
		both, last := i%2 == 1, i/2 > 0
		r := filled(t)
		l := r.open("l")
		place := r.s.extents[l.first].next
		if last {
			for i/2 == 1 && r.s.sb.extentSize-uint64(l.tail.off) > 4096 { // exactly full, then one more
				n := min(r.s.sb.extentSize-uint64(l.tail.off), 100_000)
				require.Zero(t, r.append(l, strings.Repeat("x", int(n-n%4096)-fragmentHeader)))
			}
			require.Zero(t, r.append(l, strings.Repeat("x", 200_000)))
			require.Zero(t, r.append(l, "x"))
			place = l.last
		}
		at := r.s.extentBlock(place) * 4096
		r.stop(false)
		r.d.Flip(at+40, 1)
		if both {
			r.d.Flip(at+2048+40, 1)
		}
		r.mount()
		_, err := r.s.Open("l")
		if !both {
			assert.Zero(t, err)
			continue
		}
		assert.Equal(t, ErrStructure, err, "%d", i)
		r.s.List(func(i LogInfo) bool { assert.Equal(t, ErrStructure, i.Err); return true })
	}
}

func TestReadErrors(t *testing.T) {
	r := filled(t)
	l := r.open("l")
	middle := r.s.extentBlock(r.s.extents[l.first].next)
	for _, want := range []abi.Errno{unix.EIO, unix.ETIMEDOUT} {
		r.d.Inject(sim.Fault{Op: block.Read, First: middle + 5, Last: middle + 6, Err: want})
		_, err := r.readAll(l)
		assert.Equal(t, want, err)
		r.d.ClearFaults()
	}
	got, err := r.readAll(l)
	assert.Zero(t, err)
	assert.Len(t, got, 50)
	last := r.s.extentBlock(l.last)
	r.stop(false)
	// What has to be looked at cannot be.
	for _, b := range []uint64{last, last + 20, middle} {
		r.d.Inject(sim.Fault{Op: block.Read, First: b, Last: b, Err: unix.EIO})
		r.mount()
		_, err = r.s.Open("l")
		assert.Equal(t, abi.Errno(unix.EIO), err, "block %d", b)
		r.d.ClearFaults()
		r.stop(false)
	}
	r.d.Inject(sim.Fault{Op: block.Read, First: 0, Last: 0, Err: unix.EIO})
	r.again2()
	r.d.ClearFaults()
}

// again2 mounts and reads all.
func (r *rig) again2() {
	r.mount()
	got, err := r.readAll(r.open("l"))
	assert.Zero(r, err)
	assert.Len(r, got, 50)
}

func TestWriteErrorsOfMetadata(t *testing.T) {
	r := filled(t)
	areas := r.s.sb.catalogs
	for i := range 2 {
		r.d.Inject(sim.Fault{Op: block.Write, First: areas[i], Last: areas[i], Err: unix.EIO})
		_, err := r.s.Create("other")
		assert.Equal(t, abi.Errno(unix.EIO), err)
		assert.Equal(t, abi.Errno(unix.EIO), r.s.Unlink("l"))
		assert.Equal(t, abi.Errno(unix.EIO), r.open2("l").Trim(1))
		r.d.ClearFaults()
	}
	require.Zero(t, r.append(r.open("l"), "more"))
	r.again(false)
	got, err := r.readAll(r.open("l"))
	assert.Zero(t, err)
	assert.Len(t, got, 51)
	r.d.Inject(sim.Fault{Op: block.Flush, Err: unix.EIO})
	r.stop(false)
	r.refused(unix.EIO)
}

// open2 opens a log that may have failed.
func (r *rig) open2(name string) *Log {
	r.Helper()
	l := r.s.logs[name]
	require.NotNil(r, l)
	return l
}

func TestDriveThatNeverAnswers(t *testing.T) {
	r := newRig(t, small)
	l := r.create("l")
	require.Zero(t, r.append(l, "one"))
	r.s.opt.Timeout = 20 * time.Millisecond
	r.d.Inject(sim.Fault{Op: block.Write, Last: 1 << 60})
	a := newAppend("two")
	defer a.free()
	require.Zero(t, l.Append(&a.Append))
	_, err := r.s.Create("other")
	assert.Equal(t, abi.Errno(unix.ETIMEDOUT), err)
	assert.Equal(t, abi.Errno(unix.ETIMEDOUT), r.append(l, "three"))
	assert.Equal(t, abi.Errno(unix.ETIMEDOUT), r.s.Close())
	assert.True(t, a.done)
	assert.NotZero(t, a.Err)
	r.d.ClearFaults()
	r.s, r.d = nil, r.d.Restart()
	r.mount()
	r.open("l")
}
