// Package inet is a TCP/IP stack on an Ethernet-like device, for one thread that polls it.
//
// # Call order
//
// New, then Poll again and again, not later than Next. Between two Polls sockets may be used, after SetNow and with
// Flush behind. Close comes last.
//
// # Threading
//
// A Stack and all that belongs to it are used by one thread at a time. It starts nothing by itself and reads no clock.
package inet

import (
	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/udp"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// Config of a Stack.
type Config struct {
	IP  ip.Config
	UDP udp.Config
	TCP tcp.Config
}

// Stack is the parts put together.
type Stack struct {
	dev    link.Device
	clock  link.Clocked // dev, if it needs the time
	timers *timer.Wheel
	ip     *ip.Host
	udp    *udp.Table
	tcp    *tcp.Host
	busy   bool
}

// New makes a Stack, which owns the device from then on if it succeeds.
func New(dev link.Device, cfg *Config, now int64) (*Stack, abi.Errno) {
	s := &Stack{dev: dev, timers: timer.NewWheel(now)}
	if s.clock, _ = dev.(link.Clocked); s.clock != nil {
		s.clock.SetNow(now)
	}
	var err abi.Errno
	if s.ip, err = ip.New(dev, s.timers, &cfg.IP, now); err != 0 {
		return nil, err
	}
	s.udp = udp.New(s.ip, &cfg.UDP)
	s.tcp = tcp.New(s.ip, s.timers, &cfg.TCP)
	return s, 0
}

// Look tells whether Poll has anything to do beside the timers. It needs no time, unless the device does.
func (s *Stack) Look() bool { return s.clock != nil || s.ip.Look() }

// Poll receives and handles a burst of frames, runs the timers that are due, and sends.
func (s *Stack) Poll(now int64) {
	if s.clock != nil {
		s.clock.SetNow(now)
	}
	s.tcp.Settle()
	s.busy = s.ip.Poll(now)
	s.tcp.Flush()
	s.timers.Advance(now)
	s.dev.Flush()
}

// Next is when Poll has to be called again at the latest: the earliest timer, or the present if there is work left.
// What arrives on the device may need it earlier.
func (s *Stack) Next() int64 {
	s.tcp.Settle() // or its timer would be waited for in vain
	if s.busy || s.ip.Waiting() {
		return s.ip.Now()
	}
	if s.clock != nil {
		return min(s.clock.Next(), s.timers.Next())
	}
	return s.timers.Next()
}

// SetNow tells the time, before calls on sockets from outside Poll.
func (s *Stack) SetNow(now int64) {
	if s.clock != nil {
		s.clock.SetNow(now)
	}
	s.ip.SetNow(now)
}

// Flush passes on what calls on sockets have sent.
func (s *Stack) Flush() { s.dev.Flush() }

// IP, UDP, TCP and Timers are the parts.
func (s *Stack) IP() *ip.Host         { return s.ip }
func (s *Stack) UDP() *udp.Table      { return s.udp }
func (s *Stack) TCP() *tcp.Host       { return s.tcp }
func (s *Stack) Timers() *timer.Wheel { return s.timers }

// Close resets all connections, and closes the device.
func (s *Stack) Close() {
	s.tcp.Close()
	s.dev.Flush()
	s.dev.Close()
}
