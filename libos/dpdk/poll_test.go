package dpdk

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

type alarm struct{ rings int }

func (a *alarm) Expired(*timer.Timer, int64) { a.rings++ }

// A poll that finds nothing does not look at the time, but timers run all the same: at the first poll of each call, and in a spin.
func TestTimersRunThoughNothingComes(t *testing.T) {
	var os *LibOS
	lib := libostest.Open(t, &libostest.Options{Addr: hubAddr, New: func(e *engine.Engine, cfg *config.Config) (engine.LibOS, error) {
		o, err := onHub()(e, cfg)
		os, _ = o.(*LibOS)
		return o, err
	}}, nil)
	lib.Drive(64)
	var a alarm
	ring := timer.Timer{Owner: &a}
	for i := range 20 {
		os.stack.Timers().Set(&ring, os.now())
		lib.Drive(1)
		assert.Equal(t, i+1, a.rings)
	}
	wheel := os.stack.Timers()
	os.stack.Poll(os.now())
	lib.Drive(1)
	wheel.Set(&ring, os.now()+200_000)
	for start := os.now(); os.now()-start < 250_000; {
	}
	os.polls = lib.Control().Polls // as if in the middle of a spin
	for range timeEvery + 1 {
		os.Poll()
	}
	assert.Equal(t, 21, a.rings)
}
