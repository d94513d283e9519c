// Package dpdk is a link.Device on a port of DPDK: memif, net_tap, AF_PACKET or a physical NIC.
//
// The library does not depend on DPDK. Open loads libdmtr-dpdk.so, a small library in C (folder shim), which does. One
// call of its function burst sends, receives and releases what was received before; both sides see the frames in
// memory of C. Buffer and Send do not leave Go. A burst is a shortcall.
//
// # Call order
//
// Open starts DPDK at the first call. It then stays in the process; Close takes away the port only. Later calls of
// Open may name other ports by --vdev, but no other arguments of DPDK.
//
// # Threading
//
// A device belongs to one thread at a time. DPDK's own threads have all signals blocked. They bring the link of a
// memif port up, and up again when its peer was away; frames sent meanwhile are lost and counted.
//
// # Trust
//
// The peer of a memif shares memory with this process and can make it read and write amiss, as the device under a
// physical port can. It has to be trusted.
package dpdk

/*
#include "shim/shim.h"
*/
import "C"

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/shortcall"
)

// Config says which port to open.
type Config struct {
	EAL  []string // arguments of DPDK's EAL, as dpdk.eal_init has them
	Port string   // name of the port; "" for the first
	MTU  int      // 0: that of the port
}

// Error is why a port could not be opened, in one line.
type Error struct {
	Errno abi.Errno
	Text  string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Text, e.Errno) }

const txMask = C.DMTR_DPDK_TX - 1

// Device is a port of DPDK.
type Device struct {
	port   *port
	shim   shim
	caller shortcall.Caller
	info   link.Info
	closed bool
}

// port is what Go and the shim share.
type port = C.struct_dmtr_dpdk_port

// Open opens a port. The error is an *Error.
func Open(cfg *Config) (*Device, error) {
	if cfg.MTU != 0 && (cfg.MTU < 68 || cfg.MTU > 9000) {
		return nil, &Error{unix.EINVAL, fmt.Sprintf("DPDK: MTU %d is not between 68 and 9000", cfg.MTU)}
	}
	args, err := prepare(cfg.EAL)
	if err != nil {
		return nil, err
	}
	s, err := load()
	if err != nil {
		return nil, err
	}
	caller, err := shortcall.New()
	if err != nil {
		return nil, &Error{unix.ENOMEM, "DPDK: no memory for a stack"}
	}
	p, err := s.open(cfg, args)
	if err != nil {
		caller.Close()
		return nil, err
	}
	d := &Device{port: p, shim: s, caller: caller}
	d.info = link.Info{Name: C.GoString(&p.name[0]), MTU: int(p.mtu), Offloads: link.Flags(p.offloads), FD: -1}
	for i, b := range p.mac {
		d.info.MAC[i] = byte(b)
	}
	return d, nil
}

// Info describes the port.
func (d *Device) Info() link.Info { return d.info }

// Receive releases the frames of the last call, and fills in new ones.
func (d *Device) Receive(frames []link.Frame) int {
	if len(frames) == 0 || d.closed {
		return 0
	}
	p := d.port
	p.rx_max = C.uint32_t(min(len(frames), C.DMTR_DPDK_RX))
	d.burst()
	n := int(p.rx_count)
	if n > len(frames) {
		return 0 // never; for the compiler
	}
	for i := range frames[:n] {
		f := &p.rx[i&(C.DMTR_DPDK_RX-1)]
		frames[i] = link.Frame{Data: unsafe.Slice((*byte)(f.data), f.len), Flags: link.Flags(f.flags)}
	}
	return n
}

// Buffer returns the next buffer to be sent. It calls the shim only when all are queued, or memory is short.
func (d *Device) Buffer() []byte {
	if d.closed {
		return nil
	}
	p := d.port
	data := p.tx[(p.tx_first+p.tx_count)&txMask].data
	if p.tx_count > txMask || data == nil {
		d.flush()
		if data = p.tx[(p.tx_first+p.tx_count)&txMask].data; data == nil {
			return nil
		}
	}
	return unsafe.Slice((*byte)(data), d.info.MTU+wire.EthernetLen)
}

// Send queues the buffer.
func (d *Device) Send(n int, flags link.Flags) {
	if d.closed {
		return
	}
	p := d.port
	f := &p.tx[(p.tx_first+p.tx_count)&txMask]
	if uint(n-wire.EthernetLen) > uint(d.info.MTU) || p.tx_count > txMask || f.data == nil {
		p.counters.tx_dropped++
		return
	}
	f.flags = C.uint32_t(flags & d.info.Offloads)
	d.queue(n)
}

// queue passes the buffer to the next burst.
func (d *Device) queue(n int) {
	p := d.port
	p.tx[(p.tx_first+p.tx_count)&txMask].len = C.uint32_t(n)
	p.tx_count++
}

// Flush sends what is queued.
func (d *Device) Flush() {
	if !d.closed && d.port.tx_count > 0 {
		d.flush()
	}
}

func (d *Device) flush() {
	d.port.rx_max = 0
	d.burst()
}

func (d *Device) burst() { d.caller.Call(d.shim.burst, uintptr(unsafe.Pointer(d.port))) }

// Counters returns the counters, which stay up to date until the next call.
func (d *Device) Counters() *link.Counters {
	if !d.closed {
		d.shim.count(d.port)
	}
	return (*link.Counters)(unsafe.Pointer(&d.port.counters))
}

// Up says whether the port has a link. Ports without such a thing always have.
func (d *Device) Up() bool { return !d.closed && d.shim.up(d.port) }

// held counts buffers that are lost: neither received, nor waiting to be sent, nor free.
func (d *Device) held() int { return d.shim.held(d.port) }

// Close takes the port away. What is queued is lost.
func (d *Device) Close() {
	if !d.closed {
		counters := *d.Counters()
		d.closed = true
		d.shim.close(d.port)
		d.caller.Close()
		d.port = &port{}
		*(*link.Counters)(unsafe.Pointer(&d.port.counters)) = counters
	}
}
