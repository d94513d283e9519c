package verbs

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTable(t *testing.T) {
	var things table[int]
	_, ok := things.get(0)
	assert.False(t, ok)
	first := things.add(1)
	second := things.add(2)
	require.NotZero(t, first)
	require.NotEqual(t, first, second)
	things.remove(first)
	things.remove(first)
	_, ok = things.get(first)
	assert.False(t, ok, "removed")
	seen := map[uint32]bool{first: true, second: true}
	for i := range 10000 { // one at a time: each handle is another for long
		handle := things.add(i)
		require.NotZero(t, handle)
		require.Positive(t, int32(handle))
		require.False(t, seen[handle], "handle %#x comes again", handle)
		seen[handle] = true
		thing, ok := things.get(handle)
		require.True(t, ok)
		require.Equal(t, i, thing)
		things.remove(handle)
	}
	thing, ok := things.get(second)
	assert.True(t, ok)
	assert.Equal(t, 2, thing)
	assert.Less(t, len(things.entries), 2*keepFree, "indices are used again")
}

func TestTableFull(t *testing.T) {
	var things table[int]
	var last uint32
	for i := 1; i < tableSize; i++ {
		last = things.add(i)
		require.NotZero(t, last)
	}
	assert.Zero(t, things.add(0))
	things.remove(last)
	assert.NotZero(t, things.add(0))
	assert.Zero(t, things.add(0))
	count := 0
	things.all(func(int) { count++ })
	assert.Equal(t, tableSize-1, count)
}
