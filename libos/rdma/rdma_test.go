package rdma

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/libos/rdma/verbs/fake"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// options are for libraries that are on one fabric, which is checked at the end.
func options(t testing.TB, f *fake.Fabric) libostest.Options {
	t.Cleanup(func() {
		assert.Empty(t, f.Wrong)
		assert.Zero(t, f.RNR, "messages without a receive buffer")
	})
	return libostest.Options{
		Garbage: true,
		New: func(e *engine.Engine, cfg *config.Config) (engine.LibOS, error) {
			dev := f.Join()
			t.Cleanup(func() { assert.Equal(t, fake.Left{}, dev.Left(), "left behind") })
			return open(e, cfg, dev, f.Now)
		},
		Addr: func(o engine.LibOS) [4]byte { return o.(*LibOS).dev.(*fake.Device).Addr() },
	}
}

func TestConformance(t *testing.T) {
	libostest.Run(t, options(t, fake.New(1)))
}

func TestConformanceDelayed(t *testing.T) {
	f := fake.New(2)
	f.Delay = 20
	libostest.Run(t, options(t, f))
}
