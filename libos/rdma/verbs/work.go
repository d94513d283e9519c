package verbs

import (
	"math/bits"

	"github.com/libdmtr/libdmtr/runtime/abi"
)

// sequence is what of a request's number goes to the device and comes back with its completion.
const (
	sequence = 1<<31 - 1
	sendFlag = 1 << 31
)

// work is what is known of the requests in a send or a receive queue: they complete in order.
type work struct {
	requests   []request // a power of two of them
	head, tail uint32    // count on: the next to be posted, and the oldest that is not over
	limit      uint32    // how many may be under way
}

type request struct {
	wrid uint64
	addr uint64 // of a receive buffer
	op   Opcode
}

func newWork(limit int) work {
	return work{requests: make([]request, 1<<bits.Len(uint(limit-1))), limit: uint32(limit)}
}

func (w *work) full() bool { return w.head-w.tail >= w.limit }

// add takes a request and returns its number.
func (w *work) add(r request) uint32 {
	n := w.head
	w.requests[n&uint32(len(w.requests)-1)] = r
	w.head++
	return n & sequence
}

// at returns the request with a number. ok is false if none under way has it.
func (w *work) at(number uint32) (r request, distance uint32, ok bool) {
	distance = (number - w.tail) & sequence
	if distance >= w.head-w.tail {
		return request{}, 0, false
	}
	return w.requests[(w.tail+distance)&uint32(len(w.requests)-1)], distance, true
}

// done ends the request with a number, and those before it.
func (w *work) done(number uint32) (request, bool) {
	r, distance, ok := w.at(number)
	if ok {
		w.tail += distance + 1
	}
	return r, ok
}

// source finds the sender's IPv4 address in what precedes a datagram: an IPv4 header in its second half, or else a GRH, whose addresses
// are IPv6 ones that may stand for IPv4. An IPv4 header that has not left the machine may have no checksum.
func source(grh *[GRHBytes]byte) (addr [4]byte, ok bool) {
	if ip := grh[20:]; ip[0] == 0x45 && ip[9] == udp && (checksum(ip) == 0xffff || ip[10]|ip[11] == 0) {
		return [4]byte(ip[12:16]), true
	}
	if grh[0]>>4 == 6 && [12]byte(grh[8:20]) == [12]byte{10: 0xff, 11: 0xff} {
		return [4]byte(grh[20:24]), true
	}
	return addr, false
}

// checksum sums up an IPv4 header; 0xffff is right.
func checksum(header []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(header); i += 2 {
		sum += uint32(header[i])<<8 | uint32(header[i+1])
	}
	sum = sum>>16 + sum&0xffff
	return uint16(sum>>16 + sum)
}

// setSource writes the sender of a datagram to its completion.
func (c *Completion) setSource(grh *[GRHBytes]byte) {
	if addr, ok := source(grh); ok {
		c.Src = abi.SockaddrIn{Family: familyIPv4, Addr: addr}
	}
}

const (
	familyIPv4 = 2
	udp        = 17
)
