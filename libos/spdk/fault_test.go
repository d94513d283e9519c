package spdk

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/libos/spdk/store"
	"github.com/libdmtr/libdmtr/libos/spdk/store/sim"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// The token of a push has the errno of its write.
func TestWriteFails(t *testing.T) {
	dev := sim.New(sim.Config{Blocks: 16 << 10})
	require.Zero(t, store.Format(dev, store.FormatOptions{}))
	opt := libostest.Options{New: func(_ *engine.Engine, c *config.Config) (engine.LibOS, error) { return NewOn(dev, c) }}
	l := libostest.Open(t, &opt, nil)
	qd, err := l.TryFile("log", unix.O_RDWR|unix.O_CREAT)
	require.Zero(t, err)
	l.Pushed(qd, libostest.Text(t, "well"))
	dev.Inject(sim.Fault{Op: block.Write, Last: 1 << 40, Err: unix.EIO})
	_, err = l.Wait(l.Token(l.Push(qd, libostest.Text(t, "lost"))))
	assert.Equal(t, unix.EIO, err)
}
