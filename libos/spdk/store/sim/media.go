package sim

import (
	"slices"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
)

// durable is the durable content of a block, to read; nil: zeros.
func (m *media) durable(b uint64) []byte {
	at := b * uint64(m.cfg.BlockSize)
	piece := m.pieces[at/pieceBytes]
	if piece == nil {
		return nil
	}
	return piece[at%pieceBytes:][:m.cfg.BlockSize]
}

// store makes a block durable.
func (m *media) store(b uint64, content []byte) {
	at := b * uint64(m.cfg.BlockSize)
	if m.pieces[at/pieceBytes] == nil {
		m.pieces[at/pieceBytes] = make([]byte, pieceBytes)
	}
	copy(m.durable(b), content)
	if len(m.cached) > 0 {
		delete(m.cached, b)
	}
}

func (m *media) storeAll(b uint64, buf []byte) {
	for size := int(m.cfg.BlockSize); len(buf) > 0; b, buf = b+1, buf[size:] {
		m.store(b, buf[:size])
	}
}

func (m *media) cache(b uint64, content []byte) {
	m.cached[b] = append(m.cached[b], slices.Clone(content))
}

func (m *media) read(b uint64, buf []byte) {
	for size := int(m.cfg.BlockSize); len(buf) > 0; b, buf = b+1, buf[size:] {
		if versions := m.cached[b]; len(versions) > 0 {
			copy(buf[:size], versions[len(versions)-1])
		} else if content := m.durable(b); content != nil {
			copy(buf[:size], content)
		} else {
			clear(buf[:size])
		}
	}
}

// discard leaves the blocks as they are, or clears them, or fills them with anything.
func (m *media) discard(b, n uint64) {
	if m.cfg.MaxDelay == 0 {
		return
	}
	how := m.rnd.IntN(3)
	for ; n > 0 && how > 0; b, n = b+1, n-1 {
		if m.durable(b) == nil {
			continue
		}
		content := make([]byte, m.cfg.BlockSize)
		if how == 2 {
			for i := range content {
				content[i] = byte(m.rnd.Uint32())
			}
		}
		m.store(b, content)
	}
}

// scatter passes to keep what is stored of a write that did not end: all, none, the beginning, the end, or any of its blocks.
func (m *media) scatter(r *block.Request, keep func(b uint64, content []byte)) {
	size := int(m.cfg.BlockSize)
	n := len(r.Buf) / size
	how, cut := m.rnd.IntN(6), m.rnd.IntN(n+1)
	for _, i := range m.rnd.Perm(n) {
		content := r.Buf[i*size : (i+1)*size]
		in := how == 1 || how == 2 && i < cut || how == 3 && i >= cut || how == 4 && i != cut || how == 5 && m.rnd.IntN(2) == 0
		switch {
		case in:
			keep(r.Block+uint64(i), content)
		case m.cfg.Tears && m.rnd.IntN(4) == 0:
			keep(r.Block+uint64(i), m.torn(r.Block+uint64(i), content))
		}
	}
}

// torn is a block of which only a part was stored.
func (m *media) torn(b uint64, content []byte) []byte {
	half := make([]byte, len(content))
	m.read(b, half)
	from, to := 8*m.rnd.IntN(len(content)/8), 8*m.rnd.IntN(len(content)/8+1)
	if from < to {
		copy(half[from:to], content[from:to])
	}
	return half
}

// PowerLoss ends the Drive. Of all that is not durable, each block is lost or not, as it happens.
func (d *Drive) PowerLoss() {
	d.losePower()
	d.dead = true
	d.end()
}

func (d *Drive) losePower() {
	m := d.m
	blocks := make([]uint64, 0, len(m.cached))
	for b := range m.cached {
		blocks = append(blocks, b)
	}
	slices.Sort(blocks) // the order of a map is not that of the seed
	for _, b := range blocks {
		versions := m.cached[b]
		if i := m.rnd.IntN(len(versions) + 1); i < len(versions) {
			m.store(b, versions[i])
		}
		delete(m.cached, b)
	}
	d.scatterAll(m.store)
}

// Kill ends the Drive as when its process dies: of the requests under way each block is done or not, and what was not durable is not
// lost, but not durable either.
func (d *Drive) Kill() {
	d.scatterAll(d.m.cache)
	d.dead = true
	d.end()
}

// CrashAfter lets power be lost, or with kill the process die, in the given call of Poll from now on. All requests then end with
// ENODEV, so that who uses the drive comes back; Close, and Restart gives the next Drive.
func (d *Drive) CrashAfter(polls int, kill bool) {
	d.dieAt = d.tick + polls
	d.dieBy = d.losePower
	if kill {
		d.dieBy = func() { d.scatterAll(d.m.cache) }
	}
}

// Dead tells whether it has happened.
func (d *Drive) Dead() bool { return d.dead }

func (d *Drive) scatterAll(keep func(b uint64, content []byte)) {
	for _, i := range d.m.rnd.Perm(len(d.flying)) {
		switch r := d.flying[i].req; r.Op {
		case block.Write:
			d.m.scatter(r, keep)
		case block.Discard:
			d.m.discard(r.Block, r.Count)
		}
	}
}

// Restart is the drive after PowerLoss, Kill or Close.
func (d *Drive) Restart() *Drive {
	if !d.closed {
		panic("sim: Restart of a drive that runs")
	}
	return d.m.start()
}

// Inject adds a fault, which lasts over restarts until it has struck Times times or until ClearFaults.
func (d *Drive) Inject(f Fault) { d.m.faults = append(d.m.faults, &f) }

// ClearFaults ends all faults.
func (d *Drive) ClearFaults() { d.m.faults = nil }

func (m *media) fault(r *block.Request) *Fault {
	for i, f := range m.faults {
		if f.Op != r.Op || r.Op != block.Flush && (r.Block > f.Last || r.Block+count(r, m.cfg.BlockSize) <= f.First) {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				m.faults = slices.Delete(m.faults, i, i+1)
			}
		}
		return f
	}
	return nil
}

// Flip changes the bits of mask in one byte of the drive, whether it runs or not.
func (d *Drive) Flip(at uint64, mask byte) {
	b := at / uint64(d.m.cfg.BlockSize)
	content := make([]byte, d.m.cfg.BlockSize)
	d.m.read(b, content)
	content[at%uint64(d.m.cfg.BlockSize)] ^= mask
	d.m.store(b, content)
}

// Peek copies what is on the drive.
func (d *Drive) Peek(b uint64, buf []byte) { d.m.read(b, buf) }

// Poke stores whole blocks, durably.
func (d *Drive) Poke(b uint64, buf []byte) { d.m.storeAll(b, buf) }

// Stats counts requests.
func (d *Drive) Stats() Stats { return d.m.stats }

// Flying is how many requests are under way.
func (d *Drive) Flying() int { return len(d.flying) }
