package wire

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// naiveSum is the checksum of RFC 1071, word by word, before the complement.
func naiveSum(p []byte) uint16 {
	var sum uint32
	for i := 0; i < len(p); i += 2 {
		w := uint32(p[i]) << 8
		if i+1 < len(p) {
			w |= uint32(p[i+1])
		}
		sum += w
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

func BenchmarkSum(b *testing.B) {
	for _, n := range []int{20, 40, 64, 1460} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := make([]byte, n)
			for b.Loop() {
				sink = Sum(p, 7)
			}
		})
	}
}

func BenchmarkCopySum(b *testing.B) {
	for _, n := range []int{64, 1460} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p, q := make([]byte, n), make([]byte, n)
			for b.Loop() {
				sink = CopySum(q, p)
			}
		})
	}
}

var sink uint64

func TestSum(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 1700)
	for round := range 20 {
		for i := range buf {
			switch buf[i] = byte(rnd.Uint32()); round {
			case 0:
				buf[i] = 0xff
			case 1:
				buf[i] = 0
			}
		}
		for n := range 1600 {
			p := buf[n%9 : n%9+n]
			want := naiveSum(p)
			require.Equal(t, want, Fold(Sum(p, 0)), "%d bytes", n)
			q := make([]byte, n+3)
			require.Equal(t, want, Fold(CopySum(q, p)), "%d bytes", n)
			require.Equal(t, p, q[:n])
			require.Equal(t, make([]byte, 3), q[n:])
			cut := rnd.IntN(n+1) &^ 1
			require.Equal(t, want, Fold(Sum(p[cut:], Sum(p[:cut], 0))), "%d bytes in two parts", n)
		}
	}
	for range 100000 {
		s := rnd.Uint64() >> rnd.IntN(64)
		words := naiveSum([]byte{byte(s >> 56), byte(s >> 48), byte(s >> 40), byte(s >> 32), byte(s >> 24), byte(s >> 16), byte(s >> 8), byte(s)})
		require.Equal(t, words, Fold(s), "%x", s)
	}
	require.Equal(t, uint16(0xffff), Fold(^uint64(0)))
}
