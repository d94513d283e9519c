package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/libos/spdk"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
	"golang.org/x/sys/unix"
)

// call runs the program.
func call(args ...string) (status int, out, errs string) {
	var o, e bytes.Buffer
	status = run(args, &o, &e)
	return status, o.String(), e.String()
}

// drive makes a formatted drive.
func drive(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "drive")
	status, _, errs := call("format", path, "64M")
	if strings.Contains(errs, "io_uring") {
		t.Skip(errs)
	}
	require.Zero(t, status, errs)
	return path
}

// write appends records to a log by way of the library.
func write(t *testing.T, path, log string, records ...[]byte) {
	opt := libostest.Options{New: func(e *engine.Engine, c *config.Config) (engine.LibOS, error) {
		c.Spdk.DevAddr = path
		return spdk.New(e, c)
	}}
	l := libostest.Open(t, &opt, nil)
	defer l.Stop()
	qd, err := l.TryFile(log, unix.O_RDWR|unix.O_CREAT)
	require.Zero(t, err)
	for _, r := range records {
		l.Pushed(qd, libostest.Array(t, r))
	}
	require.Zero(t, l.CloseQueue(qd))
	status, _, errs := call("list", path)
	assert.Equal(t, exitError, status)
	assert.Contains(t, errs, "in use")
}

func TestLife(t *testing.T) {
	path := drive(t)
	big := bytes.Repeat([]byte("0123456789"), 300_000)
	write(t, path, "a log", []byte("first "), []byte("second "), big)
	write(t, path, "other", []byte("x"))
	status, out, _ := call("list", path)
	assert.Zero(t, status)
	assert.Regexp(t, `(?m)^ +0 +3000013 +3 +\d+ +"a log"$`, out)
	assert.Regexp(t, `(?m)^ +0 +1 +1 +1 +"other"$`, out)
	status, out, _ = call("dump", path, "a log")
	assert.Zero(t, status)
	assert.True(t, out == "first second "+string(big))
	_, out, _ = call("dump", "--from", "3000003", path, "a log")
	assert.Equal(t, "0123456789", out)
	status, _, _ = call("dump", path, "none")
	assert.Equal(t, exitError, status)
	status, out, _ = call("check", path)
	assert.Zero(t, status)
	assert.Contains(t, out, "2 logs, 3000014 bytes: all is well")
	status, _, _ = call("delete", path, "other")
	assert.Zero(t, status)
	status, _, errs := call("delete", path, "other")
	assert.Equal(t, exitError, status)
	assert.Contains(t, errs, "other")
	_, out, _ = call("list", path)
	assert.NotContains(t, out, "other")
}

func TestFormat(t *testing.T) {
	path := drive(t)
	write(t, path, "log", []byte("precious"))
	status, _, errs := call("format", path)
	assert.Equal(t, exitError, status)
	assert.Contains(t, errs, "--force")
	status, _, _ = call("format", path, "65M")
	assert.Equal(t, exitError, status, "of another size")
	_, out, _ := call("dump", path, "log")
	assert.Equal(t, "precious", out)
	status, _, errs = call("format", "--force", "--zeros", path, "--extent-size=2M")
	assert.Zero(t, status, errs)
	_, out, _ = call("list", path)
	assert.Contains(t, out, "extents of 2097152 bytes")
	assert.NotContains(t, out, `"log"`)

	dir := t.TempDir()
	foreign := filepath.Join(dir, "foreign")
	require.NoError(t, os.WriteFile(foreign, append(bytes.Repeat([]byte("text"), 10), make([]byte, 64<<20)...), 0o600))
	status, _, errs = call("format", foreign)
	assert.Equal(t, exitError, status)
	assert.Contains(t, errs, "something else")
	for _, size := range []string{"8K", "nonsense", "", "99999999999T", "-1"} {
		status, _, _ = call("format", filepath.Join(dir, "new"), size)
		assert.NotZero(t, status, size)
		assert.NoFileExists(t, filepath.Join(dir, "new"), size)
	}
}

// A sparse file of 100 GiB is formatted, written to and read.
func TestLargeDrive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "drive")
	status, _, errs := call("format", path, "100G")
	if strings.Contains(errs, "io_uring") || strings.Contains(errs, "file too large") {
		t.Skip(errs)
	}
	require.Zero(t, status, errs)
	write(t, path, "log", []byte("on a large drive"))
	status, out, errs := call("check", path)
	assert.Zero(t, status, errs)
	assert.Contains(t, out, "1 logs, 16 bytes")
	var st unix.Stat_t
	require.NoError(t, unix.Stat(path, &st))
	assert.Less(t, st.Blocks*512, int64(64<<20), "it stays sparse")
}

func TestDamage(t *testing.T) {
	path := drive(t)
	content := bytes.Repeat([]byte("needle in a haystack "), 200_000)
	write(t, path, "log", content)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)

	_, err = f.WriteAt(make([]byte, 512), 0) // a copy of the superblock
	require.NoError(t, err)
	status, out, _ := call("check", path)
	assert.Equal(t, exitError, status)
	assert.Contains(t, out, "--repair")
	status, out, _ = call("check", path, "--repair")
	assert.Zero(t, status)
	assert.Contains(t, out, "written anew")
	status, _, _ = call("check", path)
	assert.Zero(t, status)

	at := bytes.Index(raw, []byte("haystack"))
	_, err = f.WriteAt([]byte("H"), int64(at))
	require.NoError(t, err)
	status, out, errs := call("check", path)
	assert.Equal(t, exitError, status)
	assert.Contains(t, out, `"log"`)
	assert.Contains(t, errs, "damaged")

	_, err = f.WriteAt(make([]byte, 4096), 0)
	require.NoError(t, err)
	_, err = f.WriteAt(make([]byte, 4096), int64(len(raw)-4096))
	require.NoError(t, err)
	status, _, errs = call("list", path)
	assert.Equal(t, exitError, status)
	assert.Contains(t, errs, "no store")
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"format"}, {"list", "a", "b"}, {"nonsense", "a"}, {"list", "--nonsense", "a"}, {"dump", "a"}} {
		status, _, errs := call(args...)
		assert.Equal(t, exitUsage, status, args)
		assert.Contains(t, errs, "Usage", args)
	}
	status, _, errs := call("--help")
	assert.Zero(t, status)
	assert.Contains(t, errs, "progress")
	status, _, errs = call("list", "/nowhere")
	assert.Equal(t, exitError, status)
	assert.Contains(t, errs, "/nowhere")
	status, _, _ = call("list", "--transport", "TCP", "/nowhere")
	assert.Equal(t, exitError, status)
}

func TestSizes(t *testing.T) {
	for s, want := range map[string]uint64{"0": 0, "4096": 4096, "3K": 3072, "2M": 2 << 20, "1G": 1 << 30, "5T": 5 << 40} {
		got, err := parseSize(s)
		assert.NoError(t, err)
		assert.Equal(t, want, got, s)
	}
}
