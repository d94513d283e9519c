package main

// int dmtr_restore_file_limit(void);
import "C"

import (
	"runtime"
	"runtime/debug"
)

// processors is the number of Go's processors, at least. A thread of the program keeps the one it had in its last call
// until the runtime's monitor takes it away, for which others should not have to wait.
const processors = 16

func init() {
	C.dmtr_restore_file_limit()
	runtime.GOMAXPROCS(max(processors, runtime.NumCPU()))
}

// dmtrGoReady returns once the Go runtime has started, for which every first call into Go waits.
//
//export dmtrGoReady
func dmtrGoReady() {}

// dmtrGoForked runs in a child process, which has no threads to collect garbage with. Nothing on the data path makes any.
//
//export dmtrGoForked
func dmtrGoForked() { debug.SetGCPercent(-1) }
