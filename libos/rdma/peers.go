package rdma

import (
	"time"

	"github.com/libdmtr/libdmtr/libos/rdma/verbs"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

const (
	maxPeers   = 4096 // addresses remembered
	maxWaiting = 16   // datagrams that wait for one
)

// peer is what is known of an address that datagrams are sent to.
type peer struct {
	os      *LibOS
	addr    abi.SockaddrIn
	state   peerState
	asking  verbs.ID // of Resolve
	until   int64    // when it is asked for anew
	ah      uint32
	old     uint32 // the handle before, which may still be in use
	qpn     uint32
	qkey    uint32
	waiting []waiting
}

type peerState uint8

const (
	peerUnknown peerState = iota
	peerReady
)

// waiting is a datagram whose way is not known yet.
type waiting struct {
	from *datagrams
	buf  uint32
	n    int
}

// peerTable remembers peers. An address belongs to another queue pair when its program has been started anew, so it is asked for now and
// then as long as it is used.
type peerTable struct {
	os    *LibOS
	table map[abi.SockaddrIn]*peer
	last  *peer // that was found
}

func (t *peerTable) init(o *LibOS) { t.os, t.table = o, make(map[abi.SockaddrIn]*peer) }

// find looks up an address.
func (t *peerTable) find(addr *abi.SockaddrIn) *peer {
	p := t.last
	if p == nil || p.addr.Addr != addr.Addr || p.addr.Port != addr.Port {
		key := abi.SockaddrIn{Family: addr.Family, Port: addr.Port, Addr: addr.Addr}
		if p = t.table[key]; p == nil {
			p = t.add(key)
		}
		t.last = p
	}
	return p
}

func (t *peerTable) add(key abi.SockaddrIn) *peer {
	if len(t.table) >= maxPeers {
		t.evict()
	}
	p := &peer{os: t.os, addr: key}
	t.table[key] = p
	return p
}

// evict makes room: any peer that nothing waits for will do.
func (t *peerTable) evict() {
	for _, p := range t.table {
		if p.asking == 0 {
			t.remove(p)
			return
		}
	}
}

func (t *peerTable) remove(p *peer) {
	p.unask()
	p.freeHandles()
	for _, w := range p.waiting {
		t.os.dgram.put(w.buf)
		t.os.stats.DatagramsDropped++
	}
	p.waiting = nil
	delete(t.table, p.addr)
	if t.last == p {
		t.last = nil
	}
}

func (p *peer) freeHandles() {
	for _, ah := range []uint32{p.ah, p.old} {
		if ah != 0 {
			p.os.dev.FreeAH(ah)
		}
	}
	p.ah, p.old = 0, 0
}

// wait keeps a datagram until the way is known. The oldest makes room.
func (t *peerTable) wait(p *peer, from *datagrams, buf uint32, n int) {
	if len(p.waiting) == maxWaiting {
		t.os.dgram.put(p.waiting[0].buf)
		t.os.stats.DatagramsDropped++
		p.waiting = p.waiting[:copy(p.waiting, p.waiting[1:])]
	}
	p.waiting = append(p.waiting, waiting{from, buf, n})
	if p.asking == 0 {
		p.ask(from.ident)
	}
}

// refresh asks anew for an address that has been believed long enough. Until the answer comes the old one serves.
func (p *peer) refresh(from verbs.ID) {
	if p.asking == 0 && p.os.now() >= p.until {
		p.ask(from)
	}
}

// ask begins to resolve the address.
func (p *peer) ask(from verbs.ID) {
	id, err := p.os.dev.Resolve(from, &p.addr)
	if err != 0 {
		p.unreachable(err)
		return
	}
	p.os.stats.Resolves++
	p.asking = id
	p.os.byID[id] = p
}

func (p *peer) unask() {
	if p.asking != 0 {
		delete(p.os.byID, p.asking)
		p.os.dev.Destroy(p.asking)
		p.asking = 0
	}
}

// event implements happening.
func (p *peer) event(e *verbs.Event) {
	if e.ID != p.asking {
		return
	}
	if e.Type != verbs.EventResolved {
		p.unask()
		p.unreachable(e.Errno)
		return
	}
	p.unask()
	if p.old != 0 {
		p.os.dev.FreeAH(p.old)
	}
	p.old, p.ah, p.qpn, p.qkey, p.state = p.ah, e.AH, e.QPN, e.QKey, peerReady
	p.until = p.os.now() + int64(p.os.cfg.Rdma.ResolveMillis)*int64(time.Millisecond)
	for _, w := range p.waiting {
		if w.from.head-w.from.tail == uint32(len(w.from.ring)) {
			p.os.dgram.put(w.buf)
			p.os.stats.DatagramsDropped++
			continue
		}
		w.from.post(p, w.n, w.buf)
	}
	clear(p.waiting)
	p.waiting = p.waiting[:0]
}

// unreachable tells those who have sent to it.
func (p *peer) unreachable(err abi.Errno) {
	for _, w := range p.waiting {
		w.from.refused(err)
	}
	p.os.stats.Unresolved++
	p.os.peers.remove(p)
}

// forget drops what a socket has waiting here.
func (t *peerTable) forget(d *datagrams) {
	for _, p := range t.table {
		n := 0
		for _, w := range p.waiting {
			if w.from == d {
				t.os.dgram.put(w.buf)
				continue
			}
			p.waiting[n] = w
			n++
		}
		clear(p.waiting[n:])
		p.waiting = p.waiting[:n]
	}
}

func (t *peerTable) close() {
	for _, p := range t.table {
		t.remove(p)
	}
}
