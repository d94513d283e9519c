package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
)

func TestLayout(t *testing.T) { assert.True(t, checkLayout()) }

// A panic ends in EIO, and so does every call after it.
func TestGuard(t *testing.T) {
	t.Setenv("DMTR_LIBOS", "posix")
	e, err := start(nil, "")
	require.NoError(t, err)
	eng = e
	ctl := e.Control()
	assert.EqualValues(t, unix.ENOENT, dmtrGoClose(abi.QDBase+1))
	fail := func() (rc _Ctype_int) {
		defer guard(&rc)
		var none []int
		return _Ctype_int(none[len(none)])
	}
	assert.EqualValues(t, unix.EIO, fail())
	assert.EqualValues(t, 1, ctl.Broken)
	assert.EqualValues(t, unix.EIO, dmtrGoClose(abi.QDBase+1))
	assert.EqualValues(t, unix.EIO, dmtrGoDrive(1))
	broken = false
	e.Close()
}
