package link_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link/linktest"
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

func pcap(t *testing.T, dev link.Device, cfg link.PcapConfig) (p *link.Pcap, path string) {
	if cfg.Path == "" {
		cfg.Path = filepath.Join(t.TempDir(), "x.pcapng")
	}
	p, err := link.NewPcap(dev, cfg)
	require.NoError(t, err)
	return p, cfg.Path
}

func TestPcap(t *testing.T) {
	linktest.Run(t, func(t *testing.T) (dev, peer link.Device) {
		a, b := link.NewPipe(link.Config{}, link.Config{})
		p, _ := pcap(t, a, link.PcapConfig{})
		return p, b
	})
}

// captured is a packet block.
type captured struct {
	ns        int64
	direction uint32
	length    int
	data      []byte
}

// blocks reads a file, and checks its form.
func blocks(t *testing.T, path string) (got []captured) {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	le := binary.LittleEndian
	for first := true; len(b) > 0; first = false {
		require.GreaterOrEqual(t, len(b), 12)
		n := int(le.Uint32(b[4:]))
		require.Zero(t, n%4)
		require.LessOrEqual(t, n, len(b))
		require.Equal(t, n, int(le.Uint32(b[n-4:])))
		require.Equal(t, first, le.Uint32(b) == 0x0a0d0d0a)
		if le.Uint32(b) == 6 {
			k := int(le.Uint32(b[20:]))
			opt := b[28+(k+3)&^3:]
			got = append(got, captured{int64(le.Uint32(b[12:]))<<32 | int64(le.Uint32(b[16:])), le.Uint32(opt[4:]),
				int(le.Uint32(b[24:])), b[28 : 28+k]})
		}
		b = b[n:]
	}
	return got
}

// Frames of both directions are in the file in their order, whole, with their times; sums are as they leave the
// device.
func TestPcapFile(t *testing.T) {
	a, peer := link.NewPipe(link.Config{Offloads: link.SumTransport}, link.Config{})
	const epoch = 1_700_000_000_123_456_789
	p, path := pcap(t, link.NewFault(a, link.FaultConfig{Send: link.Impairment{Delay: ms}}), link.PcapConfig{Epoch: epoch})
	p.SetNow(1)
	packet(p.Buffer(), 75, wire.ProtoUDP)
	p.Send(75, link.SumTransport|link.SumIPv4)
	p.SetNow(2)
	packet(peer.Buffer(), 90, wire.ProtoTCP)
	peer.Send(90, 0)
	peer.Flush()
	p.Flush()
	require.Equal(t, 1, p.Receive(make([]link.Frame, 2)))
	assert.Equal(t, ms+1, p.Next(), "of the injector")
	assert.Empty(t, blocks(t, path))
	p.SetNow(2 * ms)
	p.Flush()
	assert.Equal(t, 10*ms, p.Next(), "of its own")
	assert.Zero(t, p.Receive(make([]link.Frame, 2)))
	assert.Empty(t, blocks(t, path), "there is time")
	p.SetNow(p.Next())
	assert.Zero(t, p.Receive(make([]link.Frame, 2)))
	assert.Equal(t, timer.Never, p.Next())
	got := blocks(t, path)
	require.Len(t, got, 2)
	assert.Equal(t, []int64{epoch + 1, epoch + 2}, []int64{got[0].ns, got[1].ns})
	assert.Equal(t, []uint32{2, 1}, []uint32{got[0].direction, got[1].direction})
	header, transport := good(got[0].data)
	assert.True(t, header && transport)
	frames := make([]link.Frame, 1)
	require.Equal(t, 1, peer.Receive(frames))
	_, transport = good(frames[0].Data)
	assert.False(t, transport, "the frame itself is not touched")
	want := make([]byte, 90)
	packet(want, 90, wire.ProtoTCP)
	assert.Equal(t, want, got[1].data)

	put(p, 3, 60)
	p.Close()
	assert.Len(t, blocks(t, path), 3)
	n, missed, _ := p.Captured()
	assert.Equal(t, uint64(3), n)
	assert.Zero(t, missed)
}

func TestPcapTcpdump(t *testing.T) {
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Skip("no tcpdump")
	}
	a, peer := link.NewPipe(link.Config{Name: "net7"}, link.Config{})
	p, path := pcap(t, a, link.PcapConfig{Epoch: 1_700_000_000e9})
	for i := range 1000 {
		p.SetNow(int64(i))
		packet(p.Buffer(), 75+i, wire.ProtoUDP)
		p.Send(75+i%1000, link.SumIPv4|link.SumTransport)
		p.Flush()
		packet(peer.Buffer(), 75, wire.ProtoUDP)
		peer.Send(75, 0)
		peer.Flush()
		p.Receive(make([]link.Frame, 1))
		peer.Receive(make([]link.Frame, 1))
	}
	p.Close()
	c := exec.Command(tcpdump, "-nn", "-e", "-tt", "-vv", "--time-stamp-precision=nano", "-r", path)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	require.NoError(t, err, stderr.String())
	text := string(out)
	assert.Equal(t, 2000, strings.Count(text, "10.0.0.1.0 > 10.0.0.2.0"))
	assert.Equal(t, 1000, strings.Count(text, "[udp sum ok]"))
	assert.Contains(t, text, "1700000000.000000999 02:02:00:00:00:00 > 02:01:00:00:00:00, ethertype IPv4 (0x0800), length 1074")
}

func TestPcapLimits(t *testing.T) {
	a, peer := link.NewPipe(link.Config{}, link.Config{})
	p, path := pcap(t, a, link.PcapConfig{Limit: 4000, Snap: 50})
	for i := range 100 {
		put(p, i, 60)
		p.Flush()
		assert.Len(t, numbers(peer), 1)
	}
	n, missed, err := p.Captured()
	assert.Zero(t, err)
	assert.Equal(t, uint64(100), n+missed)
	p.Close()
	got := blocks(t, path)
	require.Len(t, got, int(n))
	assert.Len(t, got[0].data, 50)
	assert.Equal(t, 60, got[0].length)
	size, _ := os.Stat(path)
	assert.LessOrEqual(t, size.Size(), int64(4000))
	assert.Greater(t, size.Size(), int64(3900))
	assert.Equal(t, os.FileMode(0o600), size.Mode().Perm())
}

// A disk that is full ends the capture, and nothing else.
func TestPcapDiskFull(t *testing.T) {
	a, peer := link.NewPipe(link.Config{}, link.Config{})
	dir := t.TempDir()
	_, err := link.NewPcap(a, link.PcapConfig{Path: "/dev/null"})
	assert.ErrorIs(t, err, unix.EINVAL)
	_, err = link.NewPcap(a, link.PcapConfig{Path: dir + "/none/x"})
	assert.ErrorContains(t, err, dir+"/none/x: no such file")

	if err := unix.Mount("none", dir, "tmpfs", 0, "size=8k"); err != nil {
		t.Skip("no tmpfs: ", err)
	}
	t.Cleanup(func() { assert.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	p, _ := pcap(t, a, link.PcapConfig{Path: dir + "/x"})
	for i := range 10_000 {
		put(p, i, 60)
		p.Flush()
		require.Equal(t, []int{i}, numbers(peer))
	}
	n, missed, errno := p.Captured()
	assert.Equal(t, unix.ENOSPC, errno)
	assert.Equal(t, uint64(10_000), n+missed)
	assert.Positive(t, missed)
	p.Close()
}

func BenchmarkPcap(b *testing.B) {
	x, y := link.NewPipe(link.Config{}, link.Config{})
	p, err := link.NewPcap(x, link.PcapConfig{Path: filepath.Join(b.TempDir(), "x"), Limit: 1 << 26})
	require.NoError(b, err)
	frames := make([]link.Frame, 32)
	b.ReportAllocs()
	for b.Loop() {
		_ = p.Buffer()
		p.Send(64, 0)
		p.Flush()
		y.Receive(frames)
	}
}
