package posix

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// rig is an engine over a posix libOS, for tests of files.
type rig struct {
	*testing.T
	eng *engine.Engine
	os  *LibOS
	// adopt, if it is set, is the descriptor that the next open makes a queue of, instead of the path.
	adopt int
}

type adopter struct {
	*LibOS
	r *rig
}

func (a adopter) Open(args *engine.Args) (engine.Queue, abi.Errno) {
	if a.r.adopt == 0 {
		return a.LibOS.Open(args)
	}
	fd := a.r.adopt
	a.r.adopt = 0
	fs, err := a.startFiles()
	if err != 0 {
		return nil, err
	}
	f := &file{fs: fs, fd: fd, readOK: args.Flags != unix.O_WRONLY, wrtOK: args.Flags != unix.O_RDONLY, stream: true}
	fs.enter(f)
	return f, 0
}

func newRig(t *testing.T, uring bool) *rig {
	cfg := config.Default()
	cfg.Posix.IOUring = uring
	eng, err := engine.New(config.Limits{Queues: 2000, Tokens: 10000, MemoryQueue: 10, MaxMessage: cfg.Limits.MaxMessage})
	require.Zero(t, err)
	lib, problem := New(eng, cfg)
	require.NoError(t, problem)
	r := &rig{T: t, eng: eng, os: lib.(*LibOS)}
	a := adopter{r.os, r}
	require.Zero(t, eng.Attach(a, a))
	t.Cleanup(eng.Close)
	return r
}

// eachBackend runs a test on the ring and on the worker thread, and looks for descriptors left open.
func eachBackend(t *testing.T, test func(*rig)) {
	rd, wr, err := os.Pipe() // the first of them makes the Go runtime open descriptors of its own
	require.NoError(t, err)
	rd.Close()
	wr.Close()
	for _, b := range []struct {
		name  string
		uring bool
	}{{"ring", true}, {"worker", false}} {
		t.Run(b.name, func(t *testing.T) {
			before := openFds(t)
			t.Run("run", func(t *testing.T) {
				r := newRig(t, b.uring)
				_, err := r.os.startFiles()
				require.Zero(t, err)
				if b.uring && !r.uring() {
					t.Skip("no io_uring here")
				}
				test(r)
			})
			require.ElementsMatch(t, before, openFds(t), "descriptors before and after")
		})
	}
}

// openFds lists the descriptors of the process, without those of the Go runtime.
func openFds(t *testing.T) (fds []string) {
	dir, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, e := range dir {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(to, "/proc/") {
			fds = append(fds, e.Name()+" "+to)
		}
	}
	return fds
}

func (r *rig) uring() bool { _, ok := r.os.files.be.(*ring); return ok }

func (r *rig) tryOpen(path string, flags int) (int32, abi.Errno) {
	return r.eng.Open(&engine.Args{Kind: engine.KindFile, Path: path, Flags: flags, Mode: 0o600})
}

func (r *rig) open(path string, flags int) int32 {
	r.Helper()
	qd, err := r.tryOpen(path, flags)
	require.Zero(r, err, "open %s", path)
	return qd
}

// openFd makes a queue of any descriptor, a pipe for one.
func (r *rig) openFd(fd, flags int) int32 {
	r.Helper()
	r.adopt = fd
	return r.open("", flags)
}

func (r *rig) close(qd int32) { r.Helper(); require.Zero(r, r.eng.CloseQueue(qd)) }

// carray copies bytes to memory as programs have it.
func (r *rig) carray(segs ...string) *abi.SGArray {
	a := &abi.SGArray{NumSegs: uint32(len(segs))}
	for i, s := range segs {
		p := mem.Alloc(uint64(max(len(s), 1)))
		require.NotNil(r, p)
		r.Cleanup(func() { mem.Free(p) })
		copy(unsafe.Slice((*byte)(p), len(s)), s)
		a.Segs[i] = abi.Seg{Buf: abi.PtrTo(p), Len: uint32(len(s))}
	}
	return a
}

func (r *rig) push(qd int32, segs ...string) uint64 {
	r.Helper()
	qt, err := r.eng.Push(qd, r.carray(segs...))
	require.Zero(r, err)
	return qt
}

func (r *rig) pop(qd int32, count uint64) uint64 {
	r.Helper()
	qt, err := r.eng.Pop(qd, count)
	require.Zero(r, err)
	return qt
}

func (r *rig) done(qt uint64) bool {
	r.Helper()
	rec := r.eng.Token(qt)
	require.NotNil(r, rec)
	return rec.State == abi.TokenDone
}

// wait drives the engine until the token is done, gives its errno and, for a pop, what it read, and drops it.
func (r *rig) wait(qt uint64) (string, abi.Errno) {
	r.Helper()
	for start := time.Now(); !r.done(qt); {
		r.eng.Drive(10)
		require.Less(r, time.Since(start), 20*time.Second, "operation does not end")
	}
	rec := r.eng.Token(qt)
	text, err := "", abi.Errno(rec.Err)
	if sga := &rec.Result.SGA; rec.Result.Opcode == abi.OpPop && err == 0 {
		require.EqualValues(r, 1, sga.NumSegs)
		require.NotZero(r, sga.Buf)
		require.Equal(r, sga.Buf, sga.Segs[0].Buf)
		text = string(sga.Bytes(0))
	}
	require.Zero(r, r.eng.Drop(qt))
	return text, err
}

func (r *rig) waitOK(qt uint64) string {
	r.Helper()
	s, err := r.wait(qt)
	require.Zero(r, err)
	return s
}

// drive gives operations a chance to begin and, if they can, to end.
func (r *rig) drive() {
	for range 20 {
		r.eng.Drive(1)
		time.Sleep(time.Millisecond)
	}
}

func (r *rig) file(content string) string {
	r.Helper()
	path := filepath.Join(r.TempDir(), "f")
	require.NoError(r, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func (r *rig) content(path string) string {
	r.Helper()
	b, err := os.ReadFile(path)
	require.NoError(r, err)
	return string(b)
}

// pipe returns both ends, blocking as a program's files are.
func (r *rig) pipe() (rd, wr int) {
	r.Helper()
	var p [2]int
	require.NoError(r, unix.Pipe2(p[:], unix.O_CLOEXEC))
	return p[0], p[1]
}

// addressSpace is the size of the process in bytes; a large block that is lost shows in it.
func (r *rig) addressSpace() int {
	r.Helper()
	fields := strings.Fields(r.content("/proc/self/statm"))
	pages, err := strconv.Atoi(fields[0])
	require.NoError(r, err)
	return pages * os.Getpagesize()
}
