package framing

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

const limit = 1 << 20

func words(w ...uint32) (b []byte) {
	for _, v := range w {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// message frames segments in the plainest way, as a check on Encode and Decoder.
func message(segs ...[]byte) []byte {
	var body []byte
	for _, s := range segs {
		body = append(append(body, words(uint32(len(s)))...), s...)
	}
	return append(words(abi.HeaderMagic, uint32(len(body)), uint32(len(segs))), body...)
}

// segments takes a finished message apart, and releases its block.
func segments(d *Decoder) (out [][]byte) {
	var sga abi.SGArray
	d.Take(&sga)
	for i := uint32(0); i < sga.NumSegs; i++ {
		out = append(out, bytes.Clone(sga.Bytes(i)))
	}
	mem.Free(sga.Buf.Pointer())
	return out
}

// feed hands over a stream in pieces as cut says, partly through Window, and collects the messages.
func feed(d *Decoder, stream []byte, cut func(int) int) (msgs [][][]byte, err abi.Errno) {
	for len(stream) > 0 {
		var n int
		var done bool
		if w := d.Window(); w != nil {
			n = copy(w, stream[:min(len(stream), cut(len(stream)))])
			done, err = d.Fill(n)
		} else {
			n, done, err = d.Feed(stream[:cut(len(stream))], limit)
		}
		if err != 0 {
			return msgs, err
		}
		stream = stream[n:]
		if done {
			msgs = append(msgs, segments(d))
		}
	}
	return msgs, 0
}

func TestEncodeMatchesDecode(t *testing.T) {
	segs := [][]byte{[]byte("abc"), {}, []byte("defgh")}
	sga := abi.SGArray{NumSegs: 3}
	for i, s := range segs {
		sga.Segs[i] = abi.Seg{Buf: abi.PtrTo(unsafe.Pointer(unsafe.SliceData(s))), Len: uint32(len(s))}
	}
	var h [MaxOverhead]byte
	n := Encode(h[:], &sga)
	want := message(segs...)
	assert.EqualValues(t, len(want), n)
	assert.Equal(t, want[:16], h[:16])
	assert.Equal(t, words(0, 5), h[16:24])
}

func TestDecodeAnyCut(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	big := make([]byte, 700<<10)
	for i := range big {
		big[i] = byte(r.Uint32())
	}
	want := [][][]byte{{[]byte("x")}, {[]byte("ab"), {}, big}, {big[:5000], big[100:9100]}, {{}, []byte("y")}}
	var stream []byte
	for _, m := range want {
		stream = append(stream, message(m...)...)
	}
	for name, cut := range map[string]func(int) int{
		"whole":  func(n int) int { return n },
		"bytes":  func(int) int { return 1 },
		"random": func(n int) int { return 1 + int(r.Uint32N(uint32(min(n, 20000)))) },
	} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			got, err := feed(&d, stream, cut)
			require.Zero(t, err)
			require.Equal(t, len(want), len(got))
			for i := range want {
				require.Equal(t, len(want[i]), len(got[i]))
				for j := range want[i] {
					require.True(t, bytes.Equal(want[i][j], got[i][j]), "message %d segment %d", i, j)
				}
			}
			assert.True(t, d.Idle())
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	const m = abi.HeaderMagic
	for name, c := range map[string]struct {
		in  []byte
		err abi.Errno
	}{
		"bad magic":              {words(m+1, 5, 1), unix.EILSEQ},
		"bad magic, no more":     {[]byte("PING"), unix.EILSEQ},
		"no segments":            {words(m, 4, 0), unix.EILSEQ},
		"four segments":          {words(m, 100, 4), unix.EILSEQ},
		"nine segments":          {words(m, 100, 9), unix.EILSEQ},
		"2^32-1 segments":        {words(m, 100, 1<<32-1), unix.EILSEQ},
		"no data":                {words(m, 4, 1), unix.EILSEQ},
		"no room for lengths":    {words(m, 3, 1), unix.EILSEQ},
		"4 GiB":                  {words(m, 1<<32-1, 1), unix.EMSGSIZE},
		"over the limit by 1":    {words(m, limit+5, 1), unix.EMSGSIZE},
		"length beyond":          {words(m, 8, 1, 5), unix.EILSEQ},
		"length short":           {words(m, 8, 1, 3), unix.EILSEQ},
		"length 2^32-1":          {words(m, 8, 1, 1<<32-1), unix.EILSEQ},
		"first takes the second": {words(m, 12, 2, 5), unix.EILSEQ},
		"second short":           {words(m, 16, 2, 4, 0, 3), unix.EILSEQ},
		"second beyond":          {words(m, 16, 2, 4, 0, 5), unix.EILSEQ},
	} {
		t.Run(name, func(t *testing.T) {
			for _, step := range []int{1, len(c.in)} {
				var d Decoder
				_, err := feed(&d, c.in, func(n int) int { return min(n, step) })
				assert.Equal(t, c.err, err)
				d.Reset()
			}
		})
	}
}

// A claim alone must not make the decoder allocate what is claimed.
func TestClaimAllocatesLittle(t *testing.T) {
	var d Decoder
	_, done, err := d.Feed(words(abi.HeaderMagic, 900<<10, 1), limit)
	require.Zero(t, err)
	assert.False(t, done)
	assert.LessOrEqual(t, d.room, uint64(firstBlock))
	d.Reset()
}

func TestMatchMagic(t *testing.T) {
	for _, c := range []struct {
		in             string
		match, decided bool
	}{
		{"", true, false}, {"\x10", true, false}, {"\x10\x10\x20", true, false}, {"\x10\x10\x20\x10", true, true},
		{"\x10\x10\x20\x11", false, true}, {"P", false, true}, {"\x10\x11", false, true},
	} {
		m, d := MatchMagic([]byte(c.in))
		assert.Equal(t, c.match, m, "%q", c.in)
		assert.Equal(t, c.decided, d, "%q", c.in)
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add(message([]byte("abc"), []byte("d")), uint8(1))
	f.Add(append(message(make([]byte, 9000)), message([]byte("x"))...), uint8(200))
	f.Add(words(abi.HeaderMagic, 1<<32-1, 1), uint8(3))
	f.Add(words(abi.HeaderMagic, 16, 2, 4, 0, 4, 0), uint8(7))
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		var whole, cut Decoder
		a, errA := feed(&whole, in, func(n int) int { return n })
		b, errB := feed(&cut, in, func(n int) int { return min(n, 1+int(step)) })
		if n := Whole(in, limit); n > 0 {
			require.NotEmpty(t, a)
			require.Len(t, a[0], 1)
			var sga abi.SGArray
			block := make([]byte, n)
			TakeWhole(&sga, unsafe.Pointer(&block[0]), in[:n])
			require.Equal(t, a[0][0], sga.Bytes(0))
		} else if len(a) > 0 {
			require.True(t, len(a[0]) > 1, "Whole misses a message of one segment")
		}
		require.Equal(t, errA, errB)
		require.Equal(t, a, b)
		whole.Reset()
		cut.Reset()
	})
}
