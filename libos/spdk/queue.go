package spdk

import (
	"math"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/store"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/engine"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// queue is a file queue: a log with a position.
//
// Its operations take effect in the order in which they were started. Pushes need not wait for each other, so any number is under way
// at once, and the store makes them durable together. A pop begins when all before it have ended, because they move the position; and
// what comes behind a pop waits for it. So the operations under way, on the list of pushes, are some pushes or one pop, and those that
// wait, of either kind, are on the list of pops.
type queue struct {
	engine.QueueBase
	os     *LibOS
	log    *store.Log
	reader *store.Reader
	pos    uint64 // of the next byte to pop
	readOK bool
	wrtOK  bool

	first, last *push // those under way, oldest first
	reading     *engine.Op
	read        store.Read

	running bool // on LibOS.run
	runNext *queue
}

// push is a push under way.
type push struct {
	store.Append
	q          *queue
	op         *engine.Op
	next, prev *push
}

// openLog opens a log as open(2) does a file. A name has no structure; what open(2) does about folders, links and modes is not there.
func (o *LibOS) openLog(a *engine.Args) (engine.Queue, abi.Errno) {
	switch {
	case a.Path == "":
		return nil, unix.ENOENT
	case len(a.Path) > store.MaxName:
		return nil, unix.ENAMETOOLONG
	case a.Flags&unix.O_TMPFILE == unix.O_TMPFILE || a.Flags&unix.O_PATH != 0:
		return nil, unix.ENOTSUP
	case a.Flags&unix.O_DIRECTORY != 0:
		return nil, unix.ENOTDIR
	}
	l, err := o.store.Open(a.Path)
	switch {
	case err == unix.ENOENT && a.Flags&unix.O_CREAT != 0:
		l, err = o.store.Create(a.Path)
	case err == 0 && a.Flags&(unix.O_CREAT|unix.O_EXCL) == unix.O_CREAT|unix.O_EXCL:
		l.Close()
		err = unix.EEXIST
	case err == 0 && a.Flags&unix.O_TRUNC != 0:
		if err = l.Trim(l.End()); err != 0 {
			l.Close()
		}
	}
	if err != 0 {
		return nil, err
	}
	acc := a.Flags & unix.O_ACCMODE
	q := &queue{
		os: o, log: l, reader: l.NewReader(), pos: l.Begin(),
		readOK: acc == unix.O_RDONLY || acc == unix.O_RDWR,
		wrtOK:  acc == unix.O_WRONLY || acc == unix.O_RDWR,
	}
	q.Forgets = true // it keeps its position instead
	o.counts.open++
	return q, 0
}

// Push implements engine.Queue. Errors of the drive, and want of space, come by the token.
func (q *queue) Push(op *engine.Op) abi.Errno {
	if !q.wrtOK {
		return unix.EBADF
	}
	if op.SGA().Len() > uint64(q.os.cfg.Limits.MaxMessage) {
		return unix.EMSGSIZE
	}
	q.add(op)
	return 0
}

// Pop implements engine.Queue.
func (q *queue) Pop(op *engine.Op) abi.Errno {
	if !q.readOK {
		return unix.EBADF
	}
	if op.Count() == 0 {
		op.SetCount(uint32(q.os.cfg.Limits.MaxPop))
	}
	q.add(op)
	return 0
}

func (q *queue) add(op *engine.Op) {
	q.Pops.Add(op)
	q.begin()
}

// begin starts those of the waiting operations whose turn it is.
func (q *queue) begin() {
	for op := q.Pops.Head(); op != nil && q.reading == nil; op = q.Pops.Head() {
		if op.Opcode() == abi.OpPush {
			q.beginPush(q.Pops.Take())
		} else if q.first == nil {
			q.beginPop(q.Pops.Take())
		} else {
			return
		}
	}
}

// kick has begin called at the next poll.
func (q *queue) kick() {
	if !q.running && !q.Pops.Empty() {
		q.running = true
		q.runNext, q.os.run = q.os.run, q
	}
}

func (q *queue) beginPush(op *engine.Op) {
	p := q.os.pushes.Get()
	p.Owner, p.q, p.op, p.SGA = p, q, op, op.SGA()
	if err := q.log.Append(&p.Append); err != 0 {
		q.os.pushes.Put(p)
		q.ended(op, err)
		return
	}
	q.Pushes.Add(op)
	p.prev, p.next = q.last, nil
	if q.last == nil {
		q.first = p
	} else {
		q.last.next = p
	}
	q.last = p
}

// gone takes a push off the list of those under way.
func (q *queue) gone(p *push) {
	if p.prev == nil {
		q.first = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		q.last = p.prev
	} else {
		p.next.prev = p.prev
	}
	q.os.pushes.Put(p)
}

// Appended is called by the store when a push has ended.
func (p *push) Appended(a *store.Append) {
	q, op, err := p.q, p.op, a.Err
	if err == 0 {
		q.pos = a.End
		q.os.counts.pushes++
		q.os.counts.pushBytes += a.End - a.Pos
	}
	q.gone(p)
	q.ended(op, err)
}

// ended completes an operation with an error, or a push.
func (q *queue) ended(op *engine.Op, err abi.Errno) {
	if err != 0 {
		q.os.counts.failed++
	}
	op.Complete(err)
	q.kick()
}

func (q *queue) beginPop(op *engine.Op) {
	r := &q.read
	r.Owner, r.Pos, r.Max = q, q.pos, uint64(op.Count())
	if err := q.reader.Read(r); err != 0 {
		q.ended(op, err)
		return
	}
	q.Pushes.Add(op)
	q.reading = op
}

// ReadDone is called by the store when the pop has its data.
func (q *queue) ReadDone(r *store.Read) {
	op := q.reading
	q.reading = nil
	if r.Err != 0 {
		q.ended(op, r.Err)
		return
	}
	block := r.Data
	if r.N == 0 {
		block = mem.Alloc(1) // results own a block, even at the end
	}
	r.Data = nil
	if block == nil {
		q.ended(op, unix.ENOMEM)
		return
	}
	q.pos += r.N
	q.os.counts.pops++
	q.os.counts.popBytes += r.N
	op.PoppedBlock(block, uint32(r.N), true)
	q.begin()
}

// Cancel implements engine.Queue. Of a push that the store has begun with, the rest goes on from a copy.
func (q *queue) Cancel(op *engine.Op) {
	defer q.kick()
	if op == q.reading {
		q.cancelRead()
		return
	}
	for p := q.last; p != nil; p = p.prev {
		if p.op != op {
			continue
		}
		if q.log.Cancel(&p.Append) {
			q.gone(p)
		} else if c := op.Detach(); c != nil {
			p.op, p.SGA = c, c.SGA()
		} else {
			for op.Pending() { // without memory for one it has to be awaited
				q.os.store.Poll()
			}
		}
		return
	}
}

func (q *queue) cancelRead() {
	q.reading = nil
	q.reader.Cancel(&q.read)
	if q.read.Data != nil {
		mem.Free(q.read.Data)
		q.read.Data = nil
	}
}

// Reclaim implements engine.Lender: from now on the store finds what it has not taken over in the engine's copy.
func (q *queue) Reclaim(*engine.Op) {}

// drain waits until all operations have ended.
func (q *queue) drain() {
	for !q.Pushes.Empty() || !q.Pops.Empty() {
		q.begin()
		q.os.store.Poll()
	}
}

// Lseek implements engine.File. It awaits what was started before.
func (q *queue) Lseek(offset int64, whence int) abi.Errno {
	q.drain()
	base := int64(0)
	switch whence {
	case unix.SEEK_SET:
	case unix.SEEK_CUR:
		base = int64(q.pos)
	case unix.SEEK_END:
		base = int64(q.log.End())
	default:
		return unix.EINVAL
	}
	if offset > math.MaxInt64-base {
		return unix.EOVERFLOW
	}
	to := base + offset
	if to < 0 || uint64(to) < q.log.Begin() || uint64(to) > q.log.End() {
		return unix.EINVAL
	}
	q.pos = uint64(to)
	return 0
}

// Trim implements engine.File.
func (q *queue) Trim(pos int64) abi.Errno {
	if !q.wrtOK {
		return unix.EBADF
	}
	q.drain()
	return q.log.Trim(uint64(pos))
}

// Close implements engine.Queue. What the store has begun with is awaited, and keeps its result.
func (q *queue) Close() {
	if q.reading != nil {
		op := q.reading
		q.cancelRead()
		op.Complete(unix.ECANCELED)
	}
	for p := q.last; p != nil; {
		before := p.prev
		if q.log.Cancel(&p.Append) {
			q.gone(p)
		}
		p = before
	}
	for p := q.first; p != nil; p = q.first {
		q.os.store.Poll()
	}
	q.leave()
	q.reader.Close()
	q.log.Close()
	q.os.counts.open--
}

// leave takes q off LibOS.run.
func (q *queue) leave() {
	for at := &q.os.run; *at != nil; at = &(*at).runNext {
		if *at == q {
			*at = q.runNext
			break
		}
	}
	q.running, q.runNext = false, nil
}

var (
	_ engine.File   = (*queue)(nil)
	_ engine.Lender = (*queue)(nil)
)
