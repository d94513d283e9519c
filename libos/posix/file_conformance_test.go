package posix

import (
	"testing"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

func TestFileConformance(t *testing.T) {
	for name, uring := range map[string]bool{"ring": true, "worker": false} {
		t.Run(name, func(t *testing.T) {
			libostest.RunFiles(t, libostest.FileOptions{Prefix: t.TempDir() + "/", Options: libostest.Options{
				New: func(e *engine.Engine, c *config.Config) (engine.LibOS, error) {
					c.Posix.IOUring = uring
					return New(e, c)
				},
			}})
		})
	}
}
