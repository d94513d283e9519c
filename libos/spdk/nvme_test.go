package spdk

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/libos/spdk/store"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// The suite for files on an NVMe drive, which the test overwrites; tests/vm/storage.sh names it.
func TestConformanceNVMe(t *testing.T) {
	address := os.Getenv("DMTR_NVME")
	if address == "" {
		t.Skip("DMTR_NVME names no drive")
	}
	drive := config.Spdk{Transport: config.SpdkPCIe, DevAddr: address, Namespace: 1}
	dev, err := OpenDrive(&drive, false)
	require.NoError(t, err)
	errno := store.Format(dev, store.FormatOptions{Force: true})
	dev.Close()
	require.Zero(t, errno, "%v", errno)
	libostest.RunFiles(t, libostest.FileOptions{Logs: true, Options: libostest.Options{
		New: func(e *engine.Engine, c *config.Config) (engine.LibOS, error) {
			c.Spdk = drive
			return New(e, c)
		},
	}})
}
