package libostest

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// CountersDocumented tells that the file, docs/counters.md as seen from the test, has all counters of these parts (a regular
// expression), and no others.
func CountersDocumented(t *testing.T, file, parts string, counters []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var documented []string
	for _, m := range regexp.MustCompile("`((?:"+parts+")\\.[a-z_]+)`(?:,| \\|)").FindAllSubmatch(text, -1) {
		documented = append(documented, string(m[1]))
	}
	assert.ElementsMatch(t, counters, documented)
}
