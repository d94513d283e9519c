package tcp

import (
	"slices"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// sackRange is a block of the SACK option: [Start, End).
type sackRange struct{ Start, End wire.Seq }

const (
	// maxRanges bounds what an assembler remembers.
	maxRanges = 256
	// keepRanges is for how many of them it keeps the memory when there are none.
	keepRanges = 32
)

// assembler knows which bytes beyond RCV.NXT have arrived, and which blocks the next ACK reports (RFC 2018, 2883).
// The zero value is empty. Data in order, with nothing out of order held, need not be shown to it.
type assembler struct {
	ranges []heldRange // ascending, disjoint, not adjacent, all beyond RCV.NXT
	stamp  uint32      // of the last add
	dsack  sackRange   // to be reported once; empty if there is none
}

// heldRange is a run of bytes that arrived; stamp is greater the later the last of them came.
type heldRange struct {
	sackRange
	stamp uint32
}

// empty tells whether nothing is held out of order.
func (a *assembler) empty() bool { return len(a.ranges) == 0 }

// add notes that [start, end) arrived, beyond RCV.NXT. It returns false if that would be one range too many: the
// caller drops the segment then. Bytes that were held already are noted as a duplicate.
func (a *assembler) add(start, end wire.Seq) bool {
	a.stamp++
	// Most segments continue the last range or begin one behind it.
	i := len(a.ranges)
	for i > 0 && start.AtMost(a.ranges[i-1].End) {
		i--
	}
	// ranges[i:j] touch the new one.
	j := i
	merged := heldRange{sackRange{start, end}, a.stamp}
	for ; j < len(a.ranges) && a.ranges[j].Start.AtMost(end); j++ {
		old := a.ranges[j].sackRange
		if a.dsack.Start == a.dsack.End {
			if from, to := later(old.Start, start), earlier(old.End, end); from.Before(to) {
				a.dsack = sackRange{from, to}
			}
		}
		merged.Start, merged.End = earlier(merged.Start, old.Start), later(merged.End, old.End)
	}
	if i == j {
		if len(a.ranges) == maxRanges {
			return false
		}
		a.ranges = slices.Insert(a.ranges, i, merged)
		return true
	}
	a.ranges[i] = merged
	a.ranges = slices.Delete(a.ranges, i+1, j)
	return true
}

// advance is told that all before next has arrived in order. It returns how far that reaches now with what was held,
// i.e. the new RCV.NXT.
func (a *assembler) advance(next wire.Seq) wire.Seq {
	i := 0
	for ; i < len(a.ranges) && a.ranges[i].Start.AtMost(next); i++ {
		next = later(next, a.ranges[i].End)
	}
	if i > 0 {
		a.ranges = slices.Delete(a.ranges, 0, i)
		if len(a.ranges) == 0 && cap(a.ranges) > keepRanges {
			a.ranges = nil
		}
	}
	return next
}

// reach is the end of the last range held, or next if there is none.
func (a *assembler) reach(next wire.Seq) wire.Seq {
	if n := len(a.ranges); n > 0 {
		return a.ranges[n-1].End
	}
	return next
}

// duplicate notes a segment that had arrived before, to be reported by the next ACK (D-SACK, RFC 2883).
func (a *assembler) duplicate(start, end wire.Seq) { a.dsack = sackRange{start, end} }

// pending tells whether there is anything for the SACK option.
func (a *assembler) pending() bool { return len(a.ranges) > 0 || a.dsack.Start != a.dsack.End }

// report fills in the blocks for the SACK option of an ACK that leaves now, D-SACK first, then the ranges by when
// something was added to them, latest first. It returns their number, and forgets the D-SACK.
func (a *assembler) report(out []sackRange) int {
	n := 0
	if a.dsack.Start != a.dsack.End && len(out) > 0 {
		out[0], n = a.dsack, 1
		a.dsack = sackRange{}
	}
	// The stamps of what out[first:n] reports, in the same order: an insertion sort of the few latest.
	var stamps [4]uint32
	first, room := n, min(len(out), n+len(stamps))
	for _, r := range a.ranges {
		k := n
		for k > first && int32(r.stamp-stamps[k-1-first]) > 0 {
			k--
		}
		if k == room {
			continue
		}
		if n < room {
			n++
		}
		copy(out[k+1:n], out[k:n-1])
		copy(stamps[k+1-first:n-first], stamps[k-first:n-1-first])
		out[k], stamps[k-first] = r.sackRange, r.stamp
	}
	return n
}

// reset forgets everything.
func (a *assembler) reset() {
	if a.dsack = (sackRange{}); cap(a.ranges) > keepRanges {
		a.ranges = nil
	}
	a.ranges = a.ranges[:0]
}

func earlier(s, t wire.Seq) wire.Seq {
	if s.Before(t) {
		return s
	}
	return t
}

func later(s, t wire.Seq) wire.Seq {
	if s.Before(t) {
		return t
	}
	return s
}
