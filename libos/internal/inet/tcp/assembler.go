package tcp

import "github.com/libdmtr/libdmtr/libos/internal/inet/wire"

// sackRange is a block of the SACK option: [Start, End).
type sackRange struct{ Start, End wire.Seq }

// maxRanges bounds what an assembler remembers.
const maxRanges = 256

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
func (a *assembler) add(start, end wire.Seq) bool { panic("todo") }

// advance is told that all before next has arrived in order. It returns how far that reaches now with what was held,
// i.e. the new RCV.NXT.
func (a *assembler) advance(next wire.Seq) wire.Seq { panic("todo") }

// reach is the end of the last range held, or next if there is none.
func (a *assembler) reach(next wire.Seq) wire.Seq { panic("todo") }

// duplicate notes a segment that had arrived before, to be reported by the next ACK (D-SACK, RFC 2883).
func (a *assembler) duplicate(start, end wire.Seq) { a.dsack = sackRange{start, end} }

// pending tells whether there is anything for the SACK option.
func (a *assembler) pending() bool { return len(a.ranges) > 0 || a.dsack.Start != a.dsack.End }

// report fills in the blocks for the SACK option of an ACK that leaves now, D-SACK first, then the ranges by when
// something was added to them, latest first. It returns their number, and forgets the D-SACK.
func (a *assembler) report(out []sackRange) int { panic("todo") }

// reset forgets everything.
func (a *assembler) reset() { a.ranges, a.dsack = nil, sackRange{} }
