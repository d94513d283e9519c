package tcp

import (
	"unsafe"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/cache"
)

// ahead is for bursts of segments that belong to many connections, more than the processor's caches hold. While the first ones are
// handled, what the others need is on its way. Before a burst the network layer tells of each segment (Foresee), and then has them
// fetched one by one, ahead of those it hands over (Near). What was found here Input need not search.
type ahead struct {
	segs  [32]foreseen
	n     int
	near  int // the next of segs to be fetched
	input int // and to be handled
}

type foreseen struct {
	key  key
	home int   // in the table
	conn *Conn // that had the key when it was fetched
}

const (
	// manyConns is from how many connections on this pays.
	manyConns = 256
	// hotBytes are what every segment needs of a Conn.
	hotBytes = unsafe.Offsetof(Conn{}.recovery) + unsafe.Offsetof(recovery{}.cc) + unsafe.Offsetof(congestion{}.algorithm)
)

// Foresee implements ip.Foresight. The ports are the first four bytes of the segment.
func (h *Host) Foresee(src, dst wire.Addr, srcPort, dstPort uint16) {
	a := &h.ahead
	if a.near == a.n { // the last burst is over
		a.n, a.near, a.input = 0, 0, 0
	}
	if h.conns.n < manyConns || a.n == len(a.segs) {
		return
	}
	k := keyOf(dst, dstPort, src, srcPort)
	home := h.table.home(k)
	a.segs[a.n] = foreseen{key: k, home: home}
	a.n++
	cache.Fetch(unsafe.Pointer(&h.table.slots[home]), unsafe.Sizeof(slot{}))
}

// Near implements ip.Foresight.
func (h *Host) Near() {
	a := &h.ahead
	if a.near == a.n {
		return
	}
	f := &a.segs[a.near]
	a.near++
	if s := h.table.from(f.home, f.key); s != nil && s.conn != nil {
		f.conn = s.conn
		cache.Fetch(unsafe.Pointer(f.conn), hotBytes)
	}
}

// find returns the connection that a segment of the burst is for, or nil if it has to be searched.
func (a *ahead) find(k key) *Conn {
	for a.input < a.near {
		f := &a.segs[a.input]
		a.input++
		if f.key.is(k) {
			if f.conn == nil || f.conn.flags&listed == 0 || !f.conn.key.is(k) {
				return nil
			}
			return f.conn
		}
	}
	return nil
}
