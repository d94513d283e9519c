package main

// int dmtr_restore_file_limit(void);
import "C"

import (
	"runtime"
	"runtime/debug"
)

// processors is the number of Go's processors, at least. A thread of the program keeps the one it had in its last call
// until the runtime's monitor takes it away, for which others should not have to wait; in a child process there is no
// monitor.
const processors = 64

func init() {
	C.dmtr_restore_file_limit()
	runtime.GOMAXPROCS(max(processors, runtime.NumCPU()))
}

// dmtrGoForked runs in a child process, which has no threads to collect garbage with. Nothing on the data path makes any.
//
//export dmtrGoForked
func dmtrGoForked() { debug.SetGCPercent(-1) }

// dmtrGoGrow prepares the goroutine that all calls of the thread run on. Its stack becomes large enough for signal
// handlers (see caller.c), and stays so because of gcshrinkstackoff (see the Makefile). A bad pointer given by the
// program makes a panic, not an end of the process.
//
//export dmtrGoGrow
func dmtrGoGrow() {
	debug.SetPanicOnFault(true)
	needStack(false)
}

// needStack makes room for its frame of half a MiB, of which it touches nothing unless told so. No variable on a stack
// may be larger than 128 KiB.
//
//go:noinline
func needStack(touch bool) (sum byte) {
	if touch {
		var a, b, c, d [128 << 10]byte
		needBytes(a[:], b[:], c[:], d[:])
		sum = a[1] + b[1] + c[1] + d[1]
	}
	return sum
}

//go:noinline
func needBytes(parts ...[]byte) {
	for i, p := range parts {
		p[i] = byte(len(parts))
	}
}
