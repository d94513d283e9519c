package dpdk

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link/linktest"
)

// missing says why there is no DPDK to test with.
var missing string

func TestMain(m *testing.M) {
	if os.Getenv(peerRole) != "" {
		shimPath = os.Getenv("DMTR_TEST_SHIM")
		bePeer()
	}
	dir, err := os.MkdirTemp("", "dmtr-dpdk")
	if err != nil {
		panic(err)
	}
	shimPath = os.Getenv("DMTR_TEST_SHIM") // of the process that started this one
	if shimPath == "" {
		shimPath = filepath.Join(dir, "libdmtr-dpdk.so")
		out, err := exec.Command("shim/build.sh", shimPath).CombinedOutput()
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit) && exit.ExitCode() == 77:
			missing = "DPDK is not installed (libdpdk-dev)"
		case err != nil:
			panic(fmt.Sprintf("build.sh: %v\n%s", err, out))
		}
		os.Setenv("DMTR_TEST_SHIM", shimPath)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func needDPDK(t testing.TB) {
	if missing != "" {
		t.Skip(missing)
	}
}

// eal are the arguments of DPDK in this process, but for the devices.
var eal = []string{"--no-huge", "--in-memory", "--no-pci", "--no-telemetry", "-m", "256"}

func with(vdevs ...string) *Config {
	c := &Config{EAL: append([]string{}, eal...)}
	for _, v := range vdevs {
		c.EAL = append(c.EAL, "--vdev="+v)
	}
	return c
}

func open(t testing.TB, c *Config) *Device {
	d, err := Open(c)
	require.NoError(t, err)
	return d
}

// memif is a pair of ports in this process.
func memif(t testing.TB) (server, client *Device) {
	socket := filepath.Join(t.TempDir(), "m")
	server = open(t, with("net_memif0,role=server,socket="+socket+",socket-abstract=no"))
	client = open(t, with("net_memif1,role=client,socket="+socket+",socket-abstract=no"))
	require.Eventually(t, func() bool { return server.Up() && client.Up() }, 2*time.Second, time.Millisecond)
	return server, client
}

func TestContract(t *testing.T) {
	needDPDK(t)
	t.Run("MemifServer", func(t *testing.T) {
		linktest.Run(t, func(t *testing.T) (link.Device, link.Device) { return memif(t) })
	})
	t.Run("MemifClient", func(t *testing.T) {
		linktest.Run(t, func(t *testing.T) (link.Device, link.Device) {
			server, client := memif(t)
			return client, server
		})
	})
}

func TestNoLeak(t *testing.T) {
	needDPDK(t)
	server, client := memif(t)
	assert.Zero(t, server.held())
	assert.Zero(t, client.held())
	server.Close()
	client.Close()
}
