package verbs

/*
#include <stdlib.h>

#include "shim/shim.h"

typedef const struct dmtr_rdma shim_t;
typedef struct dmtr_rdma_device device_t;
typedef struct dmtr_rdma_id id_t_;
typedef const struct sockaddr_in addr_t;
typedef struct dmtr_rdma_qp_params params_t;

static int dmtr_rdma_open(shim_t *s, const char *name, uint32_t address, device_t **d, char *error, size_t size) { return s->open(name, address, d, error, size); }
static void dmtr_rdma_close(shim_t *s, device_t *d) { s->close(d); }
static void dmtr_rdma_burst(shim_t *s, device_t *d) { s->burst(d); }
static void dmtr_rdma_get_events(shim_t *s, device_t *d) { s->get_events(d); }
static void dmtr_rdma_arm(shim_t *s, device_t *d) { s->arm(d); }
static int dmtr_rdma_register(shim_t *s, device_t *d, uintptr_t p, uint64_t n, uint32_t peers, struct dmtr_rdma_mr *mr) { return s->register_memory(d, (void *)p, n, peers, mr); }
static void dmtr_rdma_deregister(shim_t *s, void *mr) { s->deregister(mr); }
static int dmtr_rdma_new_ah(shim_t *s, id_t_ *from, addr_t *addr, void **ah) { return s->new_ah(from, addr, ah); }
static void dmtr_rdma_free_ah(shim_t *s, void *ah) { s->free_ah(ah); }
static int dmtr_rdma_listen(shim_t *s, device_t *d, addr_t *addr, int backlog, id_t_ **id) { return s->listen(d, addr, backlog, id); }
static int dmtr_rdma_dial(shim_t *s, device_t *d, addr_t *addr, addr_t *local, id_t_ *from, id_t_ **id) { return s->dial(d, addr, local, from, id); }
static int dmtr_rdma_datagram(shim_t *s, device_t *d, addr_t *local, params_t *p, id_t_ **id) { return s->datagram(d, local, p, id); }
static int dmtr_rdma_create_qp(shim_t *s, id_t_ *id, params_t *p) { return s->create_qp(id, p); }
static int dmtr_rdma_connect(shim_t *s, id_t_ *id, const void *data, uint32_t n) { return s->connect(id, data, n); }
static int dmtr_rdma_accept(shim_t *s, id_t_ *id, const void *data, uint32_t n) { return s->accept(id, data, n); }
static int dmtr_rdma_reject(shim_t *s, id_t_ *id, const void *data, uint32_t n) { return s->reject(id, data, n); }
static int dmtr_rdma_disconnect(shim_t *s, id_t_ *id) { return s->disconnect(id); }
static void dmtr_rdma_destroy(shim_t *s, id_t_ *id) { s->destroy(id); }
static void dmtr_rdma_address(shim_t *s, id_t_ *id, struct sockaddr_in *local, struct sockaddr_in *peer) { s->address(id, local, peer); }
static uint32_t dmtr_rdma_qpn(shim_t *s, id_t_ *id) { return s->qpn(id); }
*/
import "C"

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/shim/loader"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

const errorSize = 512

// shimPath, if set, is where the tests have the shim.
var shimPath string

// The types that Go and the shim share.
type (
	cDevice     = C.struct_dmtr_rdma_device
	cID         = C.struct_dmtr_rdma_id
	cSend       = C.struct_dmtr_rdma_send
	cCompletion = C.struct_dmtr_rdma_completion
	cEvent      = C.struct_dmtr_rdma_event
	cParams     = C.struct_dmtr_rdma_qp_params
)

type shim struct {
	c     *C.struct_dmtr_rdma
	burst uintptr // its function
}

// Error is why a device could not be opened, in one line.
type Error struct {
	Errno abi.Errno
	Text  string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Text, e.Errno) }

func load() (shim, error) {
	const need = "libdmtr-rdma.so is needed (install libibverbs and librdmacm, in Debian libibverbs-dev and librdmacm-dev, and run make install): "
	address, why := loader.Symbol(shimPath, "libdmtr-rdma.so", "dmtr_rdma")
	if address == nil {
		return shim{}, &Error{unix.ENODEV, need + why}
	}
	c := (*C.struct_dmtr_rdma)(address)
	if c.version != C.DMTR_RDMA_VERSION || c.device_size != C.sizeof_struct_dmtr_rdma_device {
		return shim{}, &Error{unix.ENODEV, need + "libdmtr-rdma.so is of another version"}
	}
	return shim{c, uintptr(unsafe.Pointer(c.burst))}, nil
}

func (s shim) open(cfg *Config) (*cDevice, error) {
	text := (*C.char)(C.calloc(1, errorSize))
	defer C.free(unsafe.Pointer(text))
	var name *C.char
	if cfg.Device != "" {
		name = C.CString(cfg.Device)
		defer C.free(unsafe.Pointer(name))
	}
	var d *cDevice
	if errno := C.dmtr_rdma_open(s.c, name, C.uint32_t(binary.NativeEndian.Uint32(cfg.Address[:])), &d, text, errorSize); errno != 0 {
		return nil, &Error{abi.Errno(errno), "RDMA: " + C.GoString(text)}
	}
	return d, nil
}

func (s shim) close(d *cDevice)     { C.dmtr_rdma_close(s.c, d) }
func (s shim) longBurst(d *cDevice) { C.dmtr_rdma_burst(s.c, d) }
func (s shim) getEvents(d *cDevice) { C.dmtr_rdma_get_events(s.c, d) }
func (s shim) arm(d *cDevice)       { C.dmtr_rdma_arm(s.c, d) }

func (s shim) register(d *cDevice, p unsafe.Pointer, n uint64, peers Access) (C.struct_dmtr_rdma_mr, abi.Errno) {
	var mr C.struct_dmtr_rdma_mr
	errno := C.dmtr_rdma_register(s.c, d, C.uintptr_t(uintptr(p)), C.uint64_t(n), C.uint32_t(peers), &mr)
	return mr, abi.Errno(errno)
}

func (s shim) deregister(mr unsafe.Pointer) { C.dmtr_rdma_deregister(s.c, mr) }

func (s shim) newAH(from *cID, addr *abi.SockaddrIn) (unsafe.Pointer, abi.Errno) {
	var ah unsafe.Pointer
	errno := C.dmtr_rdma_new_ah(s.c, from, sockaddr(addr), &ah)
	return ah, abi.Errno(errno)
}

func (s shim) freeAH(ah unsafe.Pointer) { C.dmtr_rdma_free_ah(s.c, ah) }

// sockaddr is the address as C has it.
func sockaddr(a *abi.SockaddrIn) *C.struct_sockaddr_in {
	return (*C.struct_sockaddr_in)(unsafe.Pointer(a))
}

func (s shim) listen(d *cDevice, addr *abi.SockaddrIn, backlog int) (*cID, abi.Errno) {
	var id *cID
	errno := C.dmtr_rdma_listen(s.c, d, sockaddr(addr), C.int(backlog), &id)
	return id, abi.Errno(errno)
}

func (s shim) dial(d *cDevice, addr, local *abi.SockaddrIn, from *cID) (*cID, abi.Errno) {
	var id *cID
	errno := C.dmtr_rdma_dial(s.c, d, sockaddr(addr), sockaddr(local), from, &id)
	return id, abi.Errno(errno)
}

func (s shim) datagram(d *cDevice, local *abi.SockaddrIn, p *cParams) (*cID, abi.Errno) {
	var id *cID
	errno := C.dmtr_rdma_datagram(s.c, d, sockaddr(local), p, &id)
	return id, abi.Errno(errno)
}

func (s shim) createQP(id *cID, p *cParams) abi.Errno {
	return abi.Errno(C.dmtr_rdma_create_qp(s.c, id, p))
}

func (s shim) connect(id *cID, data []byte) abi.Errno {
	return abi.Errno(C.dmtr_rdma_connect(s.c, id, unsafe.Pointer(unsafe.SliceData(data)), C.uint32_t(len(data))))
}

func (s shim) accept(id *cID, data []byte) abi.Errno {
	return abi.Errno(C.dmtr_rdma_accept(s.c, id, unsafe.Pointer(unsafe.SliceData(data)), C.uint32_t(len(data))))
}

func (s shim) reject(id *cID, data []byte) abi.Errno {
	return abi.Errno(C.dmtr_rdma_reject(s.c, id, unsafe.Pointer(unsafe.SliceData(data)), C.uint32_t(len(data))))
}

func (s shim) disconnect(id *cID) abi.Errno { return abi.Errno(C.dmtr_rdma_disconnect(s.c, id)) }
func (s shim) destroy(id *cID)              { C.dmtr_rdma_destroy(s.c, id) }
func (s shim) qpn(id *cID) uint32           { return uint32(C.dmtr_rdma_qpn(s.c, id)) }

// address returns the addresses of an ID, or zeros for what is not IPv4.
func (s shim) address(id *cID) (local, peer abi.SockaddrIn) {
	C.dmtr_rdma_address(s.c, id, sockaddr(&local), sockaddr(&peer))
	for _, a := range []*abi.SockaddrIn{&local, &peer} {
		if a.Family != familyIPv4 {
			*a = abi.SockaddrIn{}
		}
	}
	return local, peer
}
