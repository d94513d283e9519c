// A shared library in Go that has nothing to do with libdmtr: it makes garbage, goroutines, timers and panics.
package main

import "C"

import (
	"runtime"
	"sync"
	"time"
)

func main() {}

// other_work makes garbage in goroutines that sleep, has it collected, and returns how many of them have ended well.
//
//export other_work
func other_work(n C.int) C.int {
	var ended sync.WaitGroup
	results := make(chan int, n)
	for i := 0; i < int(n); i++ {
		ended.Add(1)
		go func(i int) {
			defer ended.Done()
			<-time.After(time.Duration(i%3) * 100 * time.Microsecond)
			var kept [][]byte
			for j := 0; j < 50; j++ {
				kept = append(kept, make([]byte, 1+j*100))
			}
			results <- len(kept) / 50
		}(i)
	}
	ended.Wait()
	runtime.GC()
	sum := 0
	for i := 0; i < int(n); i++ {
		sum += <-results
	}
	return C.int(sum)
}

var none *int

// other_panics reads at address 0, and returns 1 if that became a panic.
//
//export other_panics
func other_panics() (rc C.int) {
	defer func() {
		if recover() != nil {
			rc = 1
		}
	}()
	return C.int(*none)
}
