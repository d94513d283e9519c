package inet

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const musts = 69 // labels in appendix B of RFC 9293

// TestConformanceTable checks that docs/tcp-conformance.md has each label once, that what is kept has a test, and that
// each test is in the table.
func TestConformanceTable(t *testing.T) {
	text, err := os.ReadFile("../../../docs/tcp-conformance.md")
	require.NoError(t, err)
	row := regexp.MustCompile(`(?m)^\| MUST-(\d+) \| [^|]+ \| (kept|not applicable) \| (MUST-\d+\.pkt)? ?\| ([^|]*)\|$`)
	rows := row.FindAllStringSubmatch(string(text), -1)
	require.Len(t, rows, musts)
	named := map[string]bool{}
	for i, r := range rows {
		assert.Equal(t, fmt.Sprint(i+1), r[1], "order of the labels")
		file := r[3]
		if r[2] == "kept" {
			assert.NotEmpty(t, file, "MUST-%s has no test", r[1])
		} else {
			assert.Greater(t, len(r[4]), 5, "MUST-%s: why?", r[1])
		}
		if file != "" {
			assert.FileExists(t, filepath.Join("testdata/rfc9293", file))
			named[file] = true
		}
	}
	files, err := filepath.Glob("testdata/rfc9293/*.pkt")
	require.NoError(t, err)
	for _, f := range files {
		assert.True(t, named[filepath.Base(f)], "%s is not in the table", f)
	}
}
