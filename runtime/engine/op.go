package engine

import (
	"unsafe"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// Op is one operation under way. Its record, which C sees too, holds the array pushed or popped.
type Op struct {
	rec        *abi.Token
	eng        *Engine
	list       *OpList
	next, prev *Op
	part       uint32 // of a result that was given back, see result; C does not reset it, but then Seq is new
	detached   bool
	block      abi.Ptr // of a push: a copy of what is to be sent, see own; 0: it is in the program's memory

	// Sent is the queue's note of how far a push has come, in bytes on the wire.
	Sent uint64
	// Failed is the error that C met when it tried to send a push, or 0.
	Failed abi.Errno
}

// SGA is the array being pushed, or to be filled by a pop.
func (op *Op) SGA() *abi.SGArray { return &op.rec.Result.SGA }

// Opcode is the kind of the operation.
func (op *Op) Opcode() abi.Opcode { return op.rec.Result.Opcode }

// Pending tells whether the operation still waits on a list.
func (op *Op) Pending() bool { return op.list != nil }

// Count limits a pop, in bytes; 0 means the configured limit. It is in the record, where C puts it, too.
func (op *Op) Count() uint32 { return op.rec.Err }

// SetCount changes the limit of a pop.
func (op *Op) SetCount(n uint32) { op.rec.Err = n }

// Index names the operation's record.
func (op *Op) Index() uint32 { return index(op.rec) }

// Complete ends the operation, and takes it off its list. The Op must not be used afterwards.
func (op *Op) Complete(err abi.Errno) {
	if op.list != nil {
		op.list.remove(op)
	}
	if op.block != 0 {
		op.disown()
		if op.detached {
			return
		}
	}
	rec, ctl := op.rec, op.eng.ctl
	rec.Err = uint32(err)
	ctl.Seq++
	rec.Seq = ctl.Seq
	op.eng.append(&ctl.Ready, rec)
	rec.State = abi.TokenDone
}

// Popped completes a pop with an array whose block the program will own. stream says that the array is a range of
// a byte stream in one segment.
func (op *Op) Popped(stream bool) {
	op.rec.Flags |= abi.FlagOwned
	if stream {
		op.rec.Flags |= abi.FlagBytes
	}
	op.Complete(0)
}

// PoppedBlock completes a pop with the first n bytes of a block, in one segment; stream as for Popped.
func (op *Op) PoppedBlock(block unsafe.Pointer, n uint32, stream bool) {
	s := op.SGA()
	s.Buf, s.NumSegs = abi.PtrTo(block), 1
	s.Segs[0] = abi.Seg{Buf: s.Buf, Len: n}
	op.Popped(stream)
}

// Accepted completes an accept with the queue of the new connection.
func (op *Op) Accepted(q Queue, peer *abi.SockaddrIn) {
	qd, err := op.eng.addQueue(q)
	if err != 0 {
		q.Close()
		recycle(q)
		op.Complete(err)
		return
	}
	*op.rec.Result.Accept() = abi.AcceptResult{QD: qd, Addr: *peer, Len: abi.SizeofSockaddrIn}
	op.Complete(0)
}

// result is what a completed operation left behind when its token was dropped unseen.
type result struct {
	seq   uint64 // when it came from the queue
	part  uint32 // where it stood in what came, if a pop has got a part of that
	flags uint32
	res   abi.QResult
}

func (r *result) before(o *result) bool {
	return r.seq < o.seq || r.seq == o.seq && r.part < o.part
}

// give completes op with r, of which a stream pop may want a part only. It reports whether r is used up. Should op be
// dropped unseen, too, it goes back to the place it had.
func (op *Op) give(r *result) bool {
	res := &op.rec.Result
	op.part = r.part
	if n := op.Count(); r.flags&abi.FlagBytes != 0 && n != 0 && n < r.res.SGA.Segs[0].Len {
		block := mem.Alloc(uint64(n))
		if block == nil {
			op.Complete(errNoMem)
			return false
		}
		rest := &r.res.SGA.Segs[0]
		copy(unsafe.Slice((*byte)(block), n), r.res.SGA.Bytes(0))
		rest.Buf += abi.Ptr(n)
		rest.Len -= n
		r.part += n
		op.PoppedBlock(block, n, true)
		op.rec.Seq = r.seq
		return false
	}
	res.SGA = r.res.SGA
	op.rec.Flags |= r.flags
	op.Complete(0)
	op.rec.Seq = r.seq
	return true
}
