package tcp

// ring is a queue of bytes whose memory comes and goes: none while it is empty, otherwise a block that doubles with
// need. It serves the sending side (write, peek at any offset, discard what is acknowledged) and the receiving side
// (writeAt beyond the end for what is out of order, commit when the gap is closed).
//
// The zero value is empty and usable; the Host's blocks and the limit are given to each call that may grow or free.
type ring struct {
	buf  []byte // len is a power of two
	head uint32 // index of the first byte
	n    uint32 // bytes in the queue
}

// len tells how many bytes are in the queue, not counting those out of order.
func (r *ring) len() int { return int(r.n) }

// write appends as much of p as fits, the queue holding at most limit bytes, and returns how much that was.
func (r *ring) write(b *blocks, p []byte, limit int) int {
	n := min(len(p), limit-int(r.n))
	if n <= 0 {
		return 0
	}
	if int(r.n)+n > len(r.buf) && !r.grow(b, int(r.n)+n, int(r.n)) {
		// Memory is short; the next larger block may still be there.
		if len(r.buf) == int(r.n) && !r.grow(b, int(r.n)+1, int(r.n)) {
			return 0
		}
		n = min(n, len(r.buf)-int(r.n))
	}
	r.put(int(r.n), p[:n])
	r.n += uint32(n)
	return n
}

// writeAt stores p at off bytes from the front, at or beyond the end; reach is how far from the front bytes may have
// been stored so far. It returns false if there is no memory. The queue does not become longer by it.
func (r *ring) writeAt(b *blocks, off int, p []byte, reach int) bool {
	if off+len(p) > len(r.buf) && !r.grow(b, off+len(p), reach) {
		return false
	}
	r.put(off, p)
	return true
}

// commit makes n bytes behind the end part of the queue, which writeAt has stored.
func (r *ring) commit(n int) { r.n += uint32(n) }

// peek returns n bytes from off on, in two pieces where the ring wraps. They are valid until the next call that
// writes, or discards them.
func (r *ring) peek(off, n int) (a, b []byte) {
	if n == 0 {
		return nil, nil
	}
	i := (int(r.head) + off) & (len(r.buf) - 1)
	if i+n <= len(r.buf) {
		return r.buf[i : i+n], nil
	}
	a = r.buf[i:]
	return a, r.buf[:n-len(a)]
}

// discard removes n bytes from the front. keep says that bytes out of order are stored beyond the end: without them
// an empty ring gives its block back.
func (r *ring) discard(b *blocks, n int, keep bool) {
	r.n -= uint32(n)
	if r.n == 0 && !keep {
		r.release(b)
		return
	}
	r.head = (r.head + uint32(n)) & uint32(len(r.buf)-1)
}

// release empties the ring and gives its block back.
func (r *ring) release(b *blocks) {
	if r.buf != nil {
		b.put(r.buf)
		r.buf = nil
	}
	r.head, r.n = 0, 0
}

// put copies p to off bytes from the front, where there is room.
func (r *ring) put(off int, p []byte) {
	i := (int(r.head) + off) & (len(r.buf) - 1)
	if n := copy(r.buf[i:], p); n < len(p) {
		copy(r.buf, p[n:])
	}
}

// grow moves to a block of at least n bytes, with the first used bytes.
func (r *ring) grow(b *blocks, n, used int) bool {
	buf := b.get(n)
	if buf == nil {
		return false
	}
	if r.buf != nil {
		x, y := r.peek(0, used)
		copy(buf[copy(buf, x):], y)
		b.put(r.buf)
	}
	r.buf, r.head = buf, 0
	return true
}
