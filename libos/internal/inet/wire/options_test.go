package wire

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

func TestParseOptions(t *testing.T) {
	blocks := func(v ...SACKBlock) (b [maxSACKBlocks]SACKBlock) {
		copy(b[:], v)
		return b
	}
	for _, c := range []struct {
		name, in string
		want     Options
	}{
		{"none", "", Options{}},
		{"end", "00020405b4", Options{}},
		{"nops", "01010101", Options{}},
		{"MSS", "020405b4", Options{Has: HasMSS, MSS: 1460}},
		{"MSS twice", "020405b402040218", Options{Has: HasMSS, MSS: 0x218}},
		{"MSS of another length", "020505b400" + "030307", Options{Has: HasScale, Scale: 7}},
		{"of Linux", "020405b40402080a0000000100000002" + "01030307",
			Options{Has: HasMSS | HasSACKPermitted | HasTimestamps | HasScale, MSS: 1460, TSVal: 1, TSEcr: 2, Scale: 7}},
		{"scale too great", "0303ff", Options{Has: HasScale, Scale: 14}},
		{"timestamps, usual", "0101080a8000000100000002", Options{Has: HasTimestamps, TSVal: 1<<31 + 1, TSEcr: 2}},
		{"timestamps, odd offset", "01080a8000000100000002" + "00", Options{Has: HasTimestamps, TSVal: 1<<31 + 1, TSEcr: 2}},
		{"timestamps of 8 bytes", "080800000001" + "0000" + "0402", Options{Has: HasSACKPermitted}},
		{"one block", "0101050a0000000a00000014", Options{Has: HasSACK, sacks: 1, blocks: blocks(SACKBlock{10, 20})}},
		{"four blocks", "010105220000000a000000140000001e000000280000003200000046ffffffff00000001", Options{Has: HasSACK, sacks: 4,
			blocks: blocks(SACKBlock{10, 20}, SACKBlock{30, 40}, SACKBlock{50, 70}, SACKBlock{^Seq(0), 1})}},
		{"a block and a half", "050e0000000a000000140000001e" + "0402", Options{Has: HasSACKPermitted}},
		{"no block", "0502" + "0402", Options{Has: HasSACKPermitted}},
		{"unknown", "fd04aabb" + "0402", Options{Has: HasSACKPermitted}},
		{"length 0", "0402" + "fd00" + "020405b4", Options{Has: HasSACKPermitted | BadOptions}},
		{"length 1", "0402" + "fd01" + "020405b4", Options{Has: HasSACKPermitted | BadOptions}},
		{"too long", "0402" + "fd05aabb", Options{Has: HasSACKPermitted | BadOptions}},
		{"no length", "0402" + "02", Options{Has: HasSACKPermitted | BadOptions}},
		{"end of length, none", "010100", Options{}},
	} {
		got := Options{Has: 0xff, sacks: 3} // of another segment
		got.Parse(unhex(t, c.in))
		if c.want.sacks == 0 {
			assert.Empty(t, got.SACK())
		}
		assert.Equal(t, c.want, got, c.name)
	}
}

func TestPutOptions(t *testing.T) {
	for has := range HasTimestamps * 2 {
		if has &= HasMSS | HasScale | HasSACKPermitted | HasTimestamps; has == 0 {
			continue
		}
		o := Options{Has: has, MSS: 1234, Scale: 9, TSVal: 0xfffffffe, TSEcr: 3}
		var b [MaxTCPOptions]byte
		n := o.PutSYN(b[:])
		assert.Zero(t, n%4)
		assert.LessOrEqual(t, n, 20)
		var got Options
		got.Parse(b[:n])
		assert.Equal(t, has, got.Has)
		if has&HasMSS != 0 {
			assert.Equal(t, o.MSS, got.MSS)
		}
		if has&HasScale != 0 {
			assert.Equal(t, o.Scale, got.Scale)
		}
		if has&HasTimestamps != 0 {
			assert.Equal(t, [2]uint32{o.TSVal, o.TSEcr}, [2]uint32{got.TSVal, got.TSEcr})
		}
	}
	blocks := []SACKBlock{{1, 2}, {0xfffffff0, 4}, {5, 6}, {7, 8}}
	for n := 1; n <= 4; n++ {
		b := make([]byte, SACKLen(n))
		PutSACK(b, blocks[:n])
		var got Options
		got.Parse(b)
		assert.Equal(t, HasSACK, got.Has)
		assert.Equal(t, blocks[:n], got.SACK())
	}
}

func TestTimestampsInTheUsualLayout(t *testing.T) {
	b := make([]byte, TCPLen+TimestampsLen+4)
	TCP(b).Put(1, 2, 3, 4, TCPLen+TimestampsLen, ACK, 5)
	PutTimestamps(b[TCPLen:], 77, 88)
	val, ecr, ok := TCP(b).Timestamps()
	assert.True(t, ok)
	assert.Equal(t, [2]uint32{77, 88}, [2]uint32{val, ecr})
	_, _, ok = TCP(b[:TCPLen+8]).Timestamps()
	assert.False(t, ok, "cut off")
	b[TCPLen+3] = 9
	_, _, ok = TCP(b).Timestamps()
	assert.False(t, ok, "another length")
	PutTimestamps(b[TCPLen:], 77, 88)
	b[12] += 1 << 4
	_, _, ok = TCP(b).Timestamps()
	assert.False(t, ok, "more options")

	var o Options
	o.Parse(TCP(b).Options())
	assert.Equal(t, HasTimestamps, o.Has)
	var room [MaxTCPOptions]byte
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		o.Parse(TCP(b).Options())
		o.Has = 0xff
		o.PutSYN(room[:])
	}))
}

func TestICMP(t *testing.T) {
	b := make([]byte, ICMPLen+IPv4Len+8)
	IPv4(b[ICMPLen:]).Put(1500, 7, DontFragment, 64, ProtoTCP, 0x0a000001, 0x0a000002)
	copy(b[ICMPLen+IPv4Len:], "\x00\x50\x12\x34\x11\x22\x33\x44")
	m, ok := ParseICMP(b)
	require.True(t, ok)
	m.Put(ICMPUnreachable, FragmentationNeeded, 1400)
	assert.True(t, m.SumGood())
	assert.True(t, m.Error())
	assert.Equal(t, ICMPUnreachable, m.Type())
	assert.Equal(t, FragmentationNeeded, m.Code())
	assert.Equal(t, uint16(1400), m.MTU())
	header, payload, ok := m.Original()
	require.True(t, ok)
	assert.Equal(t, Addr(0x0a000001), header.Src())
	assert.Equal(t, Addr(0x0a000002), header.Dst())
	assert.Equal(t, b[ICMPLen+IPv4Len:], payload, "the message has less than the packet had")

	b[ICMPLen+2], b[ICMPLen+3] = 0, IPv4Len+4
	assert.False(t, m.SumGood())
	_, payload, ok = m.Original()
	require.True(t, ok)
	assert.Len(t, payload, 4, "the packet was shorter than the message")
	b[ICMPLen+3] = IPv4Len - 1
	_, _, ok = m.Original()
	assert.False(t, ok, "total length below that of the header")
	b[ICMPLen], b[ICMPLen+2] = 0x4f, 5
	_, _, ok = m.Original()
	assert.False(t, ok, "header cut off")
	b[ICMPLen] = 0x65
	_, _, ok = m.Original()
	assert.False(t, ok, "not version 4")
	_, _, ok = ICMP(b[:ICMPLen+IPv4Len-1]).Original()
	assert.False(t, ok)
	_, ok = ParseICMP(b[:ICMPLen-1])
	assert.False(t, ok)

	m.Put(ICMPEcho, 0, 0x12340005)
	assert.False(t, m.Error())
	assert.Equal(t, uint16(0x1234), m.ID())
	assert.Equal(t, uint16(5), m.Seq())
	m.Put(19, 0, 0)
	assert.True(t, m.Error(), "unknown: no answer")
}
