package verbs

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// peerRole is the environment variable that makes the test program the peer of a test.
const peerRole = "DMTR_TEST_RDMA_PEER"

// missing says why there is no device to test with.
var missing string

// near and far have a device each, or the same one if there is only one.
var near, far [4]byte

func TestMain(m *testing.M) {
	if role := os.Getenv(peerRole); role != "" {
		shimPath = os.Getenv("DMTR_TEST_RDMA_SHIM")
		bePeer(role)
		os.Exit(0)
	}
	dir, err := os.MkdirTemp("", "dmtr-rdma")
	if err != nil {
		panic(err)
	}
	shimPath = os.Getenv("DMTR_TEST_RDMA_SHIM")
	if shimPath == "" {
		shimPath = filepath.Join(dir, "libdmtr-rdma.so")
		missing = buildShim(shimPath)
		os.Setenv("DMTR_TEST_RDMA_SHIM", shimPath)
	}
	if missing == "" {
		missing = findDevices()
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func buildShim(path string) (missing string) {
	out, err := exec.Command("shim/build.sh", path).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == 77:
		return "rdma-core is not installed (libibverbs-dev, librdmacm-dev)"
	case err != nil:
		panic(fmt.Sprintf("build.sh: %v\n%s", err, out))
	}
	return ""
}

// findDevices looks for addresses that devices have.
func findDevices() (missing string) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		panic(err)
	}
	first := ""
	for _, a := range all {
		ip := a.(*net.IPNet).IP.To4()
		if ip == nil || ip.IsLoopback() {
			continue
		}
		d, err := Open(&Config{Address: [4]byte(ip)})
		if err != nil {
			continue
		}
		if name := d.Attr().Name; first == "" {
			first = name
			near, far = [4]byte(ip), [4]byte(ip)
		} else if name != first && near == far {
			far = [4]byte(ip)
		}
		d.Close()
	}
	if first == "" {
		return "no RDMA device (these tests run in a guest: tests/vm/run --rdma)"
	}
	return ""
}

func needDevice(t testing.TB) {
	if missing != "" {
		t.Skip(missing)
	}
}

func address(ip [4]byte, port int) *abi.SockaddrIn {
	return &abi.SockaddrIn{Family: unix.AF_INET, Addr: ip, Port: [2]byte{byte(port >> 8), byte(port)}}
}

// side is a device with what has come of it, and some registered memory.
type side struct {
	t           testing.TB
	d           *device
	completions []Completion
	events      []Event
	memory      []byte
	mr          MR
}

const sideMemory = 4 << 20

func newSide(t testing.TB, ip [4]byte) *side {
	needDevice(t)
	d, err := Open(&Config{Address: ip})
	require.NoError(t, err)
	p := mem.Map(sideMemory)
	require.NotNil(t, p)
	s := &side{t: t, d: d.(*device), memory: unsafe.Slice((*byte)(p), sideMemory)}
	var errno abi.Errno
	s.mr, errno = d.Register(p, sideMemory, RemoteRead)
	require.Zero(t, errno)
	t.Cleanup(func() {
		d.Close()
		mem.Unmap(p, sideMemory)
	})
	return s
}

// sge is a part of the memory.
func (s *side) sge(from, n int) SGE {
	return SGE{Addr: s.mr.Addr + uint64(from), Len: uint32(n), LKey: s.mr.LKey}
}

func (s *side) poll() {
	var c [16]Completion
	var e [4]Event
	nc, ne := s.d.Poll(c[:], e[:])
	s.completions = append(s.completions, c[:nc]...)
	s.events = append(s.events, e[:ne]...)
}

// until polls both until it is so.
func until(t testing.TB, what string, so func() bool, sides ...*side) {
	for deadline := time.Now().Add(30 * time.Second); !so(); {
		for _, s := range sides {
			s.poll()
		}
		if time.Now().After(deadline) {
			for _, s := range sides {
				t.Logf("%s: %+v %d events", s.d.attr.Name, s.completions, len(s.events))
				for _, e := range s.events {
					t.Logf("event %d of %#x: %v (%d)", e.Type, e.ID, e.Errno, e.Status)
				}
			}
			require.Fail(t, "in vain: "+what)
		}
	}
}

// event waits for the next event of a side, which has to be of that type.
func (s *side) event(want EventType, others ...*side) Event {
	s.t.Helper()
	until(s.t, fmt.Sprintf("event %d", want), func() bool { return len(s.events) > 0 }, append(others, s)...)
	e := s.events[0]
	s.events = s.events[1:]
	require.Equal(s.t, want, e.Type, "event: %v (%d)", e.Errno, e.Status)
	return e
}

// completion waits for the next completion of a side.
func (s *side) completion(others ...*side) Completion {
	s.t.Helper()
	until(s.t, "completion", func() bool { return len(s.completions) > 0 }, append(others, s)...)
	c := s.completions[0]
	s.completions = s.completions[1:]
	return c
}

var usual = QPParams{SendWR: 32, RecvWR: 32, MaxSGE: 4, Inline: 128}

// dial is the active side up to where it can post receives.
func (s *side) dial(to *abi.SockaddrIn, local *abi.SockaddrIn) ID {
	s.t.Helper()
	id, errno := s.d.Dial(to, local)
	require.Zero(s.t, errno)
	require.Equal(s.t, id, s.event(EventResolved).ID)
	require.Zero(s.t, s.d.CreateQP(id, &usual))
	return id
}

// pair is a connection from a to b, each side with one buffer of 64 KiB posted per given number.
func pair(t testing.TB, buffers int) (a, b *side, toB, toA ID) {
	t.Helper()
	a, b = newSide(t, near), newSide(t, far)
	listener, errno := b.d.Listen(address(far, 0), 16)
	require.Zero(t, errno)
	toB, toA = connect(t, a, b, listener, buffers)
	return a, b, toB, toA
}

const bufferSize = 64 << 10

func connect(t testing.TB, a, b *side, listener ID, buffers int) (toB, toA ID) {
	t.Helper()
	at, _ := b.d.Name(listener)
	toB = a.dial(address(far, int(at.Number())), nil)
	post := func(s *side, id ID) {
		for i := range buffers {
			require.Zero(t, s.d.PostRecv(id, uint64(i), s.sge(i*bufferSize, bufferSize)))
		}
	}
	post(a, toB)
	require.Zero(t, a.d.Connect(toB, []byte("hello")))
	request := b.event(EventConnectRequest, a)
	require.Equal(t, listener, request.Listener)
	require.Equal(t, "hello", string(request.Private[:5]))
	require.Equal(t, near, request.Peer.Addr)
	require.Equal(t, far, request.Local.Addr)
	toA = request.ID
	require.Zero(t, b.d.CreateQP(toA, &usual))
	post(b, toA)
	require.Zero(t, b.d.Accept(toA, []byte("welcome")))
	established := a.event(EventEstablished, b)
	require.Equal(t, toB, established.ID)
	require.Equal(t, "welcome", string(established.Private[:7]))
	require.Equal(t, toA, b.event(EventEstablished, a).ID)
	return toB, toA
}
