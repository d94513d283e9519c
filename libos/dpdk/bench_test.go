package dpdk

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// onPipe makes two libOSes that are joined by a pipe.
func onPipe() func(*engine.Engine, *config.Config) (engine.LibOS, error) {
	a, b := link.NewPipe(link.Config{}, link.Config{})
	ends := []link.Device{a, b}
	return func(e *engine.Engine, cfg *config.Config) (engine.LibOS, error) {
		sc, err := settings(cfg)
		if err != nil {
			return nil, err
		}
		sc.IP.Addr, sc.IP.Prefix = wire.Addr(10<<24+len(ends)), 24
		dev := ends[0]
		ends = ends[1:]
		return open(e, cfg, dev, sc)
	}
}

// BenchmarkEcho is a round trip of 64 bytes between two libraries on one thread: two pushes, two pops, and the polls between.
func BenchmarkEcho(b *testing.B) {
	opt := &libostest.Options{New: onPipe(), Addr: hubAddr}
	x, y := libostest.Open(b, opt, nil), libostest.Open(b, opt, nil)
	lqd, addr := y.Listener()
	accept := y.Token(y.Accept(lqd))
	c := x.Socket(engine.KindStream)
	_, err := x.Wait(x.Token(x.Engine.Connect(c, &addr)))
	require.Zero(b, err)
	r, err := y.Wait(accept)
	require.Zero(b, err)
	s := r.Accept().QD
	sga := libostest.Array(b, make([]byte, 64))
	finish := func(e *engine.Engine, qt uint64) abi.QResult {
		for {
			r, err := e.Result(qt)
			if err != unix.EAGAIN {
				return r
			}
			e.Drive(1)
		}
	}
	half := func(from, to *libostest.Lib, fqd, tqd int32) {
		pop, _ := to.Pop(tqd, 0)
		push, _ := from.Push(fqd, sga)
		finish(from.Engine, push)
		r := finish(to.Engine, pop)
		mem.Free(r.SGA.Buf.Pointer())
	}
	b.ReportAllocs()
	for b.Loop() {
		half(x, y, c, s)
		half(y, x, s, c)
	}
}
