package link

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// Bridge passes frames between two devices, as a cable would. With a Fault around one of them it is a link with the
// impairments of a real one for two kernels.
type Bridge struct {
	a, b     Device
	frames   [32]Frame
	oversize uint64
	full     uint64
}

// NewBridge joins two devices. The caller keeps them and closes them.
func NewBridge(a, b Device) *Bridge { return &Bridge{a: a, b: b} }

// Poll passes on what is there, up to a burst each way, and returns how many frames that were. now is for those
// devices that need the time.
func (b *Bridge) Poll(now int64) int {
	for _, d := range [...]Device{b.a, b.b} {
		if c, ok := d.(Clocked); ok {
			c.SetNow(now)
		}
	}
	return b.pass(b.a, b.b) + b.pass(b.b, b.a)
}

// Next is the time when Poll has to be called again even if no frame arrives, or timer.Never.
func (b *Bridge) Next() int64 {
	next := timer.Never
	for _, d := range [...]Device{b.a, b.b} {
		if c, ok := d.(Clocked); ok {
			next = min(next, c.Next())
		}
	}
	return next
}

// Run passes on in real time until over is set, sleeping when there is nothing to do. Both devices have descriptors.
func (b *Bridge) Run(over *atomic.Bool) {
	fds := []unix.PollFd{{Fd: int32(b.a.Info().FD), Events: unix.POLLIN}, {Fd: int32(b.b.Info().FD), Events: unix.POLLIN}}
	start := time.Now()
	for !over.Load() {
		now := int64(time.Since(start))
		if b.Poll(now) > 0 {
			continue
		}
		wait := min(b.Next()-now, int64(10*time.Millisecond))
		if wait > 0 {
			ts := unix.NsecToTimespec(wait)
			_, _ = unix.Ppoll(fds, &ts, nil)
		}
	}
}

// Lost counts the frames that the other end could not take: too long for it, and for want of a buffer.
func (b *Bridge) Lost() (oversize, full uint64) { return b.oversize, b.full }

func (b *Bridge) pass(from, to Device) int {
	n := from.Receive(b.frames[:])
	for _, f := range b.frames[:n] {
		room := to.Buffer()
		switch {
		case room == nil:
			b.full++
		case len(f.Data) > len(room) || len(f.Data) < wire.EthernetLen:
			b.oversize++
		default:
			k := copy(room, f.Data)
			to.Send(k, finish(room[:k], f.Flags, to.Info().Offloads))
		}
	}
	to.Flush()
	return n
}

// finish makes a received frame one that can be sent: a sum that the device told not to look at may never have been
// filled in.
func finish(frame []byte, received, offloads Flags) Flags {
	if received&SumsGood == 0 {
		return 0
	}
	flags := unfinished(frame)
	fillSums(frame, flags&^offloads)
	return flags & offloads
}
