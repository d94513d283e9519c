package wire

import "encoding/binary"

// Kinds of TCP options.
const (
	optEnd           = 0
	optNop           = 1
	optMSS           = 2
	optScale         = 3
	optSACKPermitted = 4
	optSACK          = 5
	optTimestamps    = 8
)

// TimestampsLen is the room that PutTimestamps takes.
const TimestampsLen = 12

// timestampsLead is what the timestamps option begins with in the usual layout: two NOPs, kind, length.
const timestampsLead uint32 = optNop<<24 | optNop<<16 | optTimestamps<<8 | 10

const (
	maxScale      = 14 // RFC 7323, 2.3
	maxSACKBlocks = 4
)

// OptionSet tells which options there are.
type OptionSet uint8

// Options.
const (
	HasMSS OptionSet = 1 << iota
	HasScale
	HasSACKPermitted
	HasSACK
	HasTimestamps
	BadOptions // of an illegal length; they and what follows were not read
)

// SACKBlock is a range of bytes that arrived: [Start, End) (RFC 2018). It is as the peer wrote it.
type SACKBlock struct{ Start, End Seq }

// Options of a TCP segment. The fields are of use if Has tells so.
type Options struct {
	Has          OptionSet
	Scale        uint8 // of the window, at most 14
	sacks        uint8
	MSS          uint16
	TSVal, TSEcr uint32
	blocks       [maxSACKBlocks]SACKBlock
}

// SACK are the blocks of the SACK option.
func (o *Options) SACK() []SACKBlock { return o.blocks[:o.sacks] }

// Timestamps reads the timestamps option if it is the only one, in the layout that nearly every segment has.
func (t TCP) Timestamps() (val, ecr uint32, ok bool) {
	if len(t) < TCPLen+TimestampsLen || t[12]>>4 != (TCPLen+TimestampsLen)/4 ||
		binary.BigEndian.Uint32(t[TCPLen:]) != timestampsLead {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(t[TCPLen+4:]), binary.BigEndian.Uint32(t[TCPLen+8:]), true
}

// Parse reads the options of a segment, which may be in any order and at any offset (RFC 9293, MUST-64). Options that
// are not known are skipped (MUST-6). One that is longer than what is left, or has no room for its own length, ends
// the list (MUST-7); one whose length is not the one of its kind is skipped.
func (o *Options) Parse(p []byte) {
	o.Has, o.sacks = 0, 0
	for len(p) > 0 {
		if p[0] == optEnd {
			return
		}
		if p[0] == optNop {
			p = p[1:]
			continue
		}
		if len(p) < 2 || p[1] < 2 || int(p[1]) > len(p) {
			o.Has |= BadOptions
			return
		}
		o.parseOne(p[0], p[2:p[1]])
		p = p[p[1]:]
	}
}

// parseOne reads one option without its kind and length. If one is there twice, the last counts.
func (o *Options) parseOne(kind uint8, p []byte) {
	switch {
	case kind == optTimestamps && len(p) == 8:
		o.Has |= HasTimestamps
		o.TSVal, o.TSEcr = binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:])
	case kind == optSACK && len(p)%8 == 0 && len(p) > 0 && len(p) <= 8*maxSACKBlocks:
		o.Has |= HasSACK
		o.sacks = uint8(len(p) / 8)
		for i := range o.SACK() {
			b := p[8*i:]
			o.blocks[i] = SACKBlock{Seq(binary.BigEndian.Uint32(b)), Seq(binary.BigEndian.Uint32(b[4:]))}
		}
	case kind == optMSS && len(p) == 2:
		o.Has |= HasMSS
		o.MSS = binary.BigEndian.Uint16(p)
	case kind == optScale && len(p) == 1:
		o.Has |= HasScale
		o.Scale = min(p[0], maxScale)
	case kind == optSACKPermitted && len(p) == 0:
		o.Has |= HasSACKPermitted
	}
}

// PutTimestamps writes the timestamps option in TimestampsLen bytes.
func PutTimestamps(b []byte, val, ecr uint32) {
	_ = b[TimestampsLen-1]
	binary.BigEndian.PutUint32(b, timestampsLead)
	binary.BigEndian.PutUint32(b[4:], val)
	binary.BigEndian.PutUint32(b[8:], ecr)
}

// SACKLen is the room that PutSACK takes for n blocks.
func SACKLen(n int) int { return 4 + 8*n }

// PutSACK writes the SACK option: at most 4 blocks, or 3 beside timestamps.
func PutSACK(b []byte, blocks []SACKBlock) {
	binary.BigEndian.PutUint32(b, optNop<<24|optNop<<16|optSACK<<8|uint32(2+8*len(blocks)))
	for i, s := range blocks {
		binary.BigEndian.PutUint32(b[4+8*i:], uint32(s.Start))
		binary.BigEndian.PutUint32(b[8+8*i:], uint32(s.End))
	}
}

// PutSYN writes the options of a SYN that Has names: MSS, SACK permitted, timestamps, window scale. It returns their
// length, a multiple of 4 and at most 20.
func (o *Options) PutSYN(b []byte) int {
	n := 0
	word := func(v uint32) {
		binary.BigEndian.PutUint32(b[n:], v)
		n += 4
	}
	if o.Has&HasMSS != 0 {
		word(optMSS<<24 | 4<<16 | uint32(o.MSS))
	}
	sackPermitted := uint32(optNop<<24 | optNop<<16)
	if o.Has&HasSACKPermitted != 0 {
		sackPermitted = optSACKPermitted<<24 | 2<<16
	}
	switch {
	case o.Has&HasTimestamps != 0:
		word(sackPermitted | optTimestamps<<8 | 10)
		word(o.TSVal)
		word(o.TSEcr)
	case o.Has&HasSACKPermitted != 0:
		word(sackPermitted | optNop<<8 | optNop)
	}
	if o.Has&HasScale != 0 {
		word(optNop<<24 | optScale<<16 | 3<<8 | uint32(o.Scale))
	}
	return n
}
