package tests

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const maxLines = 600

// tooLong says whether a file is text of our own with more than maxLines lines.
func tooLong(name string, content []byte) bool {
	switch {
	case name == "go.sum", strings.HasSuffix(name, ".patch"), bytes.IndexByte(content, 0) >= 0:
		return false
	}
	return bytes.Count(content, []byte("\n")) > maxLines
}

func TestFileLengths(t *testing.T) {
	out, err := exec.Command("git", "ls-files", "-z", "--full-name", ":/").Output()
	if err != nil {
		t.Skip("not a git checkout")
	}
	files := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	require.Greater(t, len(files), 20, "git names too few files")
	for _, name := range files {
		content, err := os.ReadFile(filepath.Join("..", name))
		if os.IsNotExist(err) {
			continue // removed, but not committed yet
		}
		require.NoError(t, err)
		assert.False(t, tooLong(name, content), "%s has more than %d lines", name, maxLines)
	}
}

func TestFileLengthRule(t *testing.T) {
	text := bytes.Repeat([]byte("x\n"), maxLines)
	assert.False(t, tooLong("a.c", text))
	assert.True(t, tooLong("a.c", append(text, "\n"...)))
	assert.False(t, tooLong("a.patch", append(text, "\n"...)))
	assert.False(t, tooLong("a.png", append(text, "\x00\n"...)))
}
