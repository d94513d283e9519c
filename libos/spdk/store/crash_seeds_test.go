package store

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// crashOnce runs a seed; text is empty if it went well.
func crashOnce(t *testing.T, seed int64, verbose bool) (c *crash, text string) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case crashFailure:
			text = r.text
		default:
			panic(r)
		}
	}()
	c = newCrash(t, seed)
	c.verbose = verbose
	c.run()
	return c, ""
}

func TestCrash(t *testing.T) {
	if *crashSeed >= 0 {
		if _, text := crashOnce(t, *crashSeed, true); text != "" {
			t.Fatal(text)
		}
		return
	}
	var next, crashes, records, full, errors, failures atomic.Int64
	next.Store(*crashFirst)
	seeds := *crashSeeds
	if testing.Short() || raceEnabled {
		seeds = min(seeds, 500)
	}
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := next.Add(1) - 1; seed < *crashFirst+seeds && failures.Load() < 5; seed = next.Add(1) - 1 {
				c, text := crashOnce(t, seed, false)
				if text != "" {
					failures.Add(1)
					t.Errorf("%s\n\tgo test ./libos/spdk/store -run Crash -crash.seed=%d -v", text, seed)
					continue
				}
				crashes.Add(int64(c.crashes))
				records.Add(int64(c.records))
				full.Add(int64(c.full))
				errors.Add(int64(c.failures))
			}
		})
	}
	wg.Wait()
	t.Logf("%d seeds: %d crashes, %d records, drive full %d times, %d failed writes", seeds, crashes.Load(), records.Load(), full.Load(), errors.Load())
}
