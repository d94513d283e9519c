package dpdk

/*
#include <stdlib.h>

#include "shim/shim.h"

static int dmtr_dpdk_open(const struct dmtr_dpdk *shim, const struct dmtr_dpdk_config *config, struct dmtr_dpdk_port **port,
	char *error, size_t size) { return shim->open(config, port, error, size); }
static void dmtr_dpdk_count(const struct dmtr_dpdk *shim, struct dmtr_dpdk_port *port) { shim->count(port); }
static int dmtr_dpdk_held(const struct dmtr_dpdk *shim, struct dmtr_dpdk_port *port) { return shim->held(port); }
static int dmtr_dpdk_up(const struct dmtr_dpdk *shim, struct dmtr_dpdk_port *port) { return shim->up(port); }
static void dmtr_dpdk_close(const struct dmtr_dpdk *shim, struct dmtr_dpdk_port *port) { shim->close(port); }
*/
import "C"

import (
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/shim/loader"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

const errorSize = 1024

// shimPath, if set, is where the tests have the shim.
var shimPath string

type shim struct {
	c     *C.struct_dmtr_dpdk
	burst uintptr // its function
}

func load() (shim, error) {
	const need = "libdmtr-dpdk.so is needed (install DPDK, in Debian libdpdk-dev, and run make install): "
	address, why := loader.Symbol(shimPath, "libdmtr-dpdk.so", "dmtr_dpdk")
	if address == nil {
		return shim{}, &Error{unix.ENODEV, need + why}
	}
	c := (*C.struct_dmtr_dpdk)(address)
	if c.version != C.DMTR_DPDK_VERSION || c.port_size != C.sizeof_struct_dmtr_dpdk_port {
		return shim{}, &Error{unix.ENODEV, need + "libdmtr-dpdk.so is of another version"}
	}
	return shim{c, uintptr(unsafe.Pointer(c.burst))}, nil
}

// open makes the port of the configuration.
func (s shim) open(cfg *Config, args *arguments) (*C.struct_dmtr_dpdk_port, error) {
	text := (*C.char)(C.calloc(1, errorSize))
	defer C.free(unsafe.Pointer(text))
	c := (*C.struct_dmtr_dpdk_config)(C.calloc(1, C.sizeof_struct_dmtr_dpdk_config))
	defer C.free(unsafe.Pointer(c))
	c.num_args, c.args = C.int(len(args.eal)), words(args.eal)
	defer freeWords(c.args, len(args.eal))
	c.given = C.CString(strings.Join(args.given, "\n"))
	defer C.free(unsafe.Pointer(c.given))
	c.num_vdevs, c.vdevs = C.int(len(args.vdevs)), words(args.vdevs)
	defer freeWords(c.vdevs, len(args.vdevs))
	if cfg.Port != "" {
		c.port = C.CString(cfg.Port)
		defer C.free(unsafe.Pointer(c.port))
	}
	c.mtu = C.uint32_t(cfg.MTU)
	var port *C.struct_dmtr_dpdk_port
	if errno := C.dmtr_dpdk_open(s.c, c, &port, text, errorSize); errno != 0 {
		return nil, &Error{abi.Errno(errno), C.GoString(text)}
	}
	return port, nil
}

// words copies strings to an array in C.
func words(list []string) **C.char {
	array := (**C.char)(C.calloc(C.size_t(len(list)+1), C.size_t(unsafe.Sizeof(uintptr(0)))))
	to := unsafe.Slice(array, len(list))
	for i, word := range list {

		to[i] = C.CString(word)
	}
	return array
}

func freeWords(array **C.char, n int) {
	for _, word := range unsafe.Slice(array, n) {
		C.free(unsafe.Pointer(word))
	}
	C.free(unsafe.Pointer(array))
}

func (s shim) count(p *port)    { C.dmtr_dpdk_count(s.c, p) }
func (s shim) held(p *port) int { return int(C.dmtr_dpdk_held(s.c, p)) }
func (s shim) up(p *port) bool  { return C.dmtr_dpdk_up(s.c, p) != 0 }
func (s shim) close(p *port)    { C.dmtr_dpdk_close(s.c, p) }
