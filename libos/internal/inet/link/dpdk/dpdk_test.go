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
		if os.Getenv(peerRole) == "guest" {
			beGuest(os.Args[1:])
		}
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

// TestNoLeak: frames one at a time and many, too many, and of wrong lengths leave no buffer behind.
func TestNoLeak(t *testing.T) {
	needDPDK(t)
	server, client := memif(t)
	defer client.Close()
	defer server.Close()
	frames := make([]link.Frame, 32)
	for round := range 3000 {
		for range round % 70 {
			if client.Buffer() != nil {
				client.Send(14+round%1501, 0)
			}
		}
		client.Flush()
		client.Send(round%14, 0)
		server.Receive(frames[:1+round%32])
		for range round % 5 {
			server.Receive(frames)
		}
	}
	for server.Receive(frames) > 0 {
	}
	assert.Zero(t, server.held())
	assert.Zero(t, client.held())
	assert.Equal(t, client.Counters().TxFrames, server.Counters().RxFrames)
	assert.Equal(t, client.Counters().TxBytes, server.Counters().RxBytes)
}

func TestArguments(t *testing.T) {
	a, err := prepare(nil)
	require.NoError(t, err)
	assert.Contains(t, a.eal, "--no-pci")
	assert.Contains(t, a.eal, "--no-telemetry")
	assert.Empty(t, a.given)
	for _, c := range []struct {
		name                      string
		given                     []string
		eal, without, vdevs, user []string
	}{
		{"old file", []string{"", "-c", "0x1", "-n", "4", "-w", "0000:00:05.0", "--proc-type=auto"},
			[]string{"-c", "0x1", "-n", "4", "-a", "0000:00:05.0", "--proc-type=auto"}, []string{"", "-w", "--no-pci", "--in-memory", "--lcores=0@(0,1)"}, nil,
			[]string{"-c", "0x1", "-n", "4", "-a", "0000:00:05.0", "--proc-type=auto"}},
		{"no hugepages", []string{"--no-huge", "--in-memory", "--vdev", "net_ring0", "--vdev=net_tap1,iface=x"},
			[]string{"--no-huge", "--no-shconf"}, []string{"--in-memory", "--vdev"}, []string{"net_ring0", "net_tap1,iface=x"}, []string{"--no-huge", "--in-memory"}},
		{"own choices", []string{"-m64", "-l0", "--no-huge", "--telemetry", "--file-prefix=x"},
			[]string{"-m64", "-l0", "--telemetry", "--file-prefix=x"}, []string{"-m", "--no-telemetry", "--no-shconf"}, nil,
			[]string{"-m64", "-l0", "--no-huge", "--telemetry", "--file-prefix=x"}},
	} {
		a, err := prepare(c.given)
		require.NoError(t, err, c.name)
		assert.Subset(t, a.eal, c.eal, c.name)
		for _, word := range c.without {
			assert.NotContains(t, a.eal, word, c.name)
		}
		assert.Equal(t, c.vdevs, a.vdevs, c.name)
		assert.Equal(t, c.user, a.given, c.name)
	}
	_, err = prepare([]string{"-h"})
	assert.Error(t, err)
}

// TestWrongReceived: what is no frame, or longer than the MTU allows, is counted and kept from the stack.
func TestWrongReceived(t *testing.T) {
	needDPDK(t)
	server, client := memif(t)
	defer client.Close()
	defer server.Close()
	frames := make([]link.Frame, 32)
	for i, n := range []int{1, 13, 14, 1514, 1515, 2048} {
		client.queue(n) // Send would refuse it
		client.Flush()
		before := server.Counters().RxErrors
		got := server.Receive(frames)
		if n < 14 || n > 1514 {
			assert.Zero(t, got, "%d bytes", n)
			assert.Equal(t, before+1, server.Counters().RxErrors, "%d bytes", n)
		} else {
			require.Equal(t, 1, got, "%d bytes", n)
			assert.Len(t, frames[0].Data, n)
		}
		assert.Zero(t, server.held(), i)
	}
}
