// Command impair joins two network namespaces by a link that loses and delays frames, until it gets a signal: for
// measurements, since many kernels have no netem.
//
//	impair -a /proc/PID/ns/net -b /proc/PID/ns/net -loss 0.01 -delay 2ms
//
// Each namespace gets a tap named "link", which is up and has no address. Loss and delay are those of one direction,
// and the same for both. The last line on stderr tells, in JSON, what was lost.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
)

const underWay = 8192 // frames at most, each way

// open makes the tap of a namespace, which the thread enters.
func open(path string) (*link.Tap, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err = unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	tap, err := link.OpenTap(link.TapConfig{Name: "link"})
	if err != nil {
		return nil, err
	}
	if errno := tap.Interface().SetUp(); errno != 0 {
		return nil, fmt.Errorf("%s: cannot be switched on: %w", tap.Interface(), errno)
	}
	return tap, nil
}

// count is a direction's counters in JSON.
func count(f *link.Faults) string {
	return fmt.Sprintf(`{"frames": %d, "lost": %d, "overflowed": %d}`, f.Frames, f.Lost, f.Overflowed)
}

func main() {
	log.SetFlags(0)
	a := flag.String("a", "", "network namespace of one end")
	b := flag.String("b", "", "network namespace of the other end")
	loss := flag.Float64("loss", 0, "probability that a frame is lost")
	delay := flag.Duration("delay", 0, "by which each frame comes later")
	seed := flag.Uint64("seed", 1, "of what is lost")
	flag.Parse()
	runtime.LockOSThread()
	x, err := open(*a)
	if err != nil {
		log.Fatal(err)
	}
	y, err := open(*b)
	if err != nil {
		log.Fatal(err)
	}
	way := link.Impairment{Loss: *loss, Delay: int64(*delay)}
	fault := link.NewFault(x, link.FaultConfig{Seed: *seed, Receive: way, Send: way, Frames: underWay})
	bridge := link.NewBridge(fault, y)
	var over atomic.Bool
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		over.Store(true)
	}()
	log.Print("listening on link:0") // as tests/bench/procs.py waits for it
	bridge.Run(&over)
	there, back := fault.Faults()
	oversize, full := bridge.Lost()
	log.Printf(`{"there": %s, "back": %s, "refused": %d}`, count(there), count(back), oversize+full)
}
