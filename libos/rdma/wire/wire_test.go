package wire

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHello(t *testing.T) {
	h := Hello{16, 8192}
	p := make([]byte, 56)
	h.Put(p)
	got, err := ParseHello(p)
	require.NoError(t, err)
	assert.Equal(t, h, got)
	for _, c := range []struct {
		at   int
		to   byte
		want error
	}{{0, 0, ErrMagic}, {4, 2, ErrVersion}, {5, 3, ErrRange}, {6, 0xff, ErrRange}, {7, 1, ErrRange}, {8, 1, ErrRange}, {10, 0, ErrRange}} {
		b := append([]byte{}, p...)
		b[c.at] = c.to
		_, err := ParseHello(b)
		assert.Equal(t, c.want, err, "byte %d", c.at)
	}
	_, err = ParseHello(p[:HelloLen-1])
	assert.Equal(t, ErrLength, err)
}

func TestReason(t *testing.T) {
	p := make([]byte, 148)
	Busy.Put(p)
	p[4] = Version + 1
	r, err := ParseReason(p)
	require.NoError(t, err)
	assert.Equal(t, Busy, r)
	_, err = ParseReason(p[:5])
	assert.Equal(t, ErrLength, err)
	p[0] = 0
	_, err = ParseReason(p)
	assert.Equal(t, ErrMagic, err)
}

func TestMessages(t *testing.T) {
	for _, m := range []Message{
		{Type: Data, Credits: 3, Length: 5}, {Type: Request, Length: MaxRequest}, {Type: Grant, Length: 7, Addr: 1 << 40, Key: 9},
		{Type: Decline, Length: 1}, {Type: Wrote}, {Type: Wrote, Length: 1}, {Type: Credit, Credits: MaxCredits}, {Type: Fin},
	} {
		p := make([]byte, GrantLen)
		n := m.Put(p)
		if m.Type == Data {
			n += int(m.Length)
		}
		var got Message
		_, err := got.Parse(p[:n])
		require.NoError(t, err, m)
		assert.Equal(t, m, got)
		for cut := range n {
			if m.Type == Request && cut >= HeaderLen {
				continue
			}
			_, err := got.Parse(p[:cut])
			assert.Error(t, err, "%v, %d bytes", m, cut)
		}
		if m.Type != Request {
			_, err := got.Parse(append(p[:n:n], 0))
			assert.Error(t, err, "%v with a byte more", m)
		}
	}
	for _, m := range []Message{
		{}, {Type: Fin + 1}, {Type: Data}, {Type: Request}, {Type: Request, Length: MaxRequest + 1}, {Type: Grant}, {Type: Decline},
		{Type: Grant, Length: 2, Addr: ^uint64(0)}, {Type: Credit, Credits: MaxCredits + 1}, {Type: Credit, Length: 1}, {Type: Fin, Length: 1},
	} {
		p := make([]byte, GrantLen)
		var got Message
		_, err := got.Parse(p[:m.Put(p)])
		assert.Error(t, err, m)
	}
}

func TestDatagram(t *testing.T) {
	p := make([]byte, DatagramLen+2)
	PutDatagram(p, [2]byte{1, 2})
	port, data, err := ParseDatagram(p)
	require.NoError(t, err)
	assert.Equal(t, [2]byte{1, 2}, port)
	assert.Len(t, data, 2)
	_, _, err = ParseDatagram(p[:5])
	assert.Equal(t, ErrLength, err)
	p[1]++
	_, _, err = ParseDatagram(p)
	assert.Equal(t, ErrMagic, err)
}

// Whatever comes is refused or has the form it would have been sent in.
func FuzzMessage(f *testing.F) {
	var p [GrantLen]byte
	for _, m := range []Message{{Type: Data, Length: 1}, {Type: Request, Length: 9}, {Type: Grant, Length: 7, Addr: 1, Key: 2}, {Type: Wrote}, {Type: Fin}} {
		f.Add(append([]byte{}, p[:m.Put(p[:])]...))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var m Message
		stream, err := m.Parse(p)
		if err != nil {
			return
		}
		var again [GrantLen]byte
		n := m.Put(again[:])
		assert.Equal(t, p[:n], again[:n])
		assert.Equal(t, len(p), n+len(stream))
	})
}

func FuzzHello(f *testing.F) {
	var p [HelloLen]byte
	(&Hello{2, 4096}).Put(p[:])
	f.Add(p[:])
	f.Fuzz(func(t *testing.T, p []byte) {
		_, _ = ParseReason(p)
		_, _, _ = ParseDatagram(p)
		h, err := ParseHello(p)
		if err != nil {
			return
		}
		var again [HelloLen]byte
		h.Put(again[:])
		assert.Equal(t, p[:HelloLen], again[:])
	})
}
