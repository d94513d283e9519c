package inet

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link/linktest"
	"github.com/libdmtr/libdmtr/libos/internal/inet/udp"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// The stack beside the kernel's, over a tap and over a packet socket: echoes, transfers both ways, many connections,
// half-close, resets, keepalive, HTTP, pings. In full, transfers have 1 GiB each:
//
//	go test ./libos/internal/inet -run Kernel -v -args -full
var kernelFull = flag.Bool("full", false, "transfer 1 GiB each way in the tests beside the kernel")

var (
	kernelAddr = wire.AddrFrom([4]byte{10, 77, 0, 1})
	stackAddr  = wire.AddrFrom([4]byte{10, 77, 0, 2})
)

// withKernel runs a test with a stack beside the kernel's, over each device that can join them.
func withKernel(t *testing.T, test func(t *testing.T, k *kernel)) {
	t.Run("tap", func(t *testing.T) {
		n := linktest.NewNamespace(t)
		tap := n.Tap(t, link.TapConfig{})
		n.Enter(t)
		require.Zero(t, tap.Up(kernelAddr, 24))
		test(t, newKernel(t, tap, n, tap.Info().Name))
	})
	t.Run("packet", func(t *testing.T) {
		n := linktest.NewNamespace(t)
		other := linktest.NewNamespace(t)
		linktest.Veth(t, n, "kernel", other, "stack")
		n.Enter(t)
		require.Zero(t, link.Interface("kernel").SetAddress(kernelAddr, 24))
		test(t, newKernel(t, other.Packet(t, link.PacketConfig{Interface: "stack"}), n, "kernel"))
	})
}

// kernel is a stack under test, in the same thread as the sockets of the kernel that talk to it.
type kernel struct {
	t        *testing.T
	stack    *Stack
	dev      link.Device
	start    time.Time
	space    *linktest.Namespace // of the kernel's sockets
	name     string              // of its interface
	patience time.Duration       // of until
}

func newKernel(t *testing.T, dev link.Device, space *linktest.Namespace, name string) *kernel {
	k := &kernel{t: t, dev: dev, start: time.Now(), space: space, name: name, patience: 10 * time.Second}
	s, err := New(dev, &Config{IP: ip.Config{Addr: stackAddr, Prefix: 24, Gateway: kernelAddr}}, 0)
	require.Zero(t, err)
	k.stack = s
	return k
}

// now is the time of the stack.
func (k *kernel) now() int64 { return int64(time.Since(k.start)) }

// until polls the stack until done, but not for ever.
func (k *kernel) until(what string, done func() bool) {
	k.t.Helper()
	for end := time.Now().Add(k.patience); !done(); {
		k.stack.Poll(k.now())
		require.True(k.t, time.Now().Before(end), "nothing after %v: %s; %+v\n%+v", k.patience, what, k.stack.IP().Counters(), k.stack.TCP().Counters)
	}
}

// socket opens a socket of the kernel that does not block.
func (k *kernel) socket(typ, proto int) int {
	fd, err := unix.Socket(unix.AF_INET, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	require.NoError(k.t, err)
	k.t.Cleanup(func() { _ = unix.Close(fd) })
	require.NoError(k.t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20))
	return fd
}

func (k *kernel) receive(what string, fd int) []byte {
	k.t.Helper()
	b := make([]byte, 70000)
	k.until(what, func() bool {
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err == unix.EAGAIN {
			return false
		}
		require.NoError(k.t, err)
		b = b[:n]
		return true
	})
	return b
}

func sockaddr(a wire.Addr, port uint16) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: a.Bytes(), Port: int(port)}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*31 + i>>7)
	}
	return b
}

// TestKernelPing: the kernel pings, in all sizes.
func TestKernelPing(t *testing.T) {
	withKernel(t, func(t *testing.T, k *kernel) {
		fd := k.socket(unix.SOCK_RAW, unix.IPPROTO_ICMP)
		for i, n := range []int{0, 1, 56, 1471, 1472, 1473, 1480, 2952, 8000, 30000, 65000, 65507} {
			m := append(make([]byte, wire.ICMPLen), pattern(n)...)
			wire.ICMP(m).Put(wire.ICMPEcho, 0, uint32(i))
			require.NoError(t, unix.Sendto(fd, m, 0, sockaddr(stackAddr, 0)))
			got := k.receive(fmt.Sprint("ping of ", n), fd)[wire.IPv4Len:]
			require.True(t, wire.ICMP(got).SumGood())
			require.Equal(t, wire.ICMPEchoReply, wire.ICMP(got).Type())
			require.Equal(t, m[4:], got[4:], "%d bytes", n)
		}
		assert.Equal(t, uint64(12), k.stack.IP().Counters().EchoReplies)
	})
}

// TestKernelARP: each end asks and answers. The stack keeps what it has learned from the kernel's question.
func TestKernelARP(t *testing.T) {
	withKernel(t, func(t *testing.T, k *kernel) {
		fd := k.socket(unix.SOCK_DGRAM, 0)
		require.NoError(t, unix.Bind(fd, sockaddr(kernelAddr, 7000)))
		u := k.stack.UDP().Open(&echo{})
		require.Zero(t, u.Send(kernelAddr, 7000, [][]byte{[]byte("first")}))
		assert.Equal(t, "first", string(k.receive("datagram that waited for ARP", fd)))
		c := k.stack.IP().Counters()
		assert.Equal(t, uint64(1), c.ARPRequestsOut)

		table, err := os.ReadFile("/proc/thread-self/net/arp")
		require.NoError(t, err)
		assert.Contains(t, string(table), k.dev.Info().MAC.String(), "learned from our question")
	})
	withKernel(t, func(t *testing.T, k *kernel) {
		fd := k.socket(unix.SOCK_DGRAM, 0)
		e := &echo{}
		e.s = k.stack.UDP().Open(e)
		require.Zero(t, e.s.Bind(0, 7))
		require.NoError(t, unix.Sendto(fd, []byte("x"), 0, sockaddr(stackAddr, 7)))
		k.receive("echo", fd)
		c := k.stack.IP().Counters()
		assert.Equal(t, uint64(1), c.ARPRepliesOut)
		table, err := os.ReadFile("/proc/thread-self/net/arp")
		require.NoError(t, err)
		assert.Contains(t, strings.ToLower(string(table)), k.dev.Info().MAC.String())
	})
}

// echo sends everything back.
type echo struct {
	s    *udp.Socket
	errs []abi.Errno
}

func (e *echo) Received(p []byte, src wire.Addr, port uint16) bool {
	b := append([]byte(nil), p...)
	return e.s.Send(src, port, [][]byte{b}) == 0
}
func (e *echo) Failed(err abi.Errno) { e.errs = append(e.errs, err) }

func TestKernelUDP(t *testing.T) {
	withKernel(t, func(t *testing.T, k *kernel) {
		e := &echo{}
		e.s = k.stack.UDP().Open(e)
		require.Zero(t, e.s.Bind(0, 7))
		fd := k.socket(unix.SOCK_DGRAM, 0)
		for _, n := range []int{0, 1, 64, 1471, 1472, 1473, 2960, 9000, 40000, 65507} {
			p := pattern(n)
			require.NoError(t, unix.Sendto(fd, p, 0, sockaddr(stackAddr, 7)))
			require.Equal(t, p, k.receive(fmt.Sprint("echo of ", n), fd), "%d bytes", n)
		}
		for i := range 500 {
			p := binary.BigEndian.AppendUint32(nil, uint32(i))
			require.NoError(t, unix.Sendto(fd, p, 0, sockaddr(stackAddr, 7)))
		}
		for i := range 500 {
			require.Equal(t, uint32(i), binary.BigEndian.Uint32(k.receive("many", fd)))
		}
		assert.Zero(t, k.stack.UDP().Counters().BadSum)
		assert.Zero(t, k.stack.IP().Counters().BadSum)
	})
}

// TestKernelRefused: a closed port is reported both ways.
func TestKernelRefused(t *testing.T) {
	withKernel(t, func(t *testing.T, k *kernel) {
		fd := k.socket(unix.SOCK_DGRAM, 0)
		require.NoError(t, unix.Connect(fd, sockaddr(stackAddr, 9)))
		_, err := unix.Write(fd, pattern(2000))
		require.NoError(t, err)
		k.until("ECONNREFUSED", func() bool {
			_, err := unix.Read(fd, make([]byte, 10))
			require.True(t, err == unix.EAGAIN || err == unix.ECONNREFUSED, "%v", err)
			return err == unix.ECONNREFUSED
		})
		e := &echo{}
		u := k.stack.UDP().Open(e)
		require.Zero(t, u.Connect(kernelAddr, 9))
		require.Zero(t, u.Send(0, 0, [][]byte{pattern(2000)}))
		k.until("refusal", func() bool { return len(e.errs) > 0 })
		assert.Equal(t, []abi.Errno{unix.ECONNREFUSED}, e.errs)
	})
}
