package posix_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/libos/posix"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

func eventfd(t *testing.T) int {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func watched(t *testing.T, l *libostest.Lib, fd int) int32 {
	qd, err := l.Engine.Open(&engine.Args{Kind: engine.KindWatch, FD: fd})
	require.Zero(t, err)
	return qd
}

var one, count [8]byte

func TestWatchLooks(t *testing.T) {
	l := libostest.Open(t, &libostest.Options{New: posix.New}, nil)
	fd := eventfd(t)
	qd := watched(t, l, fd)
	done := func(qt uint64) bool { return l.Engine.Token(qt).State == abi.TokenDone }
	one[0] = 1
	_, _ = unix.Write(fd, one[:])
	qt := l.Token(l.Pop(qd, 0))
	l.Drive(1)
	assert.True(t, done(qt), "what is readable is found at once")
	_, _ = unix.Read(fd, count[:])

	qt = l.Token(l.Pop(qd, 0))
	for round := range 10 {
		l.Drive(1)
		require.False(t, done(qt))
		_, _ = unix.Write(fd, one[:])
		polls := 0
		for ; !done(qt); polls++ {
			l.Drive(1)
			require.Less(t, polls, 100)
		}
		if round == 0 {
			assert.Greater(t, polls, 40, "an idle one costs a system call now and then only")
		}
		_, _ = unix.Read(fd, count[:])
		qt = l.Token(l.Pop(qd, 0))
	}
	l.Drive(1)
	_, _ = unix.Write(fd, one[:])
	l.Arm()
	l.Drive(1)
	assert.True(t, done(qt), "what ends a sleep is found at once")
}

func TestWatchErrors(t *testing.T) {
	l := libostest.Open(t, &libostest.Options{New: posix.New}, func(c *config.Config) { c.Limits.Queues = 1 })
	qd := watched(t, l, eventfd(t))
	_, err := l.Engine.Open(&engine.Args{Kind: engine.KindWatch, FD: eventfd(t)})
	assert.Equal(t, unix.EMFILE, err)
	require.Zero(t, l.CloseQueue(qd))
	set := eventfd(t)
	for range 10 { // sets of sets, of which epoll allows a few
		outer, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		require.NoError(t, err)
		t.Cleanup(func() { _ = unix.Close(outer) })
		if unix.EpollCtl(outer, unix.EPOLL_CTL_ADD, set, &unix.EpollEvent{Events: unix.EPOLLIN}) != nil {
			break
		}
		set = outer
	}
	_, err = l.Engine.Open(&engine.Args{Kind: engine.KindWatch, FD: set})
	assert.Equal(t, unix.ELOOP, err)
	watched(t, l, eventfd(t))
}

func TestWatchAllocs(t *testing.T) {
	l := libostest.Open(t, &libostest.Options{New: posix.New}, nil)
	fd := eventfd(t)
	qd := watched(t, l, fd)
	one[0] = 1
	turn := func() {
		qt, err := l.Pop(qd, 0)
		l.Drive(1)
		_, _ = unix.Write(fd, one[:])
		for err == 0 && l.Engine.Token(qt).State != abi.TokenDone {
			l.Drive(1)
		}
		_, _ = unix.Read(fd, count[:])
		if _, e := l.Result(qt); err != 0 || e != 0 {
			panic("failed")
		}
		qt, _ = l.Pop(qd, 0)
		_ = l.Drop(qt)
	}
	turn()
	assert.Zero(t, testing.AllocsPerRun(1000, turn))
}
