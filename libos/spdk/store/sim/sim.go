// Package sim is a drive in memory for tests, with all the bad habits that block.Device allows: requests end in any order; at a loss of power
// any of the blocks that are not durable yet are lost, others not, and some are torn; and errors come when a test asks for them. All that
// happens by chance is drawn from one seed, so a seed that fails does the same again.
//
// A Drive is one time of running. PowerLoss and Kill end it, whatever is under way, and Restart gives the next one, on what is left.
package sim

import (
	"math/rand/v2"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// Config says what drive to simulate. Zero fields are chosen.
type Config struct {
	BlockSize   uint32 // 4096
	Blocks      uint64 // 16384
	MaxTransfer uint32 // 128 KiB
	Depth       int    // 32
	Seed        uint64
	// MaxDelay is how many calls of Poll a request may take; each takes a random number of them. 0: all end at the next Poll, in order.
	MaxDelay int
	// Tears lets a loss of power tear blocks, too, which is more than block.Device allows; sectors of 8 bytes stay whole.
	Tears bool
}

// Fault makes requests fail: those with the operation that touch a block from First to Last. Of a Write that fails any blocks may be stored.
type Fault struct {
	Op          block.Op
	First, Last uint64
	Err         abi.Errno // 0: the request never ends
	Times       int       // how often; 0: always
}

const pieceBytes = 64 << 10

// media is what outlives a Drive.
type media struct {
	cfg    Config
	rnd    *rand.Rand
	pieces [][]byte            // what is durable; nil: zeros
	cached map[uint64][][]byte // by block: what was written and is not durable, the last version at the end
	faults []*Fault
	stats  Stats
}

// Stats count what was asked of a drive, over all its restarts.
type Stats struct{ Reads, Writes, Flushes, Discards, BytesWritten uint64 }

// flight is a request under way.
type flight struct {
	req *block.Request
	due int // the tick
}

// Drive is a block.Device.
type Drive struct {
	m      *media
	tick   int
	flying []flight
	ending []*block.Request
	dead   bool
	dieAt  int // tick; 0: never
	dieBy  func()
	fd     int
	closed bool
	memory map[*byte]int
}

// New makes a drive full of zeros.
func New(cfg Config) *Drive {
	orElse(&cfg.BlockSize, 4096)
	orElse(&cfg.Blocks, 16384)
	orElse(&cfg.MaxTransfer, 128<<10)
	orElse(&cfg.Depth, 32)
	n := (cfg.Blocks*uint64(cfg.BlockSize) + pieceBytes - 1) / pieceBytes
	m := &media{cfg: cfg, rnd: rand.New(rand.NewPCG(cfg.Seed, 0x5eed)), pieces: make([][]byte, n), cached: map[uint64][][]byte{}}
	return m.start()
}

func orElse[T int | uint32 | uint64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

func (m *media) start() *Drive {
	return &Drive{m: m, fd: -1, memory: map[*byte]int{}, flying: make([]flight, 0, m.cfg.Depth), ending: make([]*block.Request, 0, m.cfg.Depth)}
}

// Info is that of the Config.
func (d *Drive) Info() block.Info {
	c := &d.m.cfg
	return block.Info{BlockSize: c.BlockSize, Blocks: c.Blocks, MaxTransfer: c.MaxTransfer, Depth: c.Depth}
}

// Alloc gives memory outside the Go heap.
func (d *Drive) Alloc(n int) []byte {
	p := mem.Map(uintptr(n))
	if p == nil || n%int(d.m.cfg.BlockSize) != 0 {
		return nil
	}
	buf := unsafe.Slice((*byte)(p), n)
	d.memory[&buf[0]] = n
	return buf
}

// Free gives it back.
func (d *Drive) Free(buf []byte) {
	n, ok := d.memory[&buf[0]]
	if !ok || n != len(buf) {
		panic("sim: Free of what is not from Alloc")
	}
	delete(d.memory, &buf[0])
	mem.Unmap(unsafe.Pointer(&buf[0]), uintptr(n))
}

// Allocated is how many bytes of Alloc were not given back.
func (d *Drive) Allocated() int {
	sum := 0
	for _, n := range d.memory {
		sum += n
	}
	return sum
}

// Submit is that of block.Device.
func (d *Drive) Submit(r *block.Request) abi.Errno {
	switch {
	case d.dead || d.closed:
		return unix.ENODEV
	case len(d.flying) >= d.m.cfg.Depth:
		return unix.EAGAIN
	case !d.m.valid(r):
		return unix.EINVAL
	}
	due := d.tick + 1
	if d.m.cfg.MaxDelay > 0 {
		due = d.tick + d.m.rnd.IntN(d.m.cfg.MaxDelay+1)
	}
	d.flying = append(d.flying, flight{r, due})
	return 0
}

func (m *media) valid(r *block.Request) bool {
	n := count(r, m.cfg.BlockSize)
	if r.Op == block.Flush {
		return true
	}
	if r.Op != block.Discard && (n == 0 || len(r.Buf)%int(m.cfg.BlockSize) != 0 || len(r.Buf) > int(m.cfg.MaxTransfer)) {
		return false
	}
	return r.Owner != nil && r.Block < m.cfg.Blocks && n <= m.cfg.Blocks-r.Block
}

// count is how many blocks a request is about.
func count(r *block.Request, blockSize uint32) uint64 {
	switch r.Op {
	case block.Flush:
		return 0
	case block.Discard:
		return r.Count
	}
	return uint64(len(r.Buf)) / uint64(blockSize)
}

// Poll lets one tick of time pass and ends what is due.
func (d *Drive) Poll() {
	d.tick++
	d.quiet()
	if d.dieAt > 0 && d.tick >= d.dieAt {
		d.die()
	}
	d.ending = d.ending[:0]
	left := d.flying[:0]
	for _, f := range d.flying {
		if f.due <= d.tick {
			d.ending = append(d.ending, f.req)
		} else {
			left = append(left, f)
		}
	}
	d.flying = left
	if d.m.cfg.MaxDelay > 0 {
		d.m.rnd.Shuffle(len(d.ending), func(i, j int) { d.ending[i], d.ending[j] = d.ending[j], d.ending[i] })
	}
	for _, r := range d.ending {
		if hangs := d.run(r); hangs {
			d.flying = append(d.flying, flight{r, 1 << 60})
		}
	}
}

// die ends the drive, as CrashAfter said, and all requests with ENODEV.
func (d *Drive) die() {
	d.dieAt = 0
	d.dieBy()
	d.dead = true
	d.ending = d.ending[:0]
	for _, f := range d.flying {
		d.ending = append(d.ending, f.req)
	}
	d.flying = d.flying[:0]
	for _, r := range d.ending {
		r.Err = unix.ENODEV
		r.Owner.Done(r)
	}
	d.ending = d.ending[:0]
}

// run does r and tells its owner.
func (d *Drive) run(r *block.Request) (hangs bool) {
	m := d.m
	r.Err = 0
	if f := m.fault(r); f != nil {
		if r.Op == block.Write {
			m.scatter(r, m.store)
		}
		if f.Err == 0 {
			return true
		}
		r.Err = f.Err
		r.Owner.Done(r)
		return false
	}
	size := uint64(m.cfg.BlockSize)
	switch r.Op {
	case block.Read:
		m.stats.Reads++
		m.read(r.Block, r.Buf)
	case block.Write:
		m.stats.Writes++
		m.stats.BytesWritten += uint64(len(r.Buf))
		if r.Durable {
			m.storeAll(r.Block, r.Buf)
			break
		}
		for i := uint64(0); i < uint64(len(r.Buf))/size; i++ {
			m.cache(r.Block+i, r.Buf[i*size:(i+1)*size])
		}
	case block.Flush:
		m.stats.Flushes++
		for b, versions := range m.cached {
			m.store(b, versions[len(versions)-1])
		}
	case block.Discard:
		m.stats.Discards++
		m.discard(r.Block, r.Count)
	}
	r.Owner.Done(r)
	return false
}

// Arm makes Fd readable if something is under way, whose time then passes by Poll.
func (d *Drive) Arm() {
	if len(d.flying) > 0 && d.fd >= 0 {
		_, _ = unix.Write(d.fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// quiet takes back what Arm did.
func (d *Drive) quiet() {
	if d.fd >= 0 {
		var b [8]byte
		_, _ = unix.Read(d.fd, b[:])
	}
}

// Fd is an eventfd.
func (d *Drive) Fd() int {
	if d.fd < 0 && !d.closed {
		d.fd, _ = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	}
	return d.fd
}

// Close polls until nothing is under way (what would never end is dropped), and ends the Drive. What is cached stays so.
func (d *Drive) Close() {
	for i := 0; len(d.flying) > 0 && !d.dead && i < 4*(d.m.cfg.MaxDelay+1); i++ {
		d.Poll()
	}
	d.end()
}

func (d *Drive) end() {
	if d.fd >= 0 {
		_ = unix.Close(d.fd)
	}
	for p, n := range d.memory {
		mem.Unmap(unsafe.Pointer(p), uintptr(n))
	}
	d.memory = map[*byte]int{}
	d.fd, d.closed, d.flying = -1, true, nil
}
