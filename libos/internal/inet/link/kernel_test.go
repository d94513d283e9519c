package link_test

import (
	"crypto/sha256"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link/linktest"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

const (
	kernel = linktest.AddrA
	ours   = linktest.AddrB
)

// errno makes an error of an errno that may be 0.
func errno(e abi.Errno) error {
	if e != 0 {
		return e
	}
	return nil
}

// waitFor receives until it finds a frame.
func waitFor(t *testing.T, d link.Device, what func(f link.Frame) bool) link.Frame {
	frames := make([]link.Frame, 1)
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); {
		if d.Receive(frames) == 1 && what(frames[0]) {
			return frames[0]
		}
	}
	require.FailNow(t, "no such frame")
	return link.Frame{}
}

// udpOf tells whether a frame is a UDP packet with a payload of n bytes.
func udpOf(n int) func(f link.Frame) bool {
	return func(f link.Frame) bool {
		p, ok := wire.ParseIPv4(f.Data[wire.EthernetLen:])
		return ok && wire.Ethernet(f.Data).Type() == wire.TypeIPv4 && p.Proto() == wire.ProtoUDP && len(p) == 28+n
	}
}

// datagram writes a UDP packet to the kernel whose checksum is left open.
func datagram(b []byte, from link.Device, to wire.MAC, payload string) int {
	n := 42 + len(payload)
	wire.Ethernet(b).Put(to, from.Info().MAC, wire.TypeIPv4)
	p := wire.IPv4(b[wire.EthernetLen:])
	p.Put(n-14, 1, 0, 64, wire.ProtoUDP, ours, kernel)
	copy(p[20:], []byte{0, 9, 0, 9, 0, byte(n - 34)})
	sum := wire.Fold(wire.PseudoSum(ours, kernel, wire.ProtoUDP, n-34))
	p[26], p[27] = byte(sum>>8), byte(sum)
	copy(p[28:], payload)
	return n
}

// udpSocket is one of the kernel, on port 9.
func udpSocket(t *testing.T, n *linktest.Namespace) *net.UDPConn {
	var c *net.UDPConn
	require.NoError(t, n.Do(func() (err error) {
		c, err = net.ListenUDP("udp4", &net.UDPAddr{Port: 9})
		return err
	}))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// tcpPair connects two namespaces.
func tcpPair(t *testing.T, a *linktest.Namespace, addr string, b *linktest.Namespace) (x, y net.Conn) {
	var l net.Listener
	require.NoError(t, a.Do(func() (err error) {
		l, err = net.Listen("tcp4", addr)
		return err
	}))
	defer l.Close()
	require.NoError(t, b.Do(func() (err error) {
		x, err = net.DialTimeout("tcp4", l.Addr().String(), 10*time.Second)
		return err
	}))
	y, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = x.Close(), y.Close() })
	return x, y
}

// transfer sends n bytes and checks that they arrive.
func transfer(t *testing.T, from, to net.Conn, n int) {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	go func() {
		_, _ = from.Write(data)
		_ = from.(*net.TCPConn).CloseWrite()
	}()
	h := sha256.New()
	require.NoError(t, to.SetReadDeadline(time.Now().Add(30*time.Second)))
	got, err := io.Copy(h, to)
	require.NoError(t, err)
	require.Equal(t, int64(n), got)
	want := sha256.Sum256(data)
	require.Equal(t, want[:], h.Sum(nil))
}

func TestTap(t *testing.T) {
	linktest.Run(t, func(t *testing.T) (dev, peer link.Device) {
		n := linktest.NewNamespace(t)
		tap := n.Tap(t, link.TapConfig{})
		require.NoError(t, n.Do(func() error { return errno(tap.Interface().SetUp()) }))
		return tap, n.Packet(t, link.PacketConfig{Interface: tap.Info().Name})
	})
}

// The kernel leaves checksums open, as we may.
func TestTapSums(t *testing.T) {
	n := linktest.NewNamespace(t)
	tap := n.Tap(t, link.TapConfig{Name: "xy%d", MTU: 1234})
	assert.Equal(t, "xy0", tap.Info().Name)
	assert.Equal(t, 1234, tap.Info().MTU)
	n.Up(t, tap, kernel)
	n.IP(t, "neigh", "add", "10.7.0.2", "lladdr", tap.Info().MAC.String(), "dev", "xy0")
	c := udpSocket(t, n)
	_, err := c.WriteToUDP([]byte("hello"), &net.UDPAddr{IP: net.IP{10, 7, 0, 2}, Port: 7})
	require.NoError(t, err)
	f := waitFor(t, tap, udpOf(5))
	assert.Equal(t, link.SumsGood, f.Flags)
	assert.Equal(t, tap.Info().MAC, wire.Ethernet(f.Data).Dst())
	header, _ := good(f.Data)
	assert.True(t, header)

	var mac wire.MAC
	require.NoError(t, n.Do(func() error {
		var e abi.Errno
		mac, e = tap.Interface().MAC()
		return errno(e)
	}))
	tap.Send(datagram(tap.Buffer(), tap, mac, "wrong sum"), 0)
	tap.Send(datagram(tap.Buffer(), tap, mac, "open sum"), link.SumTransport)
	tap.Flush()
	b := make([]byte, 100)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(3*time.Second)))
	k, from, err := c.ReadFromUDP(b)
	require.NoError(t, err)
	assert.Equal(t, "open sum", string(b[:k]))
	assert.Equal(t, "10.7.0.2:9", from.String())
}

func TestTapErrors(t *testing.T) {
	linktest.NewNamespace(t).Enter(t)
	tap, err := link.OpenTap(link.TapConfig{Name: "one"})
	require.NoError(t, err)
	for _, c := range []struct {
		cfg  link.TapConfig
		want error
	}{
		{link.TapConfig{Name: "one"}, unix.EBUSY},
		{link.TapConfig{Name: "lo"}, unix.EINVAL},
		{link.TapConfig{Name: "a-name-that-is-too-long"}, unix.ENAMETOOLONG},
		{link.TapConfig{Name: "two", MTU: 1 << 20}, unix.EINVAL},
	} {
		_, err := link.OpenTap(c.cfg)
		require.ErrorIs(t, err, c.want)
		assert.ErrorContains(t, err, c.cfg.Name)
	}
	_, e := link.Interface("two").MTU()
	assert.Equal(t, unix.ENODEV, e, "nothing is left behind")
	tap.Close()
	tap.Close()
	_, e = link.Interface("one").MTU()
	assert.Equal(t, unix.ENODEV, e)
}

// Two kernels talk through two taps and an injector between them.
func TestTapBridge(t *testing.T) {
	bad := link.Impairment{Loss: 0.01, Duplicate: 0.01, Reorder: 0.01, Corrupt: 0.01, Delay: ms}
	a, b, f, br, stop := linktest.Kernels(t, link.FaultConfig{Send: bad, Receive: bad})
	c, d := tcpPair(t, a, "10.7.0.1:80", b)
	transfer(t, c, d, 2<<20)
	transfer(t, d, c, 1<<20)
	stop()
	oversize, full := br.Lost()
	assert.Zero(t, oversize+full)
	rx, tx := f.Faults()
	for _, c := range []*link.Faults{rx, tx} {
		assert.Positive(t, c.Lost)
		assert.Positive(t, c.Duplicated)
		assert.Positive(t, c.Corrupted)
		assert.Positive(t, c.Reordered)
		assert.Zero(t, c.Overflowed)
	}
}

// If asked, the kernel hands over segments of its TCP uncut. They are looked for in a bridge, which refuses them.
func TestTapLarge(t *testing.T) {
	a, b := linktest.NewNamespace(t), linktest.NewNamespace(t)
	x, y := a.Tap(t, link.TapConfig{Large: true}), b.Tap(t, link.TapConfig{})
	a.Up(t, x, kernel)
	b.Up(t, y, ours)
	br, stop := linktest.Forward(t, x, y)
	_, d := tcpPair(t, a, "10.7.0.1:80", b)
	require.NoError(t, d.SetWriteDeadline(time.Now().Add(100*time.Millisecond)))
	_, _ = d.Write(make([]byte, 200_000))
	stop()
	oversize, _ := br.Lost()
	assert.Positive(t, oversize)
	assert.Zero(t, x.Counters().RxErrors)
}

func TestPacket(t *testing.T) {
	linktest.Run(t, func(t *testing.T) (dev, peer link.Device) {
		a, b := linktest.NewNamespace(t), linktest.NewNamespace(t)
		linktest.Veth(t, a, "left", b, "right")
		return a.Packet(t, link.PacketConfig{Interface: "left"}), b.Packet(t, link.PacketConfig{Interface: "right", BypassQdisc: true})
	})
}

// vethTo is a kernel with an address, and a namespace with the other end of its interface.
func vethTo(t *testing.T) (a, b *linktest.Namespace) {
	a, b = linktest.NewNamespace(t), linktest.NewNamespace(t)
	linktest.Veth(t, a, "left", b, "right")
	a.IP(t, "addr", "add", "10.7.0.1/24", "dev", "left")
	return a, b
}

// Packets that the kernel leaves to be cut and summed come whole, in order with small ones, and with SumsGood.
func TestPacketLarge(t *testing.T) {
	a, b := vethTo(t)
	p := b.Packet(t, link.PacketConfig{Interface: "right"})
	a.IP(t, "neigh", "add", "10.7.0.2", "lladdr", p.Info().MAC.String(), "dev", "left")
	c := udpSocket(t, a)
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	segment := func(n int) {
		require.NoError(t, raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, n)
		}))
		require.NoError(t, err)
	}
	const rounds, large = 24, 40_000
	for i := range rounds {
		segment(1000)
		_, err := c.WriteToUDP(bytesOf(i, large), &net.UDPAddr{IP: net.IP{10, 7, 0, 2}, Port: 7})
		require.NoError(t, err)
		segment(0)
		_, err = c.WriteToUDP(bytesOf(i, 10), &net.UDPAddr{IP: net.IP{10, 7, 0, 2}, Port: 7})
		require.NoError(t, err)
	}
	frames := make([]link.Frame, 64)
	var got []link.Frame
	for len(got) < 2*rounds {
		n := p.Receive(frames)
		require.NotZero(t, n)
		for _, f := range frames[:n] {
			if want := []int{large, 10}[len(got)%2]; udpOf(want)(f) {
				assert.Equal(t, link.SumsGood, f.Flags)
				require.Equal(t, bytesOf(len(got)/2, want), f.Data[42:])
				got = append(got, f)
			}
		}
	}
	assert.Zero(t, p.Counters().RxErrors)
	assert.Zero(t, p.Counters().RxDropped)
}

func bytesOf(seed, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + seed)
	}
	return b
}

// What is not for us does not come: other addresses, VLANs, what our own kernel sends.
func TestPacketFilter(t *testing.T) {
	for _, mac := range []wire.MAC{{}, {2, 3, 4, 5, 6, 7}} {
		a, b := vethTo(t)
		b.IP(t, "addr", "add", "10.7.0.2/24", "dev", "right")
		p := b.Packet(t, link.PacketConfig{Interface: "right", MAC: mac})
		promiscuity := "promiscuity 0"
		if mac != (wire.MAC{}) {
			assert.Equal(t, mac, p.Info().MAC)
			promiscuity = "promiscuity 1"
		}
		assert.Contains(t, b.IP(t, "-d", "link", "show", "right"), promiscuity)
		peer := a.Packet(t, link.PacketConfig{Interface: "left"})
		to := func(i int, mac wire.MAC, tag ...byte) {
			b := peer.Buffer()
			linktest.Fill(b[len(tag):], i, 60)
			copy(b, mac[:])
			copy(b[12:], tag)
			copy(b[12+len(tag):], []byte{0x88, 0xb5})
			peer.Send(60+len(tag), 0)
			peer.Flush()
		}
		to(1, wire.Broadcast, 0x81, 0, 0, 5)
		to(2, p.Info().MAC, 0x81, 0, 0x2f, 0xff)
		other := p.Info().MAC
		other[5]++
		to(3, other)
		other = p.Info().MAC
		other[1]++
		to(4, other)
		udp := udpSocket(t, b) // makes an ARP request go out
		_, _ = udp.WriteToUDP([]byte("x"), &net.UDPAddr{IP: net.IP{10, 7, 0, 77}, Port: 7})
		to(5, p.Info().MAC)
		to(6, wire.MAC{1, 0, 0x5e, 0, 0, 1})
		to(7, wire.Broadcast)
		to(8, p.Info().MAC, 0x81, 0, 0x60, 0) // a priority, but no VLAN
		frames := make([]link.Frame, 16)
		n := p.Receive(frames)
		var got []int
		for _, f := range frames[:n] {
			assert.Equal(t, uint16(0x88b5), wire.Ethernet(f.Data).Type())
			got = append(got, int(f.Data[17]))
		}
		assert.Equal(t, []int{5, 6, 7, 8}, got)
	}
}

// Frames that find the ring full are counted by the kernel.
func TestPacketDrops(t *testing.T) {
	a, b := vethTo(t)
	p := b.Packet(t, link.PacketConfig{Interface: "right", Slots: 8})
	peer := a.Packet(t, link.PacketConfig{Interface: "left"})
	const sent = 500
	for i := range sent {
		put(peer, i, 60)
		peer.Flush()
	}
	got := p.Receive(make([]link.Frame, sent)) // whatever is asked for, what has been handed out is not so again
	got += len(numbers(p))
	c := p.Counters()
	assert.Positive(t, c.RxDropped)
	assert.Equal(t, uint64(sent), uint64(got)+c.RxDropped)
	assert.Equal(t, uint64(sent), uint64(got)+p.Counters().RxDropped, "counted once")
}

// An interface that goes down and comes up again is used again, and does not leave the descriptor readable.
func TestPacketDown(t *testing.T) {
	a, b := vethTo(t)
	p := b.Packet(t, link.PacketConfig{Interface: "right"})
	peer := a.Packet(t, link.PacketConfig{Interface: "left"})
	b.IP(t, "link", "set", "right", "down")
	frames := make([]link.Frame, 4)
	ready := func() bool {
		fds := []unix.PollFd{{Fd: int32(p.Info().FD), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		require.NoError(t, err)
		return n > 0
	}
	assert.True(t, ready())
	for i := 0; i < 2000 && ready(); i++ {
		assert.Zero(t, p.Receive(frames))
	}
	assert.False(t, ready())
	put(p, 1, 60)
	p.Flush()
	b.IP(t, "link", "set", "right", "up")
	put(p, 2, 60)
	p.Flush()
	assert.Equal(t, []int{1, 2}, numbers(peer))
	put(peer, 3, 60)
	peer.Flush()
	assert.Equal(t, []int{3}, numbers(p))
}

func TestPacketErrors(t *testing.T) {
	n := linktest.NewNamespace(t)
	n.IP(t, "link", "add", "v0", "type", "veth", "peer", "name", "v1")
	for name, want := range map[string]error{"none": unix.ENODEV, "lo": unix.EPROTOTYPE, "v0": unix.ENETDOWN} {
		err := n.Do(func() error {
			_, err := link.OpenPacket(link.PacketConfig{Interface: name})
			return err
		})
		require.ErrorIs(t, err, want)
		assert.ErrorContains(t, err, "interface "+name+": ")
	}
}
