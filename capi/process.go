package main

// int dmtr_restore_file_limit(void);
import "C"

import (
	"runtime"
	"runtime/debug"
)

// A thread of the program keeps the processor that it had in its last call until the runtime's monitor takes it away, for which others
// should not have to wait; in a child process there is no monitor. Processors take 10 KiB each, so they are few as long as one thread calls.
const fewProcessors, manyProcessors = 4, 64

// settled is set once the number of processors must not change any more.
var settled bool

func init() {
	C.dmtr_restore_file_limit()
	runtime.GOMAXPROCS(fewProcessors)
}

// dmtrGoManyThreads prepares for calls from more than one thread, or in a child process. The lock is held.
//
//export dmtrGoManyThreads
func dmtrGoManyThreads() {
	if !settled {
		settled = true
		runtime.GOMAXPROCS(manyProcessors)
	}
}

// dmtrGoForked runs in a child process, which has no threads to collect garbage with, nor to stop while something is changed.
// Nothing on the data path makes any garbage.
//
//export dmtrGoForked
func dmtrGoForked() {
	settled = true
	debug.SetGCPercent(-1)
}

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
