package store

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/libos/spdk/store/sim"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// The crash test: a program with whims on a small simulated drive whose power is lost, or whose process dies, at any moment, several
// times per seed. After each crash all that was acknowledged must be there, in order, and nothing that was not appended. A seed does the same again:
//
//	go test ./libos/spdk/store -run Crash -crash.seed=17 -v
var (
	crashSeed  = flag.Int64("crash.seed", -1, "run this seed only, and tell what happens")
	crashSeeds = flag.Int64("crash.seeds", 10_000, "how many seeds to run")
	crashFirst = flag.Int64("crash.first", 0, "the first of them")
)

// crashLog is what a log must be like.
type crashLog struct {
	name      string
	recs      []crashRec
	acked     int    // records
	begin     uint64 // and
	maybe     uint64 // after a Trim that was cut off
	creating  bool   // a Create was cut off: it may be there, empty
	unlinking bool   // an Unlink was cut off: it may be gone
	failed    bool   // a write has failed
	log       *Log
}

type crashRec struct {
	pos, n uint64
	key    uint64
}

type crashAppend struct {
	Append
	c   *crash
	l   *crashLog
	i   int // record
	sga abi.SGArray
	buf []byte
}

// Appended is that of the Append.
func (a *crashAppend) Appended(*Append) {
	mem.Free(unsafe.Pointer(unsafe.SliceData(a.buf)))
	a.c.pending--
	switch {
	case a.Err == 0 && a.l.log != nil && a.i != a.l.acked:
		a.c.failf("record %d of %q acknowledged after %d", a.i, a.l.name, a.l.acked)
	case a.Err == 0 && a.l.log != nil:
		a.l.acked++
	case a.Err == unix.EIO && a.c.faulty:
		a.l.failed = true
	case a.Err != 0 && !a.c.dev.Dead():
		a.c.failf("append of record %d of %q failed: %v", a.i, a.l.name, a.Err)
	}
}

type crash struct {
	t        *testing.T
	seed     int64
	rnd      *rand.Rand
	dev      *sim.Drive
	opt      Options
	s        *Store
	logs     map[string]*crashLog
	names    []string
	pending  int
	keys     uint64
	crashes  int
	failures int
	records  int
	full     int
	verbose  bool
	faulty   bool
	before   int // crashes wanted
	fixed    int // bytes of each record; 0: they differ
	maxRec   int
}

type crashFailure struct{ text string }

func (c *crash) failf(format string, args ...any) {
	panic(crashFailure{fmt.Sprintf(format, args...)})
}

func (c *crash) logf(format string, args ...any) {
	if c.verbose {
		c.t.Logf(format, args...)
	}
}

// upTo draws from 1..n, as often from each order of magnitude.
func (c *crash) upTo(n int) int {
	bits := 0
	for n>>bits > 1 {
		bits++
	}
	top := 1 << c.rnd.IntN(bits+1)
	return min(n, top+c.rnd.IntN(top))
}

func fillData(b []byte, key uint64) {
	x := key*0x9e3779b97f4a7c15 + 1
	var word [8]byte
	for len(b) > 0 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		le.PutUint64(word[:], x)
		b = b[copy(b, word[:]):]
	}
}

func newCrash(t *testing.T, seed int64) *crash {
	c := &crash{t: t, seed: seed, rnd: rand.New(rand.NewPCG(uint64(seed), 1)), logs: map[string]*crashLog{}}
	bs := uint32(512)
	if c.rnd.IntN(8) == 0 {
		bs = 4096
	}
	extent := bs << (2 + c.rnd.IntN(5))
	transfer := bs << (1 + c.rnd.IntN(5))
	extents := uint64(4 + c.upTo(60))
	blocks := 2 + 2*8192/uint64(bs) + 16 + extents*uint64(extent/bs)
	cfg := sim.Config{BlockSize: bs, Blocks: blocks, MaxTransfer: transfer, Depth: 1 + c.rnd.IntN(16), Seed: uint64(seed), MaxDelay: c.upTo(24), Tears: c.rnd.IntN(3) == 0}
	c.dev = sim.New(cfg)
	if err := Format(c.dev, FormatOptions{ExtentSize: uint64(extent), CatalogSize: 8192}); err != 0 {
		c.failf("format: %v", err)
	}
	c.opt = Options{WriteChunks: 1 + c.rnd.IntN(12), ReadChunks: 1 + c.rnd.IntN(8), ChunkSize: int(bs) << (1 + c.rnd.IntN(5))}
	c.maxRec = min(c.upTo(6*int(extent)), int(extents)*int(extent)/3)
	switch c.rnd.IntN(4) {
	case 0:
		// Records of one size: what was cut off fits behind what is written later, but for its epoch.
		c.fixed = c.upTo(2 * int(extent))
	case 1:
		// Records of many extents, of which a crash leaves some.
		c.fixed = min(int(extents)*int(extent)/2, int(extent)*(3+c.rnd.IntN(3)))
	}
	c.names = []string{"a", "b", "c"}[:1+c.rnd.IntN(3)]
	return c
}

func (c *crash) run() {
	c.before = 2 + c.rnd.IntN(4)
	if c.fixed > 0 {
		c.before = 10
	}
	for c.crashes <= c.before {
		c.dev = c.restarted()
		if c.crashes < c.before {
			c.dev.CrashAfter(c.upTo(1500), c.rnd.IntN(3) == 0)
		}
		s, err := Mount(c.dev, c.opt)
		if err != 0 {
			c.crashed("mount", err)
			continue
		}
		c.s = s
		if c.verify() {
			c.work()
		}
		if !c.dev.Dead() && c.rnd.IntN(2) == 0 {
			if err := c.s.Close(); err == 0 {
				c.logf("closed")
				c.dropHandles()
				if c.crashes == c.before {
					c.before = -1
				}
				continue
			}
		}
		if !c.dev.Dead() {
			c.dev.CrashAfter(1, false)
			c.dev.Poll()
		}
		c.crashed("running", unix.ENODEV)
	}
}

// restarted is the drive after what ended the last one.
func (c *crash) restarted() *sim.Drive {
	c.dev.Close()
	return c.dev.Restart()
}

// crashed counts a crash that ended something with err.
func (c *crash) crashed(what string, err abi.Errno) {
	if !c.dev.Dead() {
		c.failf("%s: %v without a crash", what, err)
	}
	c.crashes++
	c.logf("crash %d while %s", c.crashes, what)
	c.drain()
	c.dropHandles()
}

// drain lets what the store still knows end.
func (c *crash) drain() {
	if c.s == nil {
		return
	}
	s := c.s
	c.s = nil
	for _, l := range s.logs {
		l.fail(unix.ENODEV)
	}
	for _, l := range c.logs {
		if l.log != nil {
			l.log.fail(unix.ENODEV)
		}
	}
	s.tell()
	if c.pending != 0 {
		c.failf("%d appends never ended", c.pending)
	}
}

func (c *crash) dropHandles() {
	for _, l := range c.logs {
		l.log = nil
	}
}

// verify opens all logs and compares them with what they must be. False: it crashed meanwhile.
func (c *crash) verify() bool {
	if c.dev.Dead() {
		return false
	}
	for _, name := range c.names {
		if !c.verifyLog(name) {
			return false
		}
	}
	c.count()
	return true
}

// verifyLog opens a log and compares it with what it must be.
func (c *crash) verifyLog(name string) bool {
	l := c.logs[name]
	log, err := c.s.Open(name)
	for err == unix.EIO && c.faulty {
		log, err = c.s.Open(name)
	}
	if c.dev.Dead() {
		return false
	}
	if err == unix.ENOENT && (l == nil || l.creating || l.unlinking) {
		delete(c.logs, name)
		return true
	}
	if err != 0 || l == nil {
		c.failf("open %q: %v, expected %+v", name, err, l)
	}
	l.creating, l.unlinking, l.failed = false, false, false
	if log.Begin() != l.begin && log.Begin() != l.maybe {
		c.failf("%q begins at %d, not %d or %d", name, log.Begin(), l.begin, l.maybe)
	}
	l.begin, l.maybe = log.Begin(), log.Begin()
	n := 0
	for n < len(l.recs) && l.recs[n].pos+l.recs[n].n <= log.End() {
		n++
	}
	if n < l.acked || log.durSeq != uint64(n) || log.End() != l.end(n) {
		c.failf("%q ends at %d, record %d; %d were acknowledged, to %d; %d appended", name, log.End(), log.durSeq, l.acked, l.end(l.acked), len(l.recs))
	}
	c.logf("%q: %d of %d appended, %d acknowledged, at %d", name, n, len(l.recs), l.acked, log.End())
	l.recs, l.acked, l.log = l.recs[:n], n, log
	return c.readAll(l)
}

// count checks that each extent is free or of a log.
func (c *crash) count() {
	used := uint64(0)
	for _, l := range c.s.logs {
		used += l.extents + l.aheadN
	}
	if used+c.s.freeN != c.s.sb.extents {
		c.failf("%d extents used, %d free, of %d", used, c.s.freeN, c.s.sb.extents)
	}
}

func (l *crashLog) end(n int) uint64 {
	if n == 0 {
		return 0
	}
	return l.recs[n-1].pos + l.recs[n-1].n
}

type crashRead struct {
	Read
	done bool
}

// ReadDone is that of the Read.
func (r *crashRead) ReadDone(*Read) { r.done = true }

// read reads at pos; nil: it crashed.
func (c *crash) read(rd *Reader, pos, most uint64) ([]byte, bool) {
	r := &crashRead{}
	r.Pos, r.Max, r.Owner = pos, most, r
	if err := rd.Read(&r.Read); err != 0 {
		c.failf("read at %d: %v", pos, err)
	}
	for i := 0; !r.done; i++ {
		c.s.Poll()
		if i > 100_000 {
			c.failf("read at %d never ends", pos)
		}
	}
	if c.dev.Dead() {
		mem.Free(r.Data)
		return nil, false
	}
	if r.Err != 0 {
		c.failf("read of %q at %d: %v", rd.log.name, pos, r.Err)
	}
	if r.N == 0 {
		return nil, true
	}
	b := bytes.Clone(unsafe.Slice((*byte)(r.Data), r.N))
	mem.Free(r.Data)
	return b, true
}

// readAll compares all records from begin on.
func (c *crash) readAll(l *crashLog) bool {
	rd := l.log.NewReader()
	defer rd.Close()
	pos := l.begin
	for _, rec := range l.recs {
		for rec.pos+rec.n > pos {
			if !c.readPart(rd, l, rec, &pos) {
				return false
			}
		}
	}
	b, ok := c.read(rd, pos, 100)
	if ok && b != nil {
		c.failf("%q has %d bytes at its end", l.name, len(b))
	}
	return ok
}

// readPart reads some of rec from *pos on.
func (c *crash) readPart(rd *Reader, l *crashLog, rec crashRec, pos *uint64) bool {
	most := uint64(1) << 40
	if c.rnd.IntN(4) == 0 {
		most = uint64(c.upTo(int(rec.n)))
	}
	b, ok := c.read(rd, *pos, most)
	if !ok {
		return false
	}
	want := make([]byte, rec.n)
	fillData(want, rec.key)
	want = want[*pos-rec.pos:]
	want = want[:min(most, uint64(len(want)))]
	if !bytes.Equal(b, want) {
		c.failf("%q at %d: %d bytes are not the %d of the record at %d", l.name, *pos, len(b), len(want), rec.pos)
	}
	*pos += uint64(len(b))
	return true
}

// work does things until a crash or for some time.
func (c *crash) work() {
	most := 300
	if c.fixed > 0 {
		most = 12 // so that the next epoch writes less than the last one left
	}
	for steps := c.upTo(most); steps > 0 && !c.dev.Dead(); steps-- {
		name := c.names[c.rnd.IntN(len(c.names))]
		l := c.logs[name]
		switch k := c.rnd.IntN(100); {
		case l == nil:
			c.create(name)
		case l.failed:
			c.reopen(l)
		case k < 1 && c.rnd.IntN(3) == 0:
			c.breakWrite()
		case k < 70:
			for n := c.upTo(8); n > 0 && !c.dev.Dead(); n-- {
				c.append(l)
			}
		case k < 72:
			c.unlink(l)
		case k < 77:
			c.trim(l)
		case k < 85:
			c.readSome(l)
		case k < 87:
			c.settle()
		default:
			for n := c.upTo(10); n > 0; n-- {
				c.s.Poll()
			}
		}
	}
	if !c.dev.Dead() && c.rnd.IntN(3) > 0 && (c.fixed == 0 || c.rnd.IntN(3) == 0) {
		c.settle()
	}
}

// breakWrite lets some write to the extents fail.
func (c *crash) breakWrite() {
	c.faulty = true
	sb := &c.s.sb
	at := sb.dataStart + c.rnd.Uint64N(sb.blocks-1-sb.dataStart)
	c.dev.Inject(sim.Fault{Op: block.Write, First: at, Last: min(sb.blocks-2, at+uint64(c.upTo(500))), Err: unix.EIO, Times: 1})
}

// reopen opens a log anew that takes no more appends.
func (c *crash) reopen(l *crashLog) {
	c.settle()
	if c.dev.Dead() {
		return
	}
	if err := l.log.Close(); err != 0 {
		c.failf("close %q: %v", l.name, err)
	}
	c.failures++
	c.logf("reopen %q", l.name)
	if c.verifyLog(l.name) {
		c.count()
	}
}

// settle waits for all appends.
func (c *crash) settle() {
	for i := 0; c.pending > 0 && !c.dev.Dead(); i++ {
		c.s.Poll()
		if i > 100_000 {
			c.failf("%d appends never end", c.pending)
		}
	}
	if !c.dev.Dead() && !c.s.Idle() {
		c.s.Poll()
	}
}

func (c *crash) create(name string) {
	l := &crashLog{name: name, creating: true}
	c.logs[name] = l
	log, err := c.s.Create(name)
	if err != 0 {
		if !c.dev.Dead() {
			c.failf("create %q: %v", name, err)
		}
		return
	}
	c.logf("create %q", name)
	l.creating, l.log = false, log
}

func (c *crash) append(l *crashLog) {
	c.keys++
	n := c.upTo(c.maxRec)
	if c.fixed > 0 {
		n = c.fixed
		if c.rnd.IntN(4) > 0 {
			c.s.Poll() // a commit for each
		}
	}
	a := &crashAppend{c: c, l: l, i: len(l.recs)}
	a.Owner = a
	a.buf = unsafe.Slice((*byte)(mem.Alloc(uint64(n))), n)
	fillData(a.buf, c.keys)
	cut := c.rnd.IntN(n + 1)
	a.sga.NumSegs = 2
	a.sga.Segs[0] = abi.Seg{Buf: abi.PtrTo(unsafe.Pointer(&a.buf[0])), Len: uint32(cut)}
	a.sga.Segs[1] = abi.Seg{Buf: abi.PtrTo(unsafe.Pointer(&a.buf[0])) + abi.Ptr(cut), Len: uint32(n - cut)}
	a.SGA = &a.sga
	if err := l.log.Append(&a.Append); err != 0 {
		mem.Free(unsafe.Pointer(&a.buf[0]))
		if err == unix.EIO && c.faulty {
			l.failed = true
			return
		}
		if err != unix.ENOSPC && !c.dev.Dead() {
			c.failf("append to %q: %v", l.name, err)
		}
		c.full++
		return
	}
	c.pending++
	if a.Pos != l.end(len(l.recs)) {
		c.failf("append to %q is at %d, not %d", l.name, a.Pos, l.end(len(l.recs)))
	}
	if c.rnd.IntN(10) == 0 && l.log.Cancel(&a.Append) {
		c.pending--
		mem.Free(unsafe.Pointer(&a.buf[0]))
		return
	}
	l.recs = append(l.recs, crashRec{a.Pos, uint64(n), c.keys})
	c.records++
}

func (c *crash) unlink(l *crashLog) {
	l.unlinking = true
	if err := c.s.Unlink(l.name); err != 0 {
		if !c.dev.Dead() {
			c.failf("unlink %q: %v", l.name, err)
		}
		return
	}
	c.logf("unlink %q", l.name)
	delete(c.logs, l.name)
	log := l.log
	if err := log.Close(); err != 0 && !c.dev.Dead() {
		c.failf("close %q: %v", l.name, err)
	}
}

func (c *crash) trim(l *crashLog) {
	pos := l.log.Begin()
	switch end := l.log.End(); c.rnd.IntN(3) {
	case 0:
		pos = end
	default:
		pos += c.rnd.Uint64N(end - pos + 1)
	}
	l.maybe = pos
	if err := l.log.Trim(pos); err != 0 {
		if !c.dev.Dead() {
			c.failf("trim %q to %d: %v", l.name, pos, err)
		}
		return
	}
	c.logf("trim %q to %d of %d", l.name, pos, l.log.End())
	l.begin = pos
}

// readSome reads at a random place.
func (c *crash) readSome(l *crashLog) {
	if l.acked == 0 || l.end(l.acked) == l.begin {
		return
	}
	rd := l.log.NewReader()
	defer rd.Close()
	pos := l.begin + c.rnd.Uint64N(l.end(l.acked)-l.begin)
	for _, rec := range l.recs[:l.acked] {
		if pos >= rec.pos && pos < rec.pos+rec.n && !c.readPart(rd, l, rec, &pos) {
			return
		}
	}
}
