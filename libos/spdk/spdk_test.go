package spdk

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/libos/spdk/file"
	"github.com/libdmtr/libdmtr/libos/spdk/store"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// image makes a formatted file.
func image(t testing.TB, size int64) string {
	path := filepath.Join(t.TempDir(), "drive")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Truncate(path, size))
	dev, err := file.Open(path, false)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		t.Skip(err)
	}
	require.NoError(t, err)
	defer dev.Close()
	require.Zero(t, store.Format(dev, store.FormatOptions{}))
	return path
}

// on makes the options of a libOS on the image.
func on(path string) libostest.Options {
	return libostest.Options{New: func(e *engine.Engine, c *config.Config) (engine.LibOS, error) {
		c.Spdk.DevAddr = path
		return New(e, c)
	}}
}

func TestConformance(t *testing.T) {
	libostest.RunFiles(t, libostest.FileOptions{Options: on(image(t, 512<<20)), Logs: true})
}

func TestRefused(t *testing.T) {
	cfg := config.Default()
	blank := filepath.Join(t.TempDir(), "blank")
	require.NoError(t, os.WriteFile(blank, make([]byte, 16<<20), 0o600))
	for addr, want := range map[string]abi.Errno{"": unix.EINVAL, "/nowhere": unix.ENOENT, blank: unix.EMEDIUMTYPE} {
		cfg.Spdk.DevAddr = addr
		_, err := New(nil, cfg)
		if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
			t.Skip(err)
		}
		assert.ErrorIs(t, err, want, addr)
	}
	opt := on(image(t, 64<<20))
	l := libostest.Open(t, &opt, nil)
	_, err := opt.New(nil, config.Default())
	assert.ErrorIs(t, err, unix.EBUSY)
	_, errno := l.Engine.Open(&engine.Args{Kind: engine.KindStream})
	assert.Equal(t, unix.ENOTSUP, errno)
}

// A drive that is full says so, and goes on when something was trimmed or unlinked.
func TestFull(t *testing.T) {
	opt := on(image(t, 16<<20))
	l := libostest.Open(t, &opt, nil)
	log := func(name string) int32 {
		qd, err := l.TryFile(name, unix.O_RDWR|unix.O_CREAT)
		require.Zero(t, err)
		return qd
	}
	fill := func(qd int32) (n int) {
		sga := libostest.Array(t, make([]byte, 100_000))
		for ; ; n++ {
			if _, err := l.Wait(l.Token(l.Push(qd, sga))); err != 0 {
				require.Equal(t, unix.ENOSPC, err)
				return n
			}
			require.Less(t, n, 1000)
		}
	}
	a, b := log("a"), log("b")
	l.Pushed(b, libostest.Text(t, "b"))
	n := fill(a)
	require.Greater(t, n, 50)
	require.Zero(t, l.Lseek(a, 0, unix.SEEK_SET))
	assert.Len(t, l.Rest(a), n*100_000)
	require.Zero(t, l.Trim(a, int64(n*50_000)))
	more := fill(b)
	assert.Greater(t, more, 10, "what was trimmed is free")
	require.Zero(t, l.CloseQueue(a))
	require.Zero(t, l.Unlink("a"))
	assert.Greater(t, fill(b), 10, "what was unlinked is free")
}

func TestCountersDocumented(t *testing.T) {
	opt := on(image(t, 64<<20))
	l := libostest.Open(t, &opt, nil)
	var names []string
	l.Counters(func(name string, _ uint64) {
		if len(name) > 8 && name[:8] == "storage." {
			names = append(names, name)
		}
	})
	libostest.CountersDocumented(t, "../../docs/counters.md", "storage", names)
}
