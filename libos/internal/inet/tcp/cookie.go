package tcp

import "github.com/libdmtr/libdmtr/libos/internal/inet/wire"

// A SYN cookie is an initial sequence number from which a connection can be made when it comes back, so that nothing
// has to be kept for a SYN: 29 bits of a keyed hash of the connection, the peer's ISN, the minute and the MSS; and
// 3 bits for the MSS. The other options travel in the low bits of the timestamp.

const (
	cookiePeriod = 64 * second
	cookieBits   = 5  // of a timestamp: SACK, window scale
	noScale      = 15 // in place of a scale
)

// cookieMSS are the MSS that a cookie can tell.
var cookieMSS = [8]uint16{minMSS, 536, 1024, 1220, 1360, 1440, 1460, 8960}

func (h *Host) cookie(k key, irs wire.Seq, period int64, mss int) wire.Seq {
	return wire.Seq(h.secret.hash(k.addrs, k.ports|useCookie, uint64(irs)<<32^uint64(period)<<3^uint64(mss)))<<3 | wire.Seq(mss)
}

// sendCookie answers a SYN for which there is no room.
func (h *Host) sendCookie(l *Listener, s *segment) {
	h.Counters.CookiesSent++
	now := h.ip.Now()
	l.cookieAt = now
	i := 0
	for i+1 < len(cookieMSS) && int(cookieMSS[i+1]) <= peerMSS(&s.opt) {
		i++
	}
	o := wire.Options{}
	if has := s.opt.Has & h.offered; has&wire.HasTimestamps != 0 {
		o = wire.Options{Has: has, Scale: h.scale, TSEcr: s.opt.TSVal}
		bits := uint32(noScale)
		if has&wire.HasScale != 0 {
			bits = uint32(s.opt.Scale)
		}
		if has&wire.HasSACKPermitted != 0 {
			bits |= 1 << 4
		}
		present := milliseconds(now) + h.stampOffset(s.key)
		if o.TSVal = present&^(1<<cookieBits-1) | bits; int32(present-o.TSVal) < 0 {
			o.TSVal -= 1 << cookieBits // not later than the present, or later segments would look old
		}
	}
	h.sendHandshake(s.key, l.opts.Class, h.cookie(s.key, s.seq, now/cookiePeriod, i), s.seq+1, &o)
}

// acceptCookie makes a connection of an ACK that brings back a cookie. It returns false if it is none.
func (h *Host) acceptCookie(l *Listener, s *segment) bool {
	now := h.ip.Now()
	if l.cookieAt == 0 || now-l.cookieAt > 2*cookiePeriod || s.flags&wire.SYN != 0 {
		return false
	}
	iss, irs, period := s.ack-1, s.seq-1, now/cookiePeriod
	i := int(iss & 7)
	if iss != h.cookie(s.key, irs, period, i) && iss != h.cookie(s.key, irs, period-1, i) {
		h.Counters.CookiesFailed++
		return false
	}
	h.Counters.CookiesAccepted++
	m := mini{key: s.key, listener: l, sndNxt: s.ack, rcvNxt: s.seq, mss: cookieMSS[i]}
	if s.stamped() {
		m.opt, m.tsRecent = wire.HasTimestamps, s.opt.TSVal
		bits := s.opt.TSEcr & (1<<cookieBits - 1)
		if bits>>4 != 0 {
			m.opt |= wire.HasSACKPermitted
		}
		if scale := uint8(bits & 15); scale != noScale {
			m.opt |= wire.HasScale
			m.scale = scale
		}
	}
	h.promote(&m, s)
	return true
}
