//go:build race

package nvme

import (
	"runtime"
	"unsafe"
)

// store32 writes a register. The race detector is told that who reads it sees what was stored before.
func store32(p unsafe.Pointer, v uint32) {
	runtime.RaceReleaseMerge(p)
	store(p, v)
}

//go:norace
//go:noinline
func store(p unsafe.Pointer, v uint32) { *(*uint32)(p) = v }
