package link_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// Two links joined by a bridge are one link.
func TestBridge(t *testing.T) {
	a, x := link.NewPipe(link.Config{}, link.Config{})
	y, b := link.NewPipe(link.Config{}, link.Config{})
	br := link.NewBridge(x, y)
	for burst := 1; burst <= 64; burst++ {
		for i := range burst {
			put(a, i, 60+i)
			put(b, 100+i, 60+i)
		}
		a.Flush()
		b.Flush()
		for br.Poll(0) > 0 {
		}
		toA, toB := numbers(a), numbers(b)
		require.Len(t, toA, burst)
		require.Len(t, toB, burst)
		for i := range burst {
			require.Equal(t, i, toB[i])
			require.Equal(t, 100+i, toA[i])
		}
	}
	assert.Equal(t, timer.Never, br.Next())
	assert.Equal(t, a.Counters().TxBytes, b.Counters().RxBytes)
	frames := make([]link.Frame, 32)
	assert.Zero(t, testing.AllocsPerRun(200, func() {
		put(a, 1, 60)
		a.Flush()
		br.Poll(0)
		b.Receive(frames)
	}))
}

// Sums that one side may leave open are filled in for the other, in software or by the device.
func TestBridgeSums(t *testing.T) {
	for i, proto := range []uint8{wire.ProtoUDP, wire.ProtoTCP, wire.ProtoUDP, wire.ProtoTCP} {
		offloads := []link.Flags{0, link.SumTransport}[i/2]
		a, x := link.NewPipe(link.Config{Offloads: link.SumTransport}, link.Config{})
		y, b := link.NewPipe(link.Config{Offloads: offloads, MTU: 1000}, link.Config{})
		br := link.NewBridge(x, link.NewFault(y, link.FaultConfig{Send: link.Impairment{Delay: ms}}))
		packet(a.Buffer(), 75, proto)
		a.Send(75, link.SumTransport)
		a.Send(1500, 0)
		a.Flush()
		assert.Equal(t, 2, br.Poll(0))
		assert.Equal(t, ms, br.Next())
		assert.Zero(t, br.Poll(ms))
		frames := make([]link.Frame, 3)
		require.Equal(t, 1, b.Receive(frames))
		_, transport := good(frames[0].Data)
		assert.Equal(t, offloads == 0, transport)
		assert.Equal(t, offloads != 0, frames[0].Flags == link.SumsGood)
		oversize, full := br.Lost()
		assert.Equal(t, uint64(1), oversize)
		assert.Zero(t, full)
	}
}
