package dpdk

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
)

// descriptors says how many there are of each kind in this process.
func descriptors(t *testing.T) map[string]int {
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	kinds := make(map[string]int)
	for _, f := range list {
		if name, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil {
			kind, _, _ := strings.Cut(name, "[") // socket:[12345]
			kinds[kind]++
		}
	}
	return kinds
}

// mappings counts the memory of memif links that this process has mapped.
func mappings(t *testing.T) int {
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	n := 0
	for i := range len(maps) - 12 {
		if string(maps[i:i+12]) == "memif_region" {
			n++
		}
	}
	return n
}

// TestPeerKilled kills the other end again and again while frames pass both ways.
func TestPeerKilled(t *testing.T) {
	needDPDK(t)
	for _, c := range []struct{ name, own, other string }{
		{"ServerSurvives", "role=server", "role=client"},
		{"ClientSurvives", "role=client", "role=server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			const rounds = 12
			options := ",socket=" + filepath.Join(t.TempDir(), "m") + ",socket-abstract=no,"
			own, other := "net_memif0"+options+c.own, "net_memif0"+options+c.other
			d := open(t, with(own))
			defer d.Close()
			frames := make([]link.Frame, 32)
			var open map[string]int
			mapped := 0
			for round := range rounds {
				peer := startPeer(t, -1, "crowd", other)
				require.True(t, roundTripWithin(d, frames, byte(round+1), 5*time.Second), "round %d", round)
				if round == 1 {
					open, mapped = descriptors(t), mappings(t)
				} else if round > 1 {
					require.EventuallyWithT(t, func(c *assert.CollectT) {
						assert.Equal(c, open, descriptors(t))
						assert.Equal(c, mapped, mappings(t))
					}, 2*time.Second, 5*time.Millisecond, "round %d", round)
				}
				after := time.Now().Add(time.Duration(rand.IntN(20)) * time.Millisecond)
				for killed := false; !killed || d.Up(); {
					for range 100 {
						if d.Buffer() != nil {
							d.Send(1514, 0)
						}
						d.Receive(frames)
						d.Flush()
					}
					if !killed && time.Now().After(after) {
						require.NoError(t, unix.Kill(peer.Process.Pid, unix.SIGKILL))
						killed = true
					}
					require.Less(t, time.Since(after), 5*time.Second, "the link stays up")
				}
				d.Receive(frames)
				assert.Zero(t, d.held(), "lost buffers, round %d", round)
				kill(peer)
			}
			assert.NotZero(t, d.Counters().TxDropped)
		})
	}
}

// TestPeerLate: the client is there first, and its frames come through once the server is there.
func TestPeerLate(t *testing.T) {
	needDPDK(t)
	options := ",socket=" + filepath.Join(t.TempDir(), "m") + ",socket-abstract=no"
	d := open(t, with("net_memif0,role=client"+options))
	defer d.Close()
	frames := make([]link.Frame, 32)
	assert.False(t, d.Up())
	require.NotNil(t, d.Buffer())
	d.Send(60, 0)
	d.Flush()
	assert.Equal(t, uint64(1), d.Counters().TxDropped)
	assert.False(t, roundTrip(d, frames, 1, 30*time.Millisecond))
	startPeer(t, -1, "echo", "net_memif0,role=server"+options)
	assert.True(t, roundTripWithin(d, frames, 7, 5*time.Second))
}

// roundTripWithin repeats a frame until it comes back.
func roundTripWithin(d *Device, frames []link.Frame, payload byte, patience time.Duration) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if roundTrip(d, frames, payload, 5*time.Millisecond) {
			return true
		}
	}
	return false
}

// TestClientGoneBeforeGreeting: clients that end before the server has answered must not end the server.
func TestClientGoneBeforeGreeting(t *testing.T) {
	needDPDK(t)
	path := filepath.Join(t.TempDir(), "m")
	d := open(t, with("net_memif0,role=server,socket="+path+",socket-abstract=no"))
	defer d.Close()
	before := descriptors(t)
	for range 200 {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Connect(fd, &unix.SockaddrUnix{Name: path}))
		unix.Close(fd)
	}
	require.Eventually(t, func() bool { return reflect.DeepEqual(before, descriptors(t)) }, 2*time.Second, time.Millisecond)
	startPeer(t, -1, "echo", "net_memif0,role=client,socket="+path+",socket-abstract=no")
	assert.True(t, roundTripWithin(d, make([]link.Frame, 32), 7, 5*time.Second))
}

// TestChild: what is forked or started from this process does not keep the link alive.
func TestChild(t *testing.T) {
	needDPDK(t)
	d := open(t, with("net_memif0,role=server,socket="+filepath.Join(t.TempDir(), "m")+",socket-abstract=no"))
	defer d.Close()
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	listening := 0
	for _, f := range list {
		var fd int
		for _, c := range f.Name() {
			fd = fd*10 + int(c-'0')
		}
		if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && n == 1 {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			require.NoError(t, err)
			assert.NotZero(t, flags&unix.FD_CLOEXEC)
			listening++
		}
	}
	assert.Equal(t, 1, listening)
}
