package udp

import "github.com/libdmtr/libdmtr/libos/internal/inet/wire"

// datagram is one that waits in a socket.
type datagram struct {
	next *datagram
	src  wire.Addr
	port uint16
	size uint8 // index into sizes
	n    int
	data []byte
}

// sizes are those of the memory of datagrams.
var sizes = [...]int{256, 2048, 16384, 65536}

// mostIdle is how much memory is kept for later datagrams.
const mostIdle = 4 << 20

// store has the memory of all queues.
type store struct {
	limit  int
	used   int // bytes
	unused int // bytes in idle
	idle   [len(sizes)]*datagram
}

// get gives room for n bytes, or nil.
func (m *store) get(n int) *datagram {
	i := 0
	for sizes[i] < n {
		i++
	}
	if m.used+sizes[i] > m.limit {
		return nil
	}
	m.used += sizes[i]
	d := m.idle[i]
	if d == nil {
		return &datagram{size: uint8(i), data: make([]byte, sizes[i])}
	}
	m.unused -= sizes[i]
	m.idle[i], d.next = d.next, nil
	return d
}

func (m *store) put(d *datagram) {
	m.used -= sizes[d.size]
	if m.unused+sizes[d.size] <= mostIdle {
		m.unused += sizes[d.size]
		d.next, m.idle[d.size] = m.idle[d.size], d
	}
}

// keep queues a copy of a datagram, if the limits permit.
func (s *Socket) keep(p []byte, src wire.Addr, port uint16) {
	t := s.table
	if s.count < t.cfg.QueueDatagrams && s.bytes < t.cfg.QueueBytes {
		if d := t.store.get(len(p)); d != nil {
			d.n, d.src, d.port = copy(d.data, p), src, port
			if s.last == nil {
				s.first = d
			} else {
				s.last.next = d
			}
			s.last = d
			s.count++
			s.bytes += len(d.data)
			t.counters.Queued++
			return
		}
	}
	t.counters.QueueFull++
}

// Next takes the oldest queued datagram. Its bytes are valid until the next call of Next or Close.
func (s *Socket) Next() (p []byte, src wire.Addr, port uint16, ok bool) {
	if s.out != nil {
		s.table.store.put(s.out)
		s.out = nil
	}
	d := s.first
	if d == nil {
		return nil, 0, 0, false
	}
	if s.first = d.next; s.first == nil {
		s.last = nil
	}
	d.next = nil
	s.count--
	s.bytes -= len(d.data)
	s.out = d
	return d.data[:d.n], d.src, d.port, true
}
