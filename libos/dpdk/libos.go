// Package dpdk is the libOS over the TCP/IP stack of the library itself. It has two names, after the devices that the stack sits on:
// dpdk, a device of DPDK, and raw, a tap or an interface of the kernel by AF_PACKET.
//
// # Call order
//
// New or NewRaw opens the device. All that happens on the network happens in Poll, and in what the engine calls on a queue; what
// that wants to send has left when it returns. Arm sets a timer for the next moment at which the stack has something to do.
//
// # Threading
//
// As package engine has it. A child process has no part in the device: it has no engine, so that all its calls fail.
package dpdk

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/framing"
	"github.com/libdmtr/libdmtr/libos/internal/inbox"
	"github.com/libdmtr/libdmtr/libos/internal/inet"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/clock"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
	"github.com/libdmtr/libdmtr/runtime/reuse"
)

// timeEvery is after how many looks at the device in vain the timers are looked at.
const timeEvery = 8

// LibOS is the libOS dpdk or raw.
type LibOS struct {
	cfg   *config.Config
	eng   *engine.Engine
	pool  inbox.Pool
	dev   link.Device
	stack *inet.Stack
	addr  wire.Addr // own
	ports portTable
	held  []*udpSock // sockets with pushes that the device had no room for
	tcps  reuse.List[tcpSock]
	udps  reuse.List[udpSock]

	words [framing.MaxOverhead]byte // framing words of the push being sent
	iov   framing.Pieces
	parts [len(framing.Pieces{})][]byte

	clock   *clock.Clock
	epoch   int64 // the time of the stack at the clock's start
	timer   int   // timerfd
	fd      int   // of the device; -1: it must be looked at
	nap     int64 // the next sleep between two looks, in nanoseconds
	wakeAt  int64 // when the timer expires
	minNap  int64
	maxNap  int64
	seen    uint64 // frames received when Arm last looked
	polls   uint32 // Control.Polls at the last poll
	looks   uint32 // at the device in vain, since
	waitFds []int
}

// open makes a libOS on a device, which it closes if that fails.
func open(eng *engine.Engine, cfg *config.Config, dev link.Device, sc *inet.Config) (engine.LibOS, error) {
	o := &LibOS{cfg: cfg, eng: eng, pool: inbox.Pool{Config: cfg}, addr: sc.IP.Addr, fd: dev.Info().FD, clock: clock.New()}
	o.minNap = int64(cfg.Dpdk.SleepMicros) * int64(time.Microsecond)
	o.maxNap = int64(cfg.Dpdk.MaxSleepMicros) * int64(time.Microsecond)
	o.nap = o.minNap
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		dev.Close()
		return nil, err
	}
	o.epoch = ts.Nano()
	if path := cfg.Network.Pcap; path != "" {
		capture, err := link.NewPcap(dev, link.PcapConfig{Path: path, Epoch: time.Now().UnixNano() - o.now()})
		if err != nil {
			dev.Close()
			return nil, err
		}
		dev = capture
	}
	o.dev = dev
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		dev.Close()
		return nil, err
	}
	o.timer, o.waitFds = fd, []int{fd}
	if o.fd >= 0 {
		o.waitFds = append(o.waitFds, o.fd)
	}
	stack, errno := inet.New(dev, sc, o.now())
	if errno != 0 {
		_ = unix.Close(fd)
		dev.Close()
		return nil, errno
	}
	o.stack = stack
	o.ports.host = stack.TCP()
	eng.Control().Keep = 1
	return o, nil
}

// now is the time of the stack.
func (o *LibOS) now() int64 { return o.epoch + o.clock.Now() }

// enter tells the stack the time, before a call from outside Poll that sends.
func (o *LibOS) enter() { o.stack.SetNow(o.now()) }

// leave sends what such calls have queued.
func (o *LibOS) leave() { o.stack.Flush() }

// Open implements engine.LibOS.
func (o *LibOS) Open(a *engine.Args) (engine.Queue, abi.Errno) {
	switch a.Kind {
	case engine.KindStream:
		return newTCP(o), 0
	case engine.KindDatagram:
		return newUDP(o), 0
	}
	return nil, unix.ENOTSUP
}

// Fds implements engine.LibOS.
func (o *LibOS) Fds() []int { return o.waitFds }

// Poll implements engine.LibOS. Most polls of a wait that spins find nothing. Then the time, which costs as much as the look at the
// device, is looked at only now and then.
func (o *LibOS) Poll() {
	o.pool.Refill()
	if polls := o.eng.Control().Polls; polls != o.polls || o.looks == timeEvery {
		o.polls, o.looks = polls, 0
	} else if o.looks++; !o.stack.Look() {
		return
	}
	o.stack.Poll(o.now())
	if len(o.held) > 0 {
		o.retry()
	}
}

// retry goes on with datagrams that the device had no room for.
func (o *LibOS) retry() {
	n := 0
	for _, u := range o.held {
		if u.flush(); !u.Pushes.Empty() {
			o.held[n] = u
			n++
		} else {
			u.held = false
		}
	}
	clear(o.held[n:])
	o.held = o.held[:n]
	o.leave()
}

// Arm implements engine.LibOS.
func (o *LibOS) Arm() {
	now := o.now()
	at := o.stack.Next()
	if o.fd < 0 || len(o.held) > 0 {
		if n := o.dev.Counters().RxFrames; n != o.seen {
			o.seen, o.nap = n, o.minNap
		} else if now >= o.wakeAt {
			o.nap = min(2*o.nap, o.maxNap)
		}
		at = min(at, now+o.nap)
	}
	o.wakeAt = at
	var spec unix.ItimerSpec
	if at != timer.Never {
		spec.Value = unix.NsecToTimespec(max(at-now, 1))
	}
	_, _, _ = unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(o.timer), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
}

// Finish implements engine.Finisher.
func (o *LibOS) Finish() {
	fds := make([]unix.PollFd, 0, len(o.waitFds))
	for _, fd := range o.waitFds {
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	for end := o.now() + int64(o.cfg.TCP.ExitMillis)*int64(time.Millisecond); o.stack.TCP().Unfinished() && o.now() < end; {
		o.Arm()
		_, _ = unix.Poll(fds, 10)
		o.Poll()
	}
}

// Close implements engine.LibOS.
func (o *LibOS) Close() {
	o.stack.Close()
	o.pool.Close()
	_ = unix.Close(o.timer)
}
