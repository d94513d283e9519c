package verbs

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWork(t *testing.T) {
	w := newWork(3)
	w.head, w.tail = 1<<31-2, 1<<31-2 // the numbers wrap around
	for round := range uint64(10) {
		var numbers [3]uint32
		for i := range numbers {
			require.False(t, w.full())
			numbers[i] = w.add(request{wrid: round*3 + uint64(i)})
		}
		require.True(t, w.full())
		r, ok := w.done(numbers[1]) // ends the first, too
		require.True(t, ok)
		require.Equal(t, round*3+1, r.wrid)
		_, ok = w.done(numbers[0])
		require.False(t, ok, "over already")
		_, ok = w.done(numbers[2] + 1)
		require.False(t, ok, "not posted")
		r, ok = w.done(numbers[2])
		require.True(t, ok)
		require.Equal(t, round*3+2, r.wrid)
		require.Equal(t, w.head, w.tail)
	}
}

// header4 is what precedes a datagram over IPv4: 20 bytes of anything, and the header.
func header4(addr [4]byte) (grh [GRHBytes]byte) {
	grh[0] = 0x60 // anything
	ip := grh[20:]
	ip[0], ip[8], ip[9] = 0x45, 64, 17
	copy(ip[12:], addr[:])
	sum := ^checksum(ip)
	ip[10], ip[11] = byte(sum>>8), byte(sum)
	return grh
}

// header6 is a GRH with an IPv4 address in it.
func header6(addr [4]byte) (grh [GRHBytes]byte) {
	grh[0] = 0x60
	grh[18], grh[19] = 0xff, 0xff
	copy(grh[20:], addr[:])
	return grh
}

func TestSource(t *testing.T) {
	want := [4]byte{198, 18, 1, 2}
	grh := header4(want)
	got, ok := source(&grh)
	assert.True(t, ok)
	assert.Equal(t, want, got)
	grh[20+13]++
	_, ok = source(&grh)
	assert.False(t, ok, "checksum")
	grh = header6(want)
	got, ok = source(&grh)
	assert.True(t, ok)
	assert.Equal(t, want, got)
	grh[8] = 0xfe
	_, ok = source(&grh)
	assert.False(t, ok, "an IPv6 address")
	_, ok = source(&[GRHBytes]byte{})
	assert.False(t, ok)
}

func FuzzSource(f *testing.F) {
	four, six := header4([4]byte{10, 0, 0, 1}), header6([4]byte{10, 0, 0, 2})
	f.Add(four[:])
	f.Add(six[:])
	f.Fuzz(func(t *testing.T, data []byte) {
		var grh [GRHBytes]byte
		copy(grh[:], data)
		var c Completion
		c.setSource(&grh)
		addr, ok := source(&grh)
		assert.Equal(t, ok, c.Src.Family == familyIPv4)
		assert.Equal(t, addr, c.Src.Addr)
	})
}
