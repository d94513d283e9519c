package linktest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
)

// Namespace is a network namespace without a name: it is gone when nothing in it is open any more, even if the test
// gets killed.
type Namespace struct{ fd int }

// NewNamespace makes a namespace, or skips the test if that is not allowed. Its lo is up, and it has no IPv6, so that
// nobody else sends frames.
func NewNamespace(t testing.TB) *Namespace {
	n := &Namespace{fd: -1}
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		for _, what := range []string{"all", "default"} {
			_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+what+"/disable_ipv6", []byte("1"), 0)
		}
		if errno := link.Interface("lo").SetUp(); errno != 0 {
			err = errno
			return
		}
		n.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}()
	<-done
	if err == unix.EPERM {
		t.Skip("network namespaces need CAP_SYS_ADMIN")
	}
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(n.fd) })
	return n
}

// Enter puts the goroutine into the namespace, until the test is over.
func (n *Namespace) Enter(t testing.TB) {
	runtime.LockOSThread() // for ever: the thread ends with the goroutine
	require.NoError(t, unix.Setns(n.fd, unix.CLONE_NEWNET))
}

// Do runs f in the namespace, on a goroutine of its own, and waits for it. What f opens stays in the namespace.
func (n *Namespace) Do(f func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		if err = unix.Setns(n.fd, unix.CLONE_NEWNET); err == nil {
			err = f()
		}
	}()
	<-done
	return err
}

// Path names the namespace for ip(8).
func (n *Namespace) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.fd) }

// IP runs ip(8) in the namespace, and returns what it prints.
func (n *Namespace) IP(t testing.TB, args ...string) (out string) {
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("no ip")
	}
	require.NoError(t, n.Do(func() error {
		b, err := exec.Command(ip, args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %v: %w: %s", args, err, b)
		}
		out = string(b)
		return nil
	}))
	return out
}

// Veth makes a pair of interfaces, one in each namespace, and brings them up.
func Veth(t testing.TB, a *Namespace, aName string, b *Namespace, bName string) {
	a.IP(t, "link", "add", aName, "type", "veth", "peer", "name", bName, "netns", b.Path())
	a.IP(t, "link", "set", aName, "up")
	b.IP(t, "link", "set", bName, "up")
}

// Tap opens a tap device in the namespace, or skips the test if there is none.
func (n *Namespace) Tap(t testing.TB, cfg link.TapConfig) *link.Tap {
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("no /dev/net/tun")
	}
	var tap *link.Tap
	require.NoError(t, n.Do(func() (err error) {
		tap, err = link.OpenTap(cfg)
		return err
	}))
	t.Cleanup(tap.Close)
	return tap
}

// Packet opens a packet socket in the namespace.
func (n *Namespace) Packet(t testing.TB, cfg link.PacketConfig) *link.Packet {
	var p *link.Packet
	require.NoError(t, n.Do(func() (err error) {
		p, err = link.OpenPacket(cfg)
		return err
	}))
	t.Cleanup(p.Close)
	return p
}
