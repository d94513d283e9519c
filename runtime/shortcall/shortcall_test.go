package shortcall

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mapped tells whether a line of the process's mappings begins so.
func mapped(t *testing.T, from, to uintptr, access string) bool {
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	return strings.Contains("\n"+string(maps), fmt.Sprintf("\n%x-%x %s", from, to, access))
}

// That functions are called is tested where there are some in C: by package dpdk.
func TestStack(t *testing.T) {
	c, err := New()
	require.NoError(t, err)
	bottom := uintptr(c.memory)
	assert.Zero(t, c.top%16, "as the ABI has it")
	assert.Equal(t, bottom+guardBytes+stackBytes, c.top)
	assert.True(t, mapped(t, bottom, bottom+guardBytes, "---p"), "an overflow is stopped")
	c.Close()
	assert.False(t, mapped(t, bottom, bottom+guardBytes, "---p"))
	c.Close()
}
