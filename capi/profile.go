//go:build profile

package main

import (
	"fmt"
	"os"
	"runtime/pprof"
	"time"
)

// For make pgo: with DMTR_PROFILE, the name of a folder, a process writes there where it spends three of its first seconds.
func init() {
	folder := getenv("DMTR_PROFILE")
	if folder == "" {
		return
	}
	go func() {
		time.Sleep(500 * time.Millisecond)
		f, err := os.Create(fmt.Sprintf("%s/%d", folder, os.Getpid()))
		if err != nil {
			return
		}
		_ = pprof.StartCPUProfile(f)
		time.Sleep(3 * time.Second)
		pprof.StopCPUProfile()
		_ = f.Close()
	}()
}
