package engine

import (
	"sort"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

const (
	minTokens = 64
	// keepOrphans is how many completions a forgotten token of a closed queue outlives before its record is reused.
	keepOrphans = 4096
)

func (e *Engine) record(i uint32) *abi.Token {
	return &e.ctl.Chunks[i/abi.ChunkTokens][i%abi.ChunkTokens]
}

// Op is the operation of a record.
func (e *Engine) Op(i uint32) *Op { return &e.ops[i/abi.ChunkTokens][i%abi.ChunkTokens] }

func index(rec *abi.Token) uint32 { return uint32(rec.Result.QT) & (abi.MaxTokens - 1) }

// append and unlink keep the lists of records. The C front has the same two, in capi/token.h.
func (e *Engine) append(l *abi.List, rec *abi.Token) {
	i := index(rec)
	rec.Prev, rec.Next = l.Tail, abi.None
	if l.Tail == abi.None {
		l.Head = i
	} else {
		e.record(l.Tail).Next = i
	}
	l.Tail = i
	l.Count++
}

func (e *Engine) unlink(l *abi.List, rec *abi.Token) {
	if rec.Prev == abi.None {
		l.Head = rec.Next
	} else {
		e.record(rec.Prev).Next = rec.Next
	}
	if rec.Next == abi.None {
		l.Tail = rec.Prev
	} else {
		e.record(rec.Next).Prev = rec.Prev
	}
	l.Count--
}

// start takes a free record for an operation on d, or returns nil if the limit is reached.
func (e *Engine) start(d *desc, opc abi.Opcode) *Op {
	if e.ctl.Free.Count < minTokens && !e.grow() && e.ctl.Free.Count == 0 {
		return nil
	}
	i := e.ctl.Free.Head
	rec, op := e.record(i), e.Op(i)
	e.unlink(&e.ctl.Free, rec)
	op.Sent, op.Failed, op.part = 0, 0, 0
	rec.Flags, rec.Err = 0, 0
	dir := 0
	if opc == abi.OpPop || opc == abi.OpAccept {
		dir = 1
		rec.Result.SGA = abi.SGArray{}
	}
	rec.Hint = e.ctl.Hints[d.qd&(abi.MaxQueues-1)][dir]
	rec.Result.Opcode = opc
	rec.Result.QD = d.qd
	rec.Result.QT = uint64(d.qd)<<32 | uint64((uint32(rec.Result.QT) + 1<<abi.IndexBits)) // the next generation of the index
	rec.State = abi.TokenPending
	return op
}

// started is the outcome of handing op to its queue: a token, or the queue's refusal.
func (e *Engine) started(op *Op, err abi.Errno) (uint64, abi.Errno) {
	if err != 0 {
		e.release(op.rec)
		return 0, err
	}
	return op.rec.Result.QT, 0
}

// release frees a record, and what its result still owns.
func (e *Engine) release(rec *abi.Token) {
	switch rec.State {
	case abi.TokenFree:
		return
	case abi.TokenDone:
		if rec.Flags&abi.FlagParked != 0 {
			e.unlink(&e.ctl.Parked, rec)
		} else {
			e.unlink(&e.ctl.Ready, rec)
		}
		if rec.Flags&abi.FlagSeen == 0 && rec.Err == 0 {
			e.discard(&rec.Result, rec.Flags)
		}
	}
	rec.State = abi.TokenFree
	e.append(&e.ctl.Free, rec)
}

// discard releases what an unseen result owns: a pop's block, an accept's connection.
func (e *Engine) discard(r *abi.QResult, flags uint32) {
	if flags&abi.FlagOwned != 0 {
		mem.Free(r.SGA.Buf.Pointer())
	}
	if r.Opcode == abi.OpAccept {
		_ = e.CloseQueue(r.Accept().QD)
	}
}

// grow makes more records, doubling their number up to the limit. First it takes back those that programs
// have forgotten: completed tokens of queues that are closed since long.
func (e *Engine) grow() bool {
	if e.tokens >= abi.ChunkTokens && e.sweep() >= e.tokens/4 {
		return true
	}
	n := min(max(e.tokens, minTokens), e.lim.Tokens-e.tokens)
	for ; n > 0; n-- {
		i := uint32(e.tokens)
		c := i / abi.ChunkTokens
		if e.ctl.Chunks[c] == nil {
			p := mem.Map(unsafe.Sizeof([abi.ChunkTokens]abi.Token{}))
			if p == nil {
				return false
			}
			e.ctl.Chunks[c] = (*[abi.ChunkTokens]abi.Token)(p)
			e.ops[c] = new([abi.ChunkTokens]Op)
		}
		rec, op := e.record(i), e.Op(i)
		op.rec, op.eng = rec, e
		rec.Result.QT = uint64(i)
		e.append(&e.ctl.Free, rec)
		e.tokens++
	}
	return e.ctl.Free.Count > 0
}

func (e *Engine) sweep() (n int) {
	for i := uint32(0); int(i) < e.tokens; i++ {
		rec := e.record(i)
		if rec.State == abi.TokenDone && e.ctl.Seq-rec.Seq > keepOrphans && !e.Valid(rec.Result.QD) {
			e.release(rec)
			n++
		}
	}
	return n
}

// Token returns the record of a token, or nil.
func (e *Engine) Token(qt uint64) *abi.Token {
	i := uint32(qt) & (abi.MaxTokens - 1)
	if int(i) >= e.tokens {
		return nil
	}
	if rec := e.record(i); rec.Result.QT == qt && rec.State != abi.TokenFree {
		return rec
	}
	return nil
}

// Drop gives a token up, as dmtr_drop says.
func (e *Engine) Drop(qt uint64) abi.Errno {
	rec := e.Token(qt)
	if rec == nil {
		return unix.ENOENT
	}
	d, _ := e.lookup(rec.Result.QD)
	switch op := e.Op(index(rec)); {
	case rec.State == abi.TokenPending:
		settle(d.q)
		d.q.Cancel(op)
		if op.list != nil {
			op.list.remove(op)
		}
		if op.block != 0 {
			op.disown()
		}
		e.ctl.Seq++ // wakes a thread that waits for this very token
	case d != nil && rec.Err == 0 && rec.Flags&abi.FlagSeen == 0:
		e.giveBack(d.q, rec)
	}
	e.release(rec)
	return 0
}

// giveBack returns an unseen result to its queue: to the oldest pending pop, which has no result older than this
// one, or to the next pop.
func (e *Engine) giveBack(q Queue, rec *abi.Token) {
	if q.Base().Forgets || rec.Result.Opcode == abi.OpPush || rec.Result.Opcode == abi.OpConnect {
		return
	}
	settle(q)
	b := q.Base()
	r := result{seq: rec.Seq, part: e.Op(index(rec)).part, flags: rec.Flags & (abi.FlagOwned | abi.FlagBytes), res: rec.Result}
	rec.Flags |= abi.FlagSeen
	at := sort.Search(len(b.returned), func(i int) bool { return r.before(&b.returned[i]) })
	b.returned = append(b.returned, result{})
	copy(b.returned[at+1:], b.returned[at:])
	b.returned[at] = r
	for len(b.returned) > 0 && b.Pops.head != nil {
		e.giveHead(b.Pops.head, b)
	}
}

func settle(q Queue) {
	if s, ok := q.(Settler); ok {
		s.Settle()
	}
}

func (e *Engine) giveHead(op *Op, b *QueueBase) {
	if !op.give(&b.returned[0]) {
		return
	}
	if b.returned = b.returned[1:]; len(b.returned) == 0 {
		b.returned = nil
	}
}

func (e *Engine) fromReturned(op *Op, b *QueueBase) (uint64, abi.Errno) {
	qt := op.rec.Result.QT
	e.giveHead(op, b)
	return qt, 0
}

// wanted tells whether another thread waits for the front's lock.
func (e *Engine) wanted() bool { return atomic.LoadUint32(&e.ctl.Want) != 0 }

// Result hands out the result of a completed token and frees it: what the C front's waits do for themselves. It
// returns EAGAIN while the operation is pending.
func (e *Engine) Result(qt uint64) (abi.QResult, abi.Errno) {
	rec := e.Token(qt)
	if rec == nil {
		return abi.QResult{}, unix.ENOENT
	}
	if rec.State != abi.TokenDone {
		return abi.QResult{}, unix.EAGAIN
	}
	rec.Flags |= abi.FlagSeen
	res, err := rec.Result, abi.Errno(rec.Err)
	e.release(rec)
	return res, err
}
