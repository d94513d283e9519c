package rdma

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/libos/rdma/verbs/fake"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// narrow is a listener with a backlog of 2, and n connects to it under way.
func narrow(t *testing.T, l *libostest.Lib, n int) (lqd int32, qds []int32, connects []uint64) {
	lqd, addr := l.Bound(engine.KindStream)
	s, _ := l.Engine.Socket(lqd)
	require.Zero(t, s.Listen(2))
	for range n {
		qd := l.Socket(engine.KindStream)
		qds = append(qds, qd)
		connects = append(connects, l.Token(l.Connect(qd, &addr)))
	}
	return lqd, qds, connects
}

// asked waits until so many requests are beyond the backlog of the only listener.
func asked(t *testing.T, o *LibOS, l *libostest.Lib, want int) {
	t.Helper()
	n := -1
	for end := time.Now().Add(patience); n != want; {
		require.True(t, time.Now().Before(end), "%d ask", n)
		l.Drive(1)
		n = 0
		for _, h := range o.byID {
			if _, ok := h.(*request); ok {
				n++
			}
		}
	}
}

// More connections than the backlog has room for are not refused: they wait until there is room.
func TestBacklog(t *testing.T) { backlog(t, onFabric(t)) }

func TestBacklogDevice(t *testing.T) { backlog(t, onDevice(t)) }

func backlog(t *testing.T, w *world) {
	o, l := opened(t, w)
	lqd, qds, connects := narrow(t, l, 10)
	asked(t, o, l, 8)
	for range qds {
		_, err := l.Wait(l.Token(l.Accept(lqd)))
		require.Zero(t, err)
	}
	for _, qt := range connects {
		_, err := l.Wait(qt)
		assert.Zero(t, err)
	}
	assert.Zero(t, o.stats.Rejected)
}

// Who gives up waiting is forgotten, and the others are not kept by that.
func TestBacklogGivenUp(t *testing.T) {
	o, l := opened(t, onFabric(t))
	lqd, qds, connects := narrow(t, l, 10)
	asked(t, o, l, 8)
	before := o.dev.(*fake.Device).Left().IDs
	for _, qd := range qds[3:8] {
		require.Zero(t, l.CloseQueue(qd))
	}
	asked(t, o, l, 3)
	assert.Equal(t, before-2*5, o.dev.(*fake.Device).Left().IDs)
	for _, i := range []int{0, 1, 2, 8, 9} {
		_, err := l.Wait(l.Token(l.Accept(lqd)))
		require.Zero(t, err)
		_, err = l.Wait(connects[i])
		assert.Zero(t, err)
	}
}

// Who waits is refused when the listener closes, and who comes when very many wait, at once.
func TestBacklogOverrun(t *testing.T) {
	o, l := opened(t, onFabric(t))
	lqd, _, connects := narrow(t, l, 2+maxAsking+5)
	asked(t, o, l, maxAsking)
	refused := func() (n int) {
		for _, qt := range connects {
			if _, err := l.Result(qt); err == unix.ECONNREFUSED {
				n++
			}
		}
		return n
	}
	l.Drive(100)
	assert.Equal(t, 5, refused())
	require.Zero(t, l.CloseQueue(lqd))
	n := 0
	for end := time.Now().Add(patience); n < maxAsking && time.Now().Before(end); l.Step() {
		n += refused()
	}
	assert.Equal(t, maxAsking, n)
}
