package verbs

/*
#include "shim/shim.h"
*/
import "C"

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
)

// events gives the events that have come.
func (d *device) events(e []Event) int {
	d.more = false
	d.pollfd.Revents = 0
	got, _, _ := unix.RawSyscall(unix.SYS_POLL, uintptr(unsafe.Pointer(&d.pollfd)), 1, 0)
	if got != 1 || len(e) == 0 {
		return 0
	}
	d.c.wanted_events = C.uint32_t(min(len(e), C.DMTR_RDMA_EVENTS))
	d.shim.getEvents(d.c)
	n := 0
	for i := range d.c.events[:min(d.c.num_events, d.c.wanted_events)] {
		if d.event(&d.c.events[i], &e[n]) {
			n++
		}
	}
	d.counters.events += uint64(n)
	d.more = d.c.num_events == d.c.wanted_events
	return n
}

// event tells what one of the shim means. False: it is not for anybody.
func (d *device) event(raw *cEvent, e *Event) bool {
	var conn *conn
	var listener ID
	if raw.listener != nil {
		var errno abi.Errno
		if conn, errno = d.own(raw.id, stateRequested); errno != 0 {
			return false
		}
		listener = ID(raw.listener.name)
	} else if conn = d.conn(ID(raw.id.name)); conn == nil {
		return false
	}
	*e = Event{
		Type: EventType(raw._type), ID: conn.id, Listener: listener, Errno: abi.Errno(raw.error), Status: int32(raw.status),
		QPN: uint32(raw.qpn), QKey: uint32(raw.qkey), PrivateLen: uint8(min(raw.private_len, 255)),
	}
	copy(e.Private[:e.PrivateLen], (*[C.DMTR_RDMA_PRIVATE]byte)(unsafe.Pointer(&raw.private_data))[:])
	if raw.ah != nil {
		var errno abi.Errno
		if e.AH, errno = d.ownAH(raw.ah); errno != 0 {
			e.Type, e.Errno = EventConnectError, errno
		}
	}
	switch e.Type {
	case EventResolved:
		if conn.state == stateDialing {
			conn.state = stateResolved
		}
	case EventEstablished:
		conn.state = stateUp
	case EventDisconnected:
		conn.state = stateOver
	}
	if e.Type == EventConnectRequest || e.Type == EventResolved || e.Type == EventEstablished {
		e.Local, e.Peer = d.shim.address(conn.c)
	}
	return true
}
