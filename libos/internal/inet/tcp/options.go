package tcp

import (
	"encoding/binary"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// Kinds of options.
const (
	optEnd        = 0
	optNop        = 1
	optMSS        = 2
	optScale      = 3
	optSACKOK     = 4
	optSACK       = 5
	optTimestamps = 8
)

const (
	stampLen   = 12         // of the timestamps option with two NOPs before
	stampWord  = 0x0101080a // NOP, NOP, kind, length
	sackWord   = 0x01010500 // NOP, NOP, kind; the length has to be added
	defaultMSS = 536        // of a peer that announces none (MUST-15)
	minMSS     = 64         // of a peer that announces less: tiny segments are an attack
	maxScale   = 14         // RFC 7323, section 2.3
)

// options are those of a segment that mean something here.
type options struct {
	mss      uint16 // 0: not there
	scale    uint8
	hasScale bool
	sackOK   bool
	hasStamp bool
	stamp    uint32 // TSval
	echo     uint32 // TSecr
	blocks   int
	block    [4]sackRange
}

// parse reads options. What is malformed ends it, what is unknown is skipped (MUST-6, MUST-7).
func (o *options) parse(p []byte, syn bool) {
	o.mss, o.scale, o.hasScale, o.sackOK, o.hasStamp, o.blocks = 0, 0, false, false, false, 0
	for len(p) > 0 {
		switch p[0] {
		case optEnd:
			return
		case optNop:
			p = p[1:]
			continue
		}
		if len(p) < 2 || p[1] < 2 || int(p[1]) > len(p) {
			return
		}
		o.take(p[0], p[2:p[1]], syn)
		p = p[p[1]:]
	}
}

func (o *options) take(kind uint8, v []byte, syn bool) {
	switch {
	case kind == optTimestamps && len(v) == 8:
		o.hasStamp = true
		o.stamp, o.echo = binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:])
	case kind == optSACK && len(v)%8 == 0 && len(v) <= 32:
		for o.blocks = 0; o.blocks < len(v)/8; o.blocks++ {
			b := v[8*o.blocks:]
			o.block[o.blocks] = sackRange{wire.Seq(binary.BigEndian.Uint32(b)), wire.Seq(binary.BigEndian.Uint32(b[4:]))}
		}
	case !syn: // the others are for SYNs alone
	case kind == optMSS && len(v) == 2:
		o.mss = binary.BigEndian.Uint16(v)
	case kind == optScale && len(v) == 1:
		o.hasScale, o.scale = true, min(v[0], maxScale)
	case kind == optSACKOK && len(v) == 0:
		o.sackOK = true
	}
}

// synOptions are those of a SYN of ours.
type synOptions struct {
	mss         uint16
	scale       uint8
	hasScale    bool
	sackOK      bool
	hasStamp    bool
	stamp, echo uint32
}

// put writes the options and returns their length.
func (o *synOptions) put(p []byte) int {
	p[0], p[1] = optMSS, 4 // MUST-14
	binary.BigEndian.PutUint16(p[2:], o.mss)
	n := 4
	switch {
	case o.hasStamp && o.sackOK:
		p[n], p[n+1], p[n+2], p[n+3] = optSACKOK, 2, optTimestamps, 10
		n += 4
	case o.hasStamp:
		binary.BigEndian.PutUint32(p[n:], stampWord)
		n += 4
	case o.sackOK:
		p[n], p[n+1], p[n+2], p[n+3] = optNop, optNop, optSACKOK, 2
		n += 4
	}
	if o.hasStamp {
		binary.BigEndian.PutUint32(p[n:], o.stamp)
		binary.BigEndian.PutUint32(p[n+4:], o.echo)
		n += 8
	}
	if o.hasScale {
		p[n], p[n+1], p[n+2], p[n+3] = optNop, optScale, 3, o.scale
		n += 4
	}
	return n
}

// putStamp writes the timestamps option.
func putStamp(p []byte, stamp, echo uint32) {
	binary.BigEndian.PutUint32(p, stampWord)
	binary.BigEndian.PutUint32(p[4:], stamp)
	binary.BigEndian.PutUint32(p[8:], echo)
}

// putSACK writes the SACK option and returns its length.
func putSACK(p []byte, blocks []sackRange) int {
	binary.BigEndian.PutUint32(p, sackWord+uint32(2+8*len(blocks)))
	for i, b := range blocks {
		binary.BigEndian.PutUint32(p[4+8*i:], uint32(b.Start))
		binary.BigEndian.PutUint32(p[8+8*i:], uint32(b.End))
	}
	return 4 + 8*len(blocks)
}
