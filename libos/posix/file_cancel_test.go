package posix

import (
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Pipes in blocking mode stand for slow files: their requests stay under way until the other end acts.

// later lets another thread do what a request under way waits for, in case it cannot be stopped.
func (r *rig) later(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(50 * time.Millisecond)
		f()
	}()
	r.Cleanup(func() { <-done })
}

func TestFileDropPop(t *testing.T) {
	eachBackend(t, func(r *rig) {
		rd, wr := r.pipe()
		defer unix.Close(wr)
		qd := r.openFd(rd, unix.O_RDONLY)
		first, second := r.pop(qd, 4), r.pop(qd, 4)
		r.drive()
		require.False(r, r.done(first))
		if r.uring() {
			require.Zero(r, r.eng.Drop(first)) // the kernel stops it
			require.Zero(r, r.eng.Drop(second))
			_, err := unix.Write(wr, []byte("data"))
			require.NoError(r, err)
		} else {
			r.later(func() { _, _ = unix.Write(wr, []byte("data")) })
			require.Zero(r, r.eng.Drop(first)) // returns when the thread is done with it
			require.Zero(r, r.eng.Drop(second))
		}
		assert.Equal(r, "da", r.waitOK(r.pop(qd, 2)), "the data is there for the next pops")
		assert.Equal(r, "ta", r.waitOK(r.pop(qd, 10)))
		r.close(qd)
	})
}

// What the kernel has read for a pop, and nobody has looked at yet, survives the drop, too.
func TestFileDropPopThatHasData(t *testing.T) {
	eachBackend(t, func(r *rig) {
		rd, wr := r.pipe()
		defer unix.Close(wr)
		qd := r.openFd(rd, unix.O_RDONLY)
		qt := r.pop(qd, 100)
		r.drive()
		_, err := unix.Write(wr, []byte("data"))
		require.NoError(r, err)
		time.Sleep(20 * time.Millisecond)
		require.Zero(r, r.eng.Drop(qt))
		assert.Equal(r, "d", r.waitOK(r.pop(qd, 1)))
		assert.Equal(r, "ata", r.waitOK(r.pop(qd, 100)))
		r.close(qd)
	})
}

func TestFileDropNotBegun(t *testing.T) {
	eachBackend(t, func(r *rig) {
		path := r.file("")
		qd := r.open(path, unix.O_RDWR)
		drop := []uint64{r.push(qd, "A")}
		keep := []uint64{r.push(qd, "B")}
		drop = append(drop, r.push(qd, "C"), r.pop(qd, 5))
		keep = append(keep, r.push(qd, "D"))
		for _, qt := range drop {
			require.Zero(r, r.eng.Drop(qt))
		}
		for _, qt := range keep {
			r.waitOK(qt)
		}
		assert.Equal(r, "BD", r.content(path))
		only := r.push(qd, "E")
		require.Zero(r, r.eng.Drop(only))
		assert.Empty(r, r.waitOK(r.pop(qd, 1)))
		assert.Equal(r, "BD", r.content(path))
		r.close(qd)
	})
}

// A read that is dropped leaves the position of the file alone.
func TestFileDropKeepsPosition(t *testing.T) {
	eachBackend(t, func(r *rig) {
		qd := r.open(r.file("abcdef"), unix.O_RDONLY)
		for range 50 {
			qt := r.pop(qd, 3)
			r.os.files.submit() // under way, its end not yet seen
			require.Zero(r, r.eng.Drop(qt))
		}
		assert.Equal(r, "abcdef", r.waitOK(r.pop(qd, 10)))
	})
}

// The rest of a push that is partly written follows from a copy.
func TestFileDropPushHalfWay(t *testing.T) {
	eachBackend(t, func(r *rig) {
		rd, wr := r.pipe()
		defer unix.Close(rd)
		qd := r.openFd(wr, unix.O_WRONLY)
		text := strings.Repeat("0123456789abcdef", 1<<14)
		sga := r.carray(text[:100_000], text[100_000:])
		qt, err := r.eng.Push(qd, sga)
		require.Zero(r, err)
		next := r.push(qd, "next")
		r.drive()
		require.False(r, r.done(qt))
		got := make(chan string)
		read := func() {
			b := make([]byte, len(text)+4)
			n, _ := io.ReadFull(readerFd(rd), b)
			got <- string(b[:n])
		}
		if r.uring() {
			require.Zero(r, r.eng.Drop(qt))
			go read()
		} else {
			go read()
			require.Zero(r, r.eng.Drop(qt))
		}
		for i := range sga.Segs[:2] { // borrowed no more
			copy(sga.Bytes(uint32(i)), strings.Repeat("X", 200_000))
		}
		r.waitOK(next)
		assert.True(r, text+"next" == <-got)
		r.close(qd)
	})
}

func TestFileDropPushNothingWritten(t *testing.T) {
	eachBackend(t, func(r *rig) {
		if !r.uring() {
			r.Skip("the thread cannot be stopped")
		}
		rd, wr := r.pipe()
		defer unix.Close(rd)
		fill(r, wr)
		qd := r.openFd(wr, unix.O_WRONLY)
		qt, next := r.push(qd, "dropped"), r.push(qd, "next")
		r.drive()
		require.Zero(r, r.eng.Drop(qt))
		drain(r, rd)
		r.waitOK(next)
		b := make([]byte, 100)
		n, err := unix.Read(rd, b)
		require.NoError(r, err)
		assert.Equal(r, "next", string(b[:n]))
		r.close(qd)
	})
}

func fill(r *rig, wr int) {
	require.NoError(r, unix.SetNonblock(wr, true))
	for {
		if _, err := unix.Write(wr, make([]byte, 4096)); err != nil {
			require.Equal(r, unix.EAGAIN, err)
			break
		}
	}
	require.NoError(r, unix.SetNonblock(wr, false))
}

func drain(r *rig, rd int) {
	n, err := unix.FcntlInt(uintptr(rd), unix.F_GETPIPE_SZ, 0)
	require.NoError(r, err)
	_, err = io.ReadFull(readerFd(rd), make([]byte, n))
	require.NoError(r, err)
}

type readerFd int

func (f readerFd) Read(b []byte) (int, error) { return unix.Read(int(f), b) }

func TestFileClose(t *testing.T) {
	eachBackend(t, func(r *rig) {
		rd, wr := r.pipe()
		defer unix.Close(wr)
		qd := r.openFd(rd, unix.O_RDONLY)
		qts := []uint64{r.pop(qd, 4), r.pop(qd, 4)}
		r.drive()
		if !r.uring() {
			r.later(func() { _, _ = unix.Write(wr, []byte("late")) })
		}
		r.close(qd)
		text, err := r.wait(qts[0])
		if r.uring() {
			assert.Equal(r, unix.ECANCELED, err)
		} else {
			assert.Equal(r, "late", text, "could not be stopped, so it tells what it did")
		}
		_, err = r.wait(qts[1])
		assert.Equal(r, unix.ECANCELED, err)
		_, err = r.eng.Pop(qd, 0)
		assert.Equal(r, unix.ENOENT, err)

		path := r.file("")
		qd = r.open(path, unix.O_RDWR)
		qts = []uint64{r.push(qd, "x"), r.push(qd, "y")}
		r.close(qd) // nothing of it has begun
		for _, qt := range qts {
			_, err := r.wait(qt)
			assert.Equal(r, unix.ECANCELED, err)
		}
		assert.Empty(r, r.content(path))

		// A file opened afterwards has nothing to do with the old one.
		qd = r.open(path, unix.O_RDWR)
		r.waitOK(r.push(qd, "z"))
		assert.Equal(r, "z", r.content(path))
	})
}

// Requests of a thread that ends are cancelled by the kernel. Others take over.
func TestFileThreadEnds(t *testing.T) {
	eachBackend(t, func(r *rig) {
		rd, wr := r.pipe()
		defer unix.Close(wr)
		qd := r.openFd(rd, unix.O_RDONLY)
		qt := r.pop(qd, 100)
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // and never unlocked, so the thread ends with the goroutine
			r.eng.Drive(3)
		}()
		<-done
		r.drive()
		assert.False(r, r.done(qt))
		_, err := unix.Write(wr, []byte("data"))
		require.NoError(r, err)
		assert.Equal(r, "data", r.waitOK(qt))
		r.close(qd)
	})
}

// A program that closes descriptors it does not own gets errors, but does not hang.
func TestFileRingLost(t *testing.T) {
	r := newRig(t, true)
	qd := r.open(r.file("abc"), unix.O_RDWR)
	if !r.uring() {
		t.Skip("no io_uring here")
	}
	assert.Equal(t, "a", r.waitOK(r.pop(qd, 1)))
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Dup3(null, r.os.files.be.fd(), unix.O_CLOEXEC))
	unix.Close(null)
	qts := []uint64{r.pop(qd, 1), r.push(qd, "x"), r.pop(qd, 1)}
	for _, qt := range qts {
		_, no := r.wait(qt)
		assert.Equal(t, unix.EOPNOTSUPP, no)
	}
	qt := r.pop(qd, 1)
	assert.Zero(t, r.eng.Lseek(qd, 0, unix.SEEK_SET))
	_, no := r.wait(qt)
	assert.Equal(t, unix.EOPNOTSUPP, no)
	r.close(qd)
}

// A device that takes nothing and reports no error must not keep the library busy for ever.
func TestFileWriteOfNothing(t *testing.T) {
	eachBackend(t, func(r *rig) {
		qd := r.open("/dev/null", unix.O_WRONLY)
		qt := r.push(qd, "x")
		f := r.os.files.slots[0]
		f.finish(f.Pushes.Head(), 0)
		_, err := r.wait(qt)
		assert.Equal(r, unix.EIO, err)
	})
}

// Large blocks that go astray show in the size of the process.
func TestFileBlocks(t *testing.T) {
	eachBackend(t, func(r *rig) {
		const block, rounds = 60 << 20, 10 // above what malloc keeps
		path := r.file("short")
		full := r.open("/dev/full", unix.O_RDWR)
		dropUnseen := func(qt uint64) {
			for !r.done(qt) {
				r.eng.Drive(1)
			}
			require.Zero(r, r.eng.Drop(qt))
		}
		ways := map[string]func(){
			"end of file": func() {
				qd := r.open(path, unix.O_RDONLY)
				dropUnseen(r.pop(qd, block))
				dropUnseen(r.pop(qd, block))
				r.close(qd)
			},
			"dropped under way": func() {
				qd := r.open("/dev/zero", unix.O_RDONLY)
				qt := r.pop(qd, block)
				r.os.files.submit()
				require.Zero(r, r.eng.Drop(qt))
				r.close(qd)
			},
			"closed under way": func() {
				qd := r.open("/dev/zero", unix.O_RDONLY)
				qt := r.pop(qd, block)
				r.os.files.submit()
				r.close(qd)
				dropUnseen(qt)
			},
			"closed before": func() {
				qd := r.open("/dev/zero", unix.O_RDONLY)
				qt := r.pop(qd, block)
				r.close(qd)
				dropUnseen(qt)
			},
			"error": func() {
				qd := r.open("/proc/self/mem", unix.O_RDONLY) // nothing is at 0
				for range 2 {
					_, err := r.wait(r.pop(qd, block))
					assert.NotZero(r, err)
				}
				r.close(qd)
			},
			"push": func() { _, _ = r.wait(r.push(full, "x")) },
			"kept": func() {
				rd, wr := r.pipe()
				qd := r.openFd(rd, unix.O_RDONLY)
				qt := r.pop(qd, block)
				r.drive()
				_, err := unix.Write(wr, []byte("data"))
				require.NoError(r, err)
				require.Zero(r, r.eng.Drop(qt))
				unix.Close(wr)
				r.close(qd)
			},
		}
		for name, way := range ways {
			way()
			before := r.addressSpace()
			for range rounds {
				way()
			}
			// Less than half of what it would be if each round lost a block; Go's own heap may grow by 64 MiB.
			assert.Less(r, r.addressSpace()-before, rounds/2*block, name)
		}
		r.close(full)

		// A result takes no more memory than it has bytes.
		qd := r.open(path, unix.O_RDONLY)
		before := r.addressSpace()
		for range rounds {
			qt := r.pop(qd, block)
			for !r.done(qt) {
				r.eng.Drive(1)
			}
		}
		assert.Less(r, r.addressSpace()-before, block)
	})
}
