// Package shortcall calls functions in C without telling Go's scheduler, which is most of what a call by cgo costs: a few nanoseconds
// are left of some forty.
//
// # Call order
//
// New once, then Call; Close when no more calls will come.
//
// # Threading
//
// A Caller has one stack, so that one call can be under way at a time. Until the function returns, its thread counts as running Go,
// and the garbage collector waits for it. So the function must be short, must not block, and must not call Go.
package shortcall

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/mem"
)

const (
	// stackBytes is as much as the program's signal handlers find elsewhere in the library (see capi/caller.c).
	stackBytes = 512 << 10
	guardBytes = 4096
)

// Caller has the stack on which the functions run, since those of goroutines may be too small.
type Caller struct {
	memory unsafe.Pointer
	top    uintptr
}

// New makes a Caller. The lowest page of its stack stops what overflows.
func New() (Caller, error) {
	p := mem.Map(guardBytes + stackBytes)
	if p == nil {
		return Caller{}, unix.ENOMEM
	}
	if err := unix.Mprotect(unsafe.Slice((*byte)(p), guardBytes), unix.PROT_NONE); err != nil {
		mem.Unmap(p, guardBytes+stackBytes)
		return Caller{}, err
	}
	return Caller{p, uintptr(p) + guardBytes + stackBytes}, nil
}

// Call calls fn, a function in C with one argument, whose result is not looked at.
func (c *Caller) Call(fn, arg uintptr) { call(fn, arg, c.top) }

// Close gives the stack back.
func (c *Caller) Close() {
	if c.memory != nil {
		mem.Unmap(c.memory, guardBytes+stackBytes)
		*c = Caller{}
	}
}
