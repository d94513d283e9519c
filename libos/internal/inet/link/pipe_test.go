package link_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link/linktest"
)

func TestPipe(t *testing.T) {
	linktest.Run(t, func(*testing.T) (dev, peer link.Device) { return link.NewPipe(link.Config{}, link.Config{}) })
}

// A full pipe loses the newest frames and counts them; what has been handed out counts as being in it.
func TestPipeFull(t *testing.T) {
	a, b := link.NewPipe(link.Config{}, link.Config{Queue: 3})
	for i := range 6 {
		linktest.Fill(a.Buffer(), i, 60)
		a.Send(60, 0)
	}
	frames := make([]link.Frame, 8)
	assert.Zero(t, b.Receive(frames), "before Flush")
	a.Flush()
	require.Equal(t, 4, b.Receive(frames))
	assert.Equal(t, uint64(2), a.Counters().TxDropped)
	for i := range 4 {
		assert.Equal(t, byte(i), frames[i].Data[17])
	}
	a.Send(60, 0)
	assert.Equal(t, uint64(3), a.Counters().TxDropped)
	assert.Zero(t, b.Receive(frames))
	a.Send(60, 0)
	assert.Equal(t, uint64(3), a.Counters().TxDropped)
}

func TestPipeMTU(t *testing.T) {
	a, b := link.NewPipe(link.Config{MTU: 1500}, link.Config{MTU: 1000})
	a.Send(1015, 0)
	a.Send(1014, 0)
	a.Flush()
	frames := make([]link.Frame, 8)
	require.Equal(t, 1, b.Receive(frames))
	assert.Len(t, frames[0].Data, 1014)
	assert.Equal(t, uint64(1), b.Counters().RxErrors)
	assert.Len(t, b.Buffer(), 1014)
}

// Sums that an end was asked for are not filled in; the other one is told not to look.
func TestPipeOffload(t *testing.T) {
	a, b := link.NewPipe(link.Config{Offloads: link.SumTransport | link.SumsGood}, link.Config{})
	assert.Equal(t, link.SumTransport, a.Info().Offloads)
	frames := make([]link.Frame, 8)
	a.Send(60, link.SumTransport)
	a.Send(60, 0)
	a.Flush()
	require.Equal(t, 2, b.Receive(frames))
	assert.Equal(t, link.SumsGood, frames[0].Flags)
	assert.Zero(t, frames[1].Flags)
	b.Send(60, link.SumTransport)
	b.Flush()
	require.Equal(t, 1, a.Receive(frames))
	assert.Zero(t, frames[0].Flags)
}

func TestPipeClosed(t *testing.T) {
	a, b := link.NewPipe(link.Config{}, link.Config{})
	frames := make([]link.Frame, 8)
	b.Send(60, 0)
	a.Send(60, 0)
	a.Flush()
	b.Close()
	b.Flush()
	assert.Zero(t, b.Receive(frames))
	assert.Equal(t, 1, a.Receive(frames))
	a.Send(60, 0)
	assert.Equal(t, uint64(1), a.Counters().TxDropped)
}

func BenchmarkPipe(b *testing.B) {
	x, y := link.NewPipe(link.Config{}, link.Config{})
	frames := make([]link.Frame, 32)
	var tx, rx link.Device = x, y
	b.ReportAllocs()
	for b.Loop() {
		_ = tx.Buffer()
		tx.Send(64, 0)
		tx.Flush()
		rx.Receive(frames)
	}
}
