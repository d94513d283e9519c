package ip

import "github.com/libdmtr/libdmtr/libos/internal/inet/wire"

// loopSlots is how many packets to own addresses can be under way.
const loopSlots = 256

// loopback is the queue of packets to own addresses: a ring of frames, made when it is first used.
type loopback struct {
	host       *Host
	frames     [][]byte
	sizes      [loopSlots]uint16
	head, tail uint32
}

func (l *loopback) init(h *Host) { l.host = h }

// buffer is the next frame to be filled, or nil.
func (l *loopback) buffer() []byte {
	if l.tail-l.head == loopSlots {
		return nil
	}
	if i := int(l.tail % loopSlots); i < len(l.frames) {
		return l.frames[i]
	}
	if l.frames == nil {
		l.frames = make([][]byte, 0, loopSlots)
	}
	b := make([]byte, l.host.mtu+wire.EthernetLen)
	l.frames = append(l.frames, b)
	return b
}

// add queues that frame, with an IPv4 packet of n bytes.
func (l *loopback) add(n int) {
	l.sizes[l.tail%loopSlots] = uint16(n)
	l.tail++
}

// deliver hands over what is in the queue now, and tells whether more has come meanwhile.
func (l *loopback) deliver() bool {
	for n := l.tail - l.head; n > 0; n-- {
		i := l.head % loopSlots
		l.host.input(l.frames[i][wire.EthernetLen:wire.EthernetLen+int(l.sizes[i])], true, false, true)
		l.head++
	}
	return l.head != l.tail
}
