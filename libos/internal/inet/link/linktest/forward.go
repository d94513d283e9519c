package linktest

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// Forward runs a bridge between two devices that have descriptors, in real time and on a thread of its own, until the
// test is over or stop is called. stop may be called more than once; after it the devices are the caller's again.
func Forward(t testing.TB, a, b link.Device) (bridge *link.Bridge, stop func()) {
	bridge = link.NewBridge(a, b)
	var over atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		bridge.Run(&over)
	}()
	stop = func() {
		over.Store(true)
		<-done
	}
	t.Cleanup(stop)
	return bridge, stop
}

// Addresses of the two ends in Kernels.
const (
	AddrA = wire.Addr(0x0a070001) // 10.7.0.1
	AddrB = wire.Addr(0x0a070002) // 10.7.0.2
)

// Kernels joins the kernels of two namespaces, by a tap each and an injector between them: cfg.Receive is what
// happens on the way from a to b, cfg.Send on the way back.
func Kernels(t testing.TB, cfg link.FaultConfig) (a, b *Namespace, fault *link.Fault, bridge *link.Bridge, stop func()) {
	a, b = NewNamespace(t), NewNamespace(t)
	x, y := a.Tap(t, link.TapConfig{}), b.Tap(t, link.TapConfig{})
	a.Up(t, x, AddrA)
	b.Up(t, y, AddrB)
	fault = link.NewFault(x, cfg)
	bridge, stop = Forward(t, fault, y)
	return a, b, fault, bridge, stop
}

// Up gives the kernel's end of a tap an address in 10.7.0.0/24.
func (n *Namespace) Up(t testing.TB, tap *link.Tap, addr wire.Addr) {
	require.NoError(t, n.Do(func() error {
		if errno := tap.Up(addr, 24); errno != 0 {
			return errno
		}
		return nil
	}))
}
