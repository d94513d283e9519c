package main

/*
#include <dmtr/stats.h>
*/
import "C"

import (
	"unsafe"

	"github.com/libdmtr/libdmtr/runtime/abi"
)

//export dmtrGoCounters
func dmtrGoCounters(out *C.dmtr_counter_t, room C.int, count *C.int) (rc C.int) {
	defer guard(&rc)
	all := unsafe.Slice((*abi.Counter)(unsafe.Pointer(out)), room)
	n := 0
	eng.Counters(func(name string, value uint64) {
		if n < len(all) {
			c := abi.Counter{Value: value}
			copy(c.Name[:len(c.Name)-1], name)
			all[n] = c
		}
		n++
	})
	*count = C.int(n)
	return 0
}

//export dmtrGoTCPInfo
func dmtrGoTCPInfo(qd C.int, out *C.dmtr_tcp_info_t) (rc C.int) {
	defer guard(&rc)
	return C.int(eng.TCPInfo(int32(qd), (*abi.TCPInfo)(unsafe.Pointer(out))))
}

// statsLayout tells whether both sides agree on the structures of stats.h.
func statsLayout() bool {
	var i abi.TCPInfo
	var c C.dmtr_tcp_info_t
	return unsafe.Sizeof(abi.Counter{}) == C.sizeof_dmtr_counter_t && unsafe.Sizeof(i) == C.sizeof_dmtr_tcp_info_t &&
		unsafe.Offsetof(i.InFlight) == unsafe.Offsetof(c.in_flight) && unsafe.Offsetof(i.OutOfOrder) == unsafe.Offsetof(c.out_of_order) &&
		abi.TCPClosing == C.DMTR_TCP_CLOSING && abi.TCPRecovering == C.DMTR_TCP_RECOVERING
}
