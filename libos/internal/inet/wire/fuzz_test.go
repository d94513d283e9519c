package wire

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzFrame parses any frame as the stack does, and reads all fields of what has passed the checks.
func FuzzFrame(f *testing.F) {
	const head = "ffffffffffff020000000001"
	for _, s := range []string{
		head + "0806" + "0001080006040001" + "0200000000010a000001" + "0000000000000a000002",
		head + "0800" + "4500002800000000400600000a0000010a000002" + "00501234000000010000000250020fff00000000",
		head + "0800" + "4500003400000000400600000a0000010a000002" + "00501234000000010000000280100fff00000000" + "0101080a0000000100000002",
		head + "0800" + "4500001d00000000401100000a0000010a000002" + "003512340009000041",
		head + "0800" + "4600002000000000400100000a0000010a000002" + "01010100" + "080012340001000141",
		head + "0800" + "4500003800000000400100000a0000010a000002" + "0304000000000578" + "450005dc00004000400600000a0000020a000001" + "1234005000000001",
	} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < EthernetLen {
			return
		}
		e, p := Ethernet(b), b[EthernetLen:]
		_, _ = e.Dst().Group(), e.Src()
		if a, ok := ParseARP(p); ok {
			c := make(ARP, ARPLen)
			c.Put(a.Op(), a.SrcMAC(), a.Src(), a.DstMAC(), a.Dst())
			assert.Equal(t, []byte(a), []byte(c))
		}
		ip, ok := ParseIPv4(p)
		if !ok {
			return
		}
		require.Len(t, ip, ip.TotalLen())
		_, _, _, _ = ip.SumGood(), ip.Src(), ip.Dst(), ip.FragmentOffset()
		fuzzTransport(t, ip.Payload())
	})
}

func fuzzTransport(t *testing.T, p []byte) {
	if u, ok := ParseUDP(p); ok {
		require.Len(t, u.Payload(), len(u)-UDPLen)
	}
	if m, ok := ParseICMP(p); ok {
		_, _, _ = m.SumGood(), m.MTU(), m.Error()
		if h, rest, ok := m.Original(); ok {
			require.LessOrEqual(t, len(h)+len(rest), len(m.Payload()))
			_, _ = h.Src(), h.Dst()
		}
	}
	if s, ok := ParseTCP(p); ok {
		require.Len(t, s.Payload(), len(s)-TCPLen-len(s.Options()))
		var o Options
		o.Parse(s.Options())
		if val, ecr, ok := s.Timestamps(); ok {
			require.Equal(t, HasTimestamps, o.Has)
			require.Equal(t, [2]uint32{val, ecr}, [2]uint32{o.TSVal, o.TSEcr})
		}
	}
}

// FuzzOptions parses any options, and those that were written from what was read.
func FuzzOptions(f *testing.F) {
	f.Add([]byte{2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7})
	f.Add([]byte{1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2, 0xfe, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		p = p[:min(len(p), MaxTCPOptions)]
		var o, again Options
		o.Parse(p)
		require.LessOrEqual(t, len(o.SACK()), 4)
		var b [MaxTCPOptions]byte
		n := o.PutSYN(b[:])
		again.Parse(b[:n])
		require.Equal(t, o.Has&^(HasSACK|BadOptions), again.Has)
		if len(o.SACK()) > 0 {
			PutSACK(b[:], o.SACK())
			again.Parse(b[:SACKLen(len(o.SACK()))])
			require.Equal(t, o.SACK(), again.SACK())
		}
	})
}

// FuzzSum compares the checksums with the naive one.
func FuzzSum(f *testing.F) {
	f.Add([]byte{1}, uint8(0))
	f.Add(bytes.Repeat([]byte{0xff}, 131), uint8(64))
	f.Fuzz(func(t *testing.T, p []byte, cut uint8) {
		want := naiveSum(p)
		require.Equal(t, want, Fold(Sum(p, 0)))
		q := make([]byte, len(p))
		require.Equal(t, want, Fold(CopySum(q, p)))
		require.Equal(t, p, append(p[:0:0], q...))
		c := min(int(cut), len(p)) &^ 1
		require.Equal(t, want, Fold(Sum(p[c:], Sum(p[:c], 0))))
	})
}
