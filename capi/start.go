package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/dpdk"
	"github.com/libdmtr/libdmtr/libos/posix"
	"github.com/libdmtr/libdmtr/libos/rdma"
	"github.com/libdmtr/libdmtr/libos/spdk"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// libOSes are those built in, by the names of configuration.
var libOSes = map[string]func(*engine.Engine, *config.Config) (engine.LibOS, error){
	"posix": posix.New,
	"dpdk":  dpdk.New,
	"raw":   dpdk.NewRaw,
	"rdma":  rdma.New,
	"spdk":  spdk.New,
}

const (
	defaultLibOS = "posix"
	storageOnly  = "spdk" // it has no sockets
)

// startError is why dmtr_init failed.
type startError struct {
	errno abi.Errno
	text  string
}

func (e *startError) Error() string { return fmt.Sprintf("%s: %v", e.text, e.errno) }

// start makes the engine as the arguments of dmtr_init, the environment and the configuration file have it.
func start(args []string, selected string) (*engine.Engine, error) {
	cfg, err := config.Load(args, getenv)
	if err != nil {
		return nil, err
	}
	from := ""
	if cfg.LibOS == "" {
		if cfg.LibOS, err = config.LibOSName(cmp.Or(selected, defaultLibOS)); err != nil {
			return nil, err
		}
		if selected != "" {
			from = ", the choice of libdmtr-libos-" + selected + ".so,"
		}
	}
	settle(cfg)
	e, errno := engine.New(cfg.Limits)
	if errno != 0 {
		return nil, &startError{errno, "cannot start"}
	}
	net, err := newLibOS(e, cfg, cfg.LibOS, from)
	if err != nil {
		e.Close()
		return nil, err
	}
	storage := net
	if cfg.Storage != cfg.LibOS {
		if storage, err = newLibOS(e, cfg, cfg.Storage, ""); err != nil {
			net.Close()
			e.Close()
			return nil, err
		}
	}
	if errno := attach(e, cfg, net, storage); errno != 0 {
		e.Close()
		return nil, &startError{errno, "too many descriptors to wait for"}
	}
	ctl := e.Control()
	ctl.WaitMode = uint32(cfg.Wait)
	ctl.SpinNs = uint32(cfg.SpinMicros) * 1000
	return e, nil
}

// settle says what files and the network go on where the settings leave it open: spdk has files only.
func settle(cfg *config.Config) {
	if cfg.LibOS == storageOnly {
		cfg.LibOS, cfg.Storage = defaultLibOS, cmp.Or(cfg.Storage, storageOnly)
	}
	cfg.Storage = cmp.Or(cfg.Storage, defaultLibOS)
}

// attach gives the engine its libOSes. What watches descriptors is posix, which is started for that if it is needed for nothing else.
func attach(e *engine.Engine, cfg *config.Config, net, storage engine.LibOS) abi.Errno {
	if err := e.Attach(net, storage); err != 0 || cfg.Storage != storageOnly {
		return err
	}
	if cfg.LibOS == defaultLibOS {
		return e.AttachWatches(net)
	}
	watches, err := newLibOS(e, cfg, defaultLibOS, "")
	if err != nil {
		return errnoOf(err)
	}
	return e.AttachWatches(watches)
}

// newLibOS starts a libOS; from is a remark on who has chosen it.
func newLibOS(e *engine.Engine, cfg *config.Config, name, from string) (engine.LibOS, error) {
	open, ok := libOSes[name]
	if !ok {
		have := strings.Join(slices.Sorted(maps.Keys(libOSes)), ", ")
		return nil, &startError{unix.ENODEV, "libOS " + name + from + " is not built into this library; DMTR_LIBOS can name one that is (" + have + ")"}
	}
	l, err := open(e, cfg)
	if err != nil {
		return nil, fmt.Errorf("libOS %s cannot start: %w", name, err)
	}
	return l, nil
}
