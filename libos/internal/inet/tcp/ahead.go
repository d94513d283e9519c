package tcp

import (
	"unsafe"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/cache"
)

// ahead is for bursts of segments that belong to many connections, more than the processor's caches hold. While the first ones are
// handled, what the others need is on its way. Before a burst the network layer tells of each segment (Foresee), and then has them
// fetched one by one, ahead of those it hands over (Near).
type ahead struct {
	keys [32]key
	n    int
	at   int // the next of keys
}

const (
	// manyConns is from how many connections on this pays.
	manyConns = 256
	// hotBytes are what every segment needs of a Conn.
	hotBytes = unsafe.Offsetof(Conn{}.assembler)
)

// Foresee implements ip.Foresight. The ports are the first four bytes of the segment.
func (h *Host) Foresee(src, dst wire.Addr, srcPort, dstPort uint16) {
	a := &h.ahead
	if h.conns.n < manyConns || a.n == len(a.keys) {
		return
	}
	k := keyOf(dst, dstPort, src, srcPort)
	a.keys[a.n] = k
	a.n++
	cache.Fetch(unsafe.Pointer(&h.table.slots[h.table.home(k)]), unsafe.Sizeof(slot{}))
}

// Near implements ip.Foresight.
func (h *Host) Near() {
	a := &h.ahead
	if a.at == a.n {
		return
	}
	k := a.keys[a.at]
	if a.at++; a.at == a.n {
		a.at, a.n = 0, 0
	}
	if s := h.table.find(k); s != nil && s.conn != nil {
		cache.Fetch(unsafe.Pointer(s.conn), hotBytes)
	}
}
