package main

// int dmtr_restore_file_limit(void);
import "C"

import "runtime/debug"

func init() { C.dmtr_restore_file_limit() }

// dmtrGoReady returns once the Go runtime has started, for which every first call into Go waits.
//
//export dmtrGoReady
func dmtrGoReady() {}

// dmtrGoForked runs in a child process, which has no threads to collect garbage with. Nothing on the data path makes any.
//
//export dmtrGoForked
func dmtrGoForked() { debug.SetGCPercent(-1) }
