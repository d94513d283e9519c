package udp

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

var (
	addrA = wire.AddrFrom([4]byte{10, 0, 0, 1})
	addrB = wire.AddrFrom([4]byte{10, 0, 0, 2})
)

// end is a host with UDP at one end of a pipe.
type end struct {
	*Table
	host   *ip.Host
	timers *timer.Wheel
	dev    link.Device
}

type rig struct {
	a, b end
	now  int64
}

func newEnd(t testing.TB, dev link.Device, addr wire.Addr, cfg Config) end {
	w := timer.NewWheel(0)
	h, err := ip.New(dev, w, &ip.Config{Addr: addr, Prefix: 24}, 0)
	require.Zero(t, err)
	return end{New(h, &cfg), h, w, dev}
}

func newRig(t testing.TB, cfg Config, pa, pb link.Config) *rig {
	a, b := link.NewPipe(pa, pb)
	r := &rig{a: newEnd(t, a, addrA, cfg), b: newEnd(t, b, addrB, cfg)}
	r.run()
	return r
}

func (e *end) poll(now int64) bool {
	busy := e.host.Poll(now)
	e.timers.Advance(now)
	e.dev.Flush()
	return busy
}

// run polls both ends until nothing more is on its way.
func (r *rig) run() {
	r.a.dev.Flush()
	r.b.dev.Flush()
	for quiet := 0; quiet < 3; {
		before := r.a.dev.Counters().RxFrames + r.b.dev.Counters().RxFrames
		busy := r.a.poll(r.now)
		busy = r.b.poll(r.now) || busy
		if quiet++; busy || r.a.dev.Counters().RxFrames+r.b.dev.Counters().RxFrames != before {
			quiet = 0
		}
	}
}

// sink is a handler that takes, or does not.
type sink struct {
	refuse bool
	got    []string
	from   []wire.Addr
	ports  []uint16
	errs   []abi.Errno
}

func (s *sink) Received(p []byte, src wire.Addr, port uint16) bool {
	if s.refuse {
		return false
	}
	s.got, s.from, s.ports = append(s.got, string(p)), append(s.from, src), append(s.ports, port)
	return true
}

func (s *sink) Failed(err abi.Errno) { s.errs = append(s.errs, err) }

func parts(s ...string) (p [][]byte) {
	for _, x := range s {
		p = append(p, []byte(x))
	}
	return p
}
