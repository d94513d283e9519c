package link

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// A slot whose header makes no sense gives no frame, and nothing beyond the slot is read.
func TestPacketFrame(t *testing.T) {
	slot := make([]byte, 2048)
	h := (*unix.Tpacket2Hdr)(unsafe.Pointer(&slot[0]))
	for _, c := range []struct {
		mac      uint16
		snap, n  uint32
		whole    bool
		describe string
	}{
		{66, 60, 60, true, "as it should be"},
		{66, 2048 - 66, 2048 - 66, true, "up to the end"},
		{66, 2048 - 65, 2048 - 65, false, "beyond the end"},
		{66, 60, 61, false, "cut off"},
		{31, 60, 60, false, "inside the header"},
		{65535, 60, 60, false, "behind the slot"},
		{66, 1<<32 - 1, 1<<32 - 1, false, "huge"},
		{66, 1<<32 - 66, 1<<32 - 66, false, "wraps"},
	} {
		h.Mac, h.Snaplen, h.Len = c.mac, c.snap, c.n
		data, whole := packetFrame(slot)
		assert.Equal(t, c.whole, whole, c.describe)
		if whole {
			assert.Len(t, data, int(c.n), c.describe)
		}
	}
}

// A slot that the kernel has not sent yet is not written to.
func TestPacketTxFull(t *testing.T) {
	p := &Packet{fd: -1, info: Info{MTU: 1500}, tx: packetRing{slots: make([]byte, 8*2048), size: 2048, mask: 7}}
	for range 8 {
		require.Len(t, p.Buffer(), 1514)
		p.Send(100, 0)
	}
	assert.Nil(t, p.Buffer())
	p.Send(200, 0)
	assert.Equal(t, Counters{TxFrames: 8, TxBytes: 800, TxDropped: 1}, p.counters)
	assert.Equal(t, uint32(100), (*unix.Tpacket2Hdr)(unsafe.Pointer(&p.tx.slots[0])).Len)
	p.Flush()
	assert.True(t, p.queued, "the kernel did not take them")
	setStatus(p.tx.slots, unix.TP_STATUS_AVAILABLE)
	assert.NotNil(t, p.Buffer())
}

// Fragments, other protocols and what is cut short have no checksum to be filled in or to be trusted.
func TestSums(t *testing.T) {
	frame := make([]byte, 60)
	build := func(flags uint16, proto uint8) wire.IPv4 {
		clear(frame)
		wire.Ethernet(frame).Put(wire.MAC{}, wire.MAC{}, wire.TypeIPv4)
		p := wire.IPv4(frame[14:])
		p.Put(46, 1, flags, 64, proto, 1, 2)
		return p
	}
	build(0, wire.ProtoTCP)
	start, end, field, ok := sumPlace(frame)
	assert.Equal(t, []int{34, 60, 16}, []int{start, end, field})
	assert.True(t, ok)
	assert.Equal(t, SumsGood, trusted(frame))
	build(0, wire.ProtoUDP)
	_, _, field, ok = sumPlace(frame)
	assert.Equal(t, 6, field)
	assert.True(t, ok)
	for name, change := range map[string]func(){
		"fragment":       func() { build(wire.MoreFragments, wire.ProtoTCP) },
		"other fragment": func() { build(3, wire.ProtoUDP) },
		"ICMP":           func() { build(0, wire.ProtoICMP) },
		"ARP":            func() { build(0, wire.ProtoTCP); frame[13] = 6 },
		"short TCP":      func() { build(0, wire.ProtoTCP).Put(39, 1, 0, 64, wire.ProtoTCP, 1, 2) },
		"short UDP":      func() { build(0, wire.ProtoTCP).Put(27, 1, 0, 64, wire.ProtoUDP, 1, 2) },
		"no IPv4":        func() { build(0, wire.ProtoTCP)[0] = 0x65 },
		"header":         func() { build(0, wire.ProtoTCP)[0] = 0x4f },
	} {
		change()
		_, _, _, ok := sumPlace(frame)
		assert.False(t, ok, name)
		before := append([]byte(nil), frame...)
		fillSums(frame, SumTransport)
		assert.Equal(t, before, frame, name)
	}
	build(wire.MoreFragments, wire.ProtoTCP)
	assert.Zero(t, trusted(frame))
	build(0, wire.ProtoTCP)[10]++
	assert.Zero(t, trusted(frame), "a header with a wrong sum")
	for n := range frame {
		_, _, _, ok := sumPlace(frame[:n])
		assert.False(t, ok)
		assert.Zero(t, trusted(frame[:n]))
		fillSums(frame[:n], SumIPv4|SumTransport)
	}
}

// FuzzSums: no frame makes them read or write beyond it.
func FuzzSums(f *testing.F) {
	f.Add(make([]byte, 60))
	f.Fuzz(func(t *testing.T, frame []byte) {
		frame = frame[:len(frame):len(frame)]
		_ = trusted(frame)
		flags := unfinished(frame)
		fillSums(frame, flags)
		if flags&SumTransport != 0 && trusted(frame) != 0 {
			p, _ := wire.ParseIPv4(frame[wire.EthernetLen:])
			sum := wire.Sum(p.Payload(), wire.PseudoSum(p.Src(), p.Dst(), p.Proto(), len(p.Payload())))
			require.Equal(t, uint16(0xffff), wire.Fold(sum))
		}
	})
}
