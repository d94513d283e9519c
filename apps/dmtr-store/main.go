// dmtr-store makes drives for the storage spdk of libdmtr, and looks into them. A drive is a file, a block device, or an NVMe device.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk"
	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/libos/spdk/store"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
)

// tool is one run of the program.
type tool struct {
	flags      *flag.FlagSet
	out, err   io.Writer
	drive      config.Spdk
	force      bool
	zeros      bool
	repair     bool
	extentSize string
	from       uint64
	quiet      bool
}

// command is what the first argument names.
type command struct {
	name, args, about string
	least, most       int // arguments
	run               func(t *tool, args []string) error
}

var commands = []command{
	{"format", "DRIVE [SIZE]", "makes an empty store of a drive; with a SIZE (as 10G), of a new file", 1, 2, (*tool).format},
	{"list", "DRIVE", "lists the logs", 1, 1, (*tool).list},
	{"dump", "DRIVE LOG", "writes the content of a log to stdout", 2, 2, (*tool).dump},
	{"check", "DRIVE", "reads all there is, and tells what is damaged", 1, 1, (*tool).check},
	{"delete", "DRIVE LOG", "deletes a log", 2, 2, (*tool).delete},
}

// Exit statuses.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

var errUsage = errors.New("usage")

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errs io.Writer) int {
	t := &tool{out: out, err: errs, flags: flag.NewFlagSet("dmtr-store", flag.ContinueOnError)}
	f := t.flags
	f.SetOutput(errs)
	f.Usage = t.usage
	f.StringVar(&t.drive.Transport, "transport", config.SpdkFile, "how the drive is reached, as spdk.transport: file or PCIe")
	f.IntVar(&t.drive.Namespace, "namespace", 1, "with PCIe: the namespace of the NVMe device")
	f.BoolVar(&t.force, "force", false, "format: whatever is on the drive")
	f.BoolVar(&t.zeros, "zeros", false, "format: write zeros all over first, so that a file has all its space, and later writes are faster")
	f.StringVar(&t.extentSize, "extent-size", "0", "format: what logs get space in, a power of two of at least 1M; 0: by the size of the drive")
	f.Uint64Var(&t.from, "from", 0, "dump: position to begin at")
	f.BoolVar(&t.repair, "repair", false, "check: write a damaged superblock anew, from the other copy")
	f.BoolVar(&t.quiet, "quiet", false, "show no progress")
	switch err := t.parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errUsage):
		return exitUsage
	case err != nil:
		fmt.Fprintln(errs, "dmtr-store:", err)
		return exitError
	}
	return exitOK
}

func (t *tool) usage() {
	fmt.Fprintln(t.err, "Makes and looks into drives of libdmtr's storage spdk.\n\nUsage: dmtr-store COMMAND [OPTION...] ARGUMENT...")
	for _, c := range commands {
		fmt.Fprintf(t.err, "  %-6s %-14s %s\n", c.name, c.args, c.about)
	}
	fmt.Fprintln(t.err, "\nOptions:")
	t.flags.PrintDefaults()
}

// parse finds the command, takes options before and behind arguments, and runs it.
func (t *tool) parse(args []string) error {
	var words []string
	for len(args) > 0 {
		if err := t.flags.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return err
			}
			return errUsage
		}
		if args = t.flags.Args(); len(args) > 0 {
			words, args = append(words, args[0]), args[1:]
		}
	}
	if len(words) > 0 {
		for _, c := range commands {
			if c.name == words[0] && len(words) > c.least && len(words) <= c.most+1 {
				t.drive.DevAddr = words[1]
				return c.run(t, words[1:])
			}
		}
	}
	t.usage()
	return errUsage
}

// open opens the drive; writing says that it will be changed.
func (t *tool) open(writing bool) (block.Device, error) { return spdk.OpenDrive(&t.drive, !writing) }

// mount opens the drive and the store on it.
func (t *tool) mount(writing bool) (*store.Store, error) {
	dev, err := t.open(writing)
	if err != nil {
		return nil, err
	}
	bar := t.progress("looking")
	s, errno := store.Mount(dev, store.Options{ReadOnly: !writing, Progress: bar.set})
	bar.end()
	if errno != 0 {
		dev.Close()
		return nil, t.problem(errno)
	}
	return s, nil
}

// problem is an error of the drive in words.
func (t *tool) problem(err abi.Errno) error {
	text := err.Error()
	switch err {
	case store.ErrNotFormatted:
		text = "there is no store; dmtr-store format makes one"
	case store.ErrVersion:
		text = "the store is of a version that this program does not know"
	case store.ErrStructure:
		text = "damaged: what must be there is not"
	case store.ErrData:
		text = "damaged: a record is not as it was written"
	case unix.EEXIST:
		text = "there is a store already; --force makes an empty one, and all that it has is lost"
	}
	return fmt.Errorf("%s: %s", t.drive.DevAddr, text)
}

// bar shows progress on a terminal.
type bar struct{ b *progressbar.ProgressBar }

func (t *tool) progress(what string) *bar {
	f, ok := t.err.(*os.File)
	if !ok || t.quiet {
		return &bar{}
	}
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return &bar{}
	}
	return &bar{progressbar.NewOptions64(1, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(what),
		progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100e6), progressbar.OptionFullWidth())}
}

func (b *bar) set(done, total uint64) {
	if b.b != nil && total > 0 {
		b.b.ChangeMax64(int64(total))
		_ = b.b.Set64(int64(done))
	}
}

func (b *bar) end() {
	if b.b != nil {
		_ = b.b.Finish()
	}
}

// parseSize reads a number of bytes, with K, M, G or T for powers of 1024.
func parseSize(s string) (uint64, error) {
	digits, shift := s, 0
	if i := strings.IndexByte("KMGT", lastByte(s)); i >= 0 {
		digits, shift = s[:len(s)-1], 10*(i+1)
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n > 1<<62>>shift {
		return 0, fmt.Errorf("%q is no size; one is written as 500M or 10G", s)
	}
	return n << shift, nil
}

func lastByte(s string) byte {
	if s == "" {
		return ' '
	}
	return s[len(s)-1]
}
