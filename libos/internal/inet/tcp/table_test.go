package tcp

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// The table does what a map does.
func TestTable(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	tab := newTable(secret{1, 2})
	ref := map[key]*Conn{}
	for i := range 200_000 {
		k := keyOf(addrA, uint16(r.IntN(20)), wire.Addr(r.IntN(30)), uint16(r.IntN(4)))
		switch r.IntN(3) {
		case 0:
			tab.remove(k)
			delete(ref, k)
		default:
			c := &Conn{key: k}
			tab.put(k, c, nil)
			ref[k] = c
		}
		if i%1000 == 0 {
			require.Equal(t, len(ref), tab.n)
			for k, c := range ref {
				s := tab.find(k)
				require.NotNil(t, s)
				require.Same(t, c, s.conn)
			}
		}
	}
	for k := range ref {
		tab.remove(k)
	}
	assert.Zero(t, tab.n)
	for i := range tab.slots {
		require.True(t, tab.slots[i].empty())
	}
}

func TestKey(t *testing.T) {
	k := keyOf(addrA, 0xfedc, addrB, 0xba98)
	assert.Equal(t, Endpoint{addrA, 0xfedc}, k.local())
	assert.Equal(t, Endpoint{addrB, 0xba98}, k.remote())
}

// Sequence numbers, timestamps and places in the table depend on the secret and on the connection.
func TestSecret(t *testing.T) {
	s := secretFrom([16]byte{1})
	k := keyOf(addrA, 1, addrB, 2)
	seen := map[uint64]bool{}
	for _, use := range []uint64{useTable, useISN, useStamp, useCookie} {
		seen[s.key(k, use)] = true
		seen[s.key(keyOf(addrA, 1, addrB, 3), use)] = true
		seen[secretFrom([16]byte{2}).key(k, use)] = true
	}
	assert.Len(t, seen, 12)
}

// A new ISN of the same connection is ahead of the last by the time between (RFC 6528, section 3).
func TestISN(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	k := keyOf(addrA, 1, addrB, 2)
	first := r.a.isn(k)
	r.run(second)
	assert.InDelta(t, 244140, r.a.isn(k).Since(first), 2)
}

func TestLimiter(t *testing.T) {
	var l limiter
	for i := range int64(10) {
		assert.Equal(t, i < 4, l.allow(100+i, second, 4))
	}
	assert.True(t, l.allow(100+second, second, 4))
}
