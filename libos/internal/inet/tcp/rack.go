package tcp

import "github.com/libdmtr/libdmtr/libos/internal/inet/wire"

// rack finds losses by time: what was sent earlier than something that has arrived, by more than the reordering
// window, is lost (RFC 8985, section 6). Names are those of the RFC.
type rack struct {
	xmitTS        int64 // of the segment sent last among those that have arrived; 0: none yet
	rtt           int64
	endSeq, fack  wire.Seq
	dsackRound    wire.Seq
	inDSACKRound  bool
	reorderSeen   bool
	reoWndMult    uint8
	reoWndPersist uint8
}

const (
	maxReoWndMult = 255
	// keepReoWnd is for how many recoveries without D-SACK the larger window stays (6.2, step 4).
	keepReoWnd = 16
	// dupThresh is the classic number of duplicate ACKs.
	dupThresh = 3
)

func (k *rack) init(next wire.Seq) { *k = rack{fack: next, endSeq: next, reoWndMult: 1} }

// sentAfter compares two transmissions (RACK_sent_after).
func sentAfter(t1 int64, s1 wire.Seq, t2 int64, s2 wire.Seq) bool {
	return t1 > t2 || t1 == t2 && s2.Before(s1)
}

// arrived takes note of a segment that has newly been acknowledged or SACKed (steps 1 to 3).
func (k *rack) arrived(r *record, a *arrival) {
	d := a.now - r.sentAt
	if r.flags&isResent != 0 && d < a.minRTT {
		return // it cannot be the last transmission that has arrived
	}
	k.rtt = max(d, 1)
	if sentAfter(r.sentAt, r.end, k.xmitTS, k.endSeq) {
		k.xmitTS, k.endSeq = r.sentAt, r.end
	}
	if k.fack.Before(r.end) {
		k.fack = r.end
	} else if r.end.Before(k.fack) && r.flags&isResent == 0 {
		k.reorderSeen = true
	}
}

// dsack adapts the reordering window (step 4): the duplicate says that something was sent again too early.
func (k *rack) dsack(una, nxt wire.Seq) {
	if k.inDSACKRound && !una.Before(k.dsackRound) {
		k.inDSACKRound = false
	}
	if k.inDSACKRound {
		return
	}
	k.inDSACKRound, k.dsackRound = true, nxt
	if k.reoWndMult < maxReoWndMult {
		k.reoWndMult++
	}
	k.reoWndPersist = keepReoWnd
}

// recovered is told at the end of each recovery.
func (k *rack) recovered() {
	if k.reoWndPersist > 0 {
		k.reoWndPersist--
	}
	if k.reoWndPersist == 0 {
		k.reoWndMult = 1
	}
}

// reoWnd is the reordering window.
func (k *rack) reoWnd(inRecovery bool, sackedSegs int, t *rtt) int64 {
	if !k.reorderSeen && (inRecovery || sackedSegs >= dupThresh) {
		return 0
	}
	return min(int64(k.reoWndMult)*t.minimum()/4, t.srtt)
}

// detect marks what is lost (step 5). It returns when to look again, 0 if there is no reason to.
//
// The records in flight are in the order of their times, so the first one that must wait ends the search.
func (s *scoreboard) detect(now int64, inRecovery bool, t *rtt) int64 {
	k := &s.rack
	if k.xmitTS == 0 {
		return 0
	}
	wnd := k.reoWnd(inRecovery, s.sackedSegs, t)
	id := s.oldest
	for left := s.flying; left > 0; left-- {
		r := s.at(id)
		if r.sentAt > k.xmitTS {
			break
		}
		next := r.next
		if sentAfter(k.xmitTS, k.endSeq, r.sentAt, r.end) {
			if at := r.sentAt + k.rtt + wnd; at > now {
				return at
			}
			s.lose(id, r)
		}
		id = next
	}
	return 0
}

// expire marks what is lost when the retransmission timer has expired (6.3): the first segment, and what was sent
// more than a round trip ago.
func (s *scoreboard) expire(now int64, t *rtt) {
	if s.n > 0 && s.at(s.base).flags&isSacked != 0 {
		s.renege()
	}
	if s.n == 0 {
		return
	}
	if first := s.at(s.base); first.flags&isLost == 0 {
		s.lose(s.base, first)
	}
	wnd := s.rack.reoWnd(true, s.sackedSegs, t)
	for s.flying > 0 {
		r := s.at(s.oldest)
		if r.sentAt+s.rack.rtt+wnd > now {
			return
		}
		s.lose(s.oldest, r)
	}
}
