package linktest

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
)

// Forward runs a bridge between two devices that have descriptors, in real time and on a thread of its own, until the
// test is over or stop is called. stop may be called more than once; after it the devices are the caller's again.
func Forward(t *testing.T, a, b link.Device) (bridge *link.Bridge, stop func()) {
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
