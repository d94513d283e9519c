package linktest

import (
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

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
		forward(bridge, []unix.PollFd{{Fd: int32(a.Info().FD), Events: unix.POLLIN}, {Fd: int32(b.Info().FD), Events: unix.POLLIN}}, &over)
	}()
	stop = func() {
		over.Store(true)
		<-done
	}
	t.Cleanup(stop)
	return bridge, stop
}

// forward sleeps when there is nothing to do, up to the microsecond when something is due.
func forward(bridge *link.Bridge, fds []unix.PollFd, over *atomic.Bool) {
	start := time.Now()
	for !over.Load() {
		now := int64(time.Since(start))
		if bridge.Poll(now) > 0 {
			continue
		}
		wait := min(bridge.Next()-now, int64(10*time.Millisecond))
		if wait > 0 {
			ts := unix.NsecToTimespec(wait)
			_, _ = unix.Ppoll(fds, &ts, nil)
		}
	}
}

// Addresses of the two ends in Kernels.
const (
	AddrA = wire.Addr(0x0a070001) // 10.7.0.1
	AddrB = wire.Addr(0x0a070002) // 10.7.0.2
)

// Kernels joins the kernels of two namespaces, by a tap each and an injector between them: cfg.Receive is what
// happens on the way from a to b, cfg.Send on the way back. It is what a stack of ours is compared with that has the
// same injector around its tap.
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

// Congestion chooses the congestion control of a connection of the kernel: what the machine uses by default may be
// another than Linux's cubic, and a namespace cannot change that.
func Congestion(t testing.TB, c *net.TCPConn, name string) {
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
	}))
	require.NoError(t, err)
}

// Goodput sends from one end of a connection to the other for a while and returns the bytes per second that arrived,
// not counting the first tenth of the time.
func Goodput(from, to net.Conn, d time.Duration) float64 {
	end := time.Now().Add(d)
	_ = from.SetWriteDeadline(end)
	_ = to.SetReadDeadline(end)
	go func() {
		data := make([]byte, 64<<10)
		for {
			if _, err := from.Write(data); err != nil {
				return
			}
		}
	}()
	count := 0
	since := time.Now().Add(d / 10)
	b := make([]byte, 256<<10)
	for {
		n, err := to.Read(b)
		if err != nil {
			return float64(count) / end.Sub(since).Seconds()
		}
		if time.Now().After(since) {
			count += n
		}
	}
}
