package ip

import (
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

const (
	minMTU    = 68  // RFC 791
	leastPath = 552 // path MTUs below are not believed; packets may be fragmented instead
)

const (
	mtuSets = 64
	mtuWays = 4
)

// mtuCache has the destinations whose path MTU is below that of the link (RFC 1191).
type mtuCache struct {
	host  *Host
	timer timer.Timer
	sets  [mtuSets][mtuWays]pathMTU
}

type pathMTU struct {
	addr    wire.Addr // 0: none
	mtu     uint16
	whole   bool // see Path
	expires int64
}

func (c *mtuCache) init(h *Host) { c.host, c.timer.Owner = h, c }

func (c *mtuCache) set(a wire.Addr) *[mtuWays]pathMTU {
	return &c.sets[c.host.hash(uint64(a))%mtuSets]
}

func (c *mtuCache) get(a wire.Addr) (mtu uint16, whole bool) {
	for i := range c.set(a) {
		if e := &c.set(a)[i]; e.addr == a {
			return e.mtu, e.whole
		}
	}
	return uint16(c.host.mtu), true
}

// lower notes what is known about a destination.
func (c *mtuCache) lower(a wire.Addr, mtu uint16, whole bool) {
	s := c.set(a)
	e := &s[0]
	for i := range s {
		if s[i].addr == a {
			e = &s[i]
			break
		}
		if s[i].expires < e.expires {
			e = &s[i]
		}
	}
	at := c.host.now + c.host.cfg.MTUAge
	*e = pathMTU{a, mtu, whole, at}
	if !c.timer.Armed() {
		c.host.timers.Set(&c.timer, at)
	}
	c.host.epoch++
}

// Expired implements timer.Owner: what is old is forgotten, so that larger packets are tried again.
func (c *mtuCache) Expired(_ *timer.Timer, now int64) {
	next := timer.Never
	for i := range c.sets {
		for j := range c.sets[i] {
			e := &c.sets[i][j]
			switch {
			case e.addr == 0:
			case e.expires <= now:
				c.host.counters.MTUForgotten++
				c.host.epoch++
				*e = pathMTU{}
			default:
				next = min(next, e.expires)
			}
		}
	}
	if next != timer.Never {
		c.host.timers.Set(&c.timer, next)
	}
}

// TooBig accepts what a Failure says about the MTU: the protocol has checked that it is about a packet of ours.
// Path.MTU knows it from then on.
func (h *Host) TooBig(f *Failure) {
	mtu, whole := h.mtus.get(f.Remote)
	to := max(f.MTU, leastPath)
	if f.MTU <= 0 || f.MTU >= int(mtu) || (to >= int(mtu) && !whole) {
		h.counters.MTUIgnored++
		return
	}
	h.counters.MTULowered++
	h.mtus.lower(f.Remote, uint16(min(to, int(mtu))), whole && f.MTU >= leastPath)
}
