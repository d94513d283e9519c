package dpdk

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// arguments are those of the configuration, made ready for DPDK.
type arguments struct {
	eal   []string // without --vdev
	given []string // those of them that are in the configuration
	vdevs []string // made by us, so that a second start in a process can have others
}

// prepare sorts the words of dpdk.eal_init, and adds what a library in somebody else's process needs: no thread but
// those of DPDK itself, no files, no sockets. Where it makes a difference to hardware, what is given stays.
func prepare(given []string) (*arguments, error) {
	a := &arguments{}
	for i := 0; i < len(given); i++ {
		word := given[i]
		switch {
		case word == "" || i == 0 && !strings.HasPrefix(word, "-"):
			// the name of a program, in old files
		case word == "--":
			i = len(given)
		case word == "-h" || word == "--help":
			return nil, &Error{unix.EINVAL, "dpdk.eal_init: " + word + " would end the program"}
		case word == "--vdev" && i+1 < len(given):
			i++
			a.vdevs = append(a.vdevs, given[i])
		case strings.HasPrefix(word, "--vdev="):
			a.vdevs = append(a.vdevs, strings.TrimPrefix(word, "--vdev="))
		case word == "-w" || word == "--pci-whitelist": // its name until DPDK 20.11
			a.eal = append(a.eal, "-a")
		default:
			a.eal = append(a.eal, word)
		}
	}
	a.given = slices.Clone(a.eal)
	if len(given) == 0 {
		a.eal = append(a.eal, "--no-pci")
	}
	if !a.has("--no-huge", "--huge-dir", "--legacy-mem") && !hugepages() {
		a.eal = append(a.eal, "--no-huge")
	}
	if a.has("--no-huge") && !a.has("-m") {
		a.eal = append(a.eal, "-m", "64")
	}
	switch {
	case a.has("--no-huge"): // which DPDK refuses together with --in-memory
		a.eal = slices.DeleteFunc(a.eal, func(word string) bool { return word == "--in-memory" })
		if !a.has("--no-shconf", "--proc-type", "--file-prefix") {
			a.eal = append(a.eal, "--no-shconf")
		}
	case !a.has("--in-memory", "--no-shconf", "--proc-type", "--file-prefix", "--huge-dir", "--legacy-mem"):
		a.eal = append(a.eal, "--in-memory")
	}
	if !a.has("--telemetry", "--no-telemetry") {
		a.eal = append(a.eal, "--no-telemetry")
	}
	if !a.has("-c", "-l", "--lcores") {
		cpus, err := allowed()
		if err != nil {
			return nil, err
		}
		a.eal = append(a.eal, "--lcores=0@("+cpus+")")
	}
	if !a.has("--syslog") {
		a.eal = append(a.eal, "--syslog=user") // the default of programs, which this sets for the process
	}
	return a, nil
}

// has says whether one of the options is given: as a word, with "=" and a value, or a short one with its value.
func (a *arguments) has(options ...string) bool {
	for _, word := range a.eal {
		for _, o := range options {
			short := !strings.HasPrefix(o, "--") && !strings.HasPrefix(word, "--")
			if word == o || strings.HasPrefix(word, o+"=") || short && strings.HasPrefix(word, o) {
				return true
			}
		}
	}
	return false
}

// hugepages says whether any are free.
func hugepages() bool {
	files, _ := filepath.Glob("/sys/kernel/mm/hugepages/*/free_hugepages")
	for _, f := range files {
		if n, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(n)) != "0" {
			return true
		}
	}
	return false
}

// allowed lists the CPUs this thread may run on, for --lcores: one core of DPDK's, which any of them may be.
func allowed() (string, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return "", &Error{err.(unix.Errno), "sched_getaffinity"}
	}
	var list []string
	for i, left := 0, set.Count(); left > 0; i++ {
		if set.IsSet(i) {
			list = append(list, fmt.Sprint(i))
			left--
		}
	}
	return strings.Join(list, ","), nil
}
