package engine

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// Own lets the program have the memory of a pending push back, as dmtr_own says.
func (e *Engine) Own(qt uint64) abi.Errno {
	rec := e.Token(qt)
	switch {
	case rec == nil:
		return unix.ENOENT
	case rec.Result.Opcode != abi.OpPush:
		return unix.EINVAL
	case rec.State == abi.TokenDone:
		return 0
	}
	d, err := e.lookup(rec.Result.QD)
	if err != 0 {
		return err
	}
	l, lends := d.q.(Lender)
	if _, file := d.q.(File); file && !lends { // whose writes the kernel may be at
		return unix.ENOTSUP
	}
	op := e.Op(index(rec))
	if lends && op.block == 0 {
		if l.Reclaim(op); rec.State == abi.TokenDone {
			return 0
		}
	}
	if !op.own() {
		return errNoMem
	}
	return 0
}

// ownHead is the room at the head of Op.block for the array as the program gave it.
const ownHead = unsafe.Sizeof(abi.SGArray{})

// own makes the op's array one of copies in a block that the op owns. It returns false if there is no memory.
//
// Which of the bytes sent were framing only the queue knows, so a few that have gone may be copied, too. Of those not copied
// just the place is kept: Sent stays true.
func (op *Op) own() bool {
	if op.block != 0 {
		return true
	}
	sga := op.SGA()
	skip := min(op.Sent-min(op.Sent, abi.MaxFraming), sga.Len())
	block := mem.Alloc(uint64(ownHead) + sga.Len() - skip)
	if block == nil {
		return false
	}
	*(*abi.SGArray)(block) = *sga
	op.block = abi.PtrTo(block)
	at := op.block + abi.Ptr(ownHead)
	for i := uint32(0); i < sga.NumSegs; i++ {
		gone := min(skip, uint64(sga.Segs[i].Len))
		skip -= gone
		rest := sga.Bytes(i)[gone:]
		copy(unsafe.Slice((*byte)(at.Pointer()), len(rest)), rest)
		sga.Segs[i].Buf = at - abi.Ptr(gone)
		at += abi.Ptr(len(rest))
	}
	return true
}

// disown undoes own: the result of a push echoes the array that was given.
func (op *Op) disown() {
	block := op.block.Pointer()
	*op.SGA() = *(*abi.SGArray)(block)
	op.block = 0
	mem.Free(block)
}

// Detach puts another op in the place of a pending push that is being cancelled half sent. That one owns a copy of the rest
// of the data, and reports to nobody. It returns nil if there is no memory.
func (op *Op) Detach() *Op {
	if !op.own() {
		return nil
	}
	c := &Op{rec: &abi.Token{}, eng: op.eng, detached: true, block: op.block, Sent: op.Sent}
	*c.SGA() = *op.SGA()
	c.rec.Result.Opcode = op.Opcode()
	op.block = 0
	op.list.replace(op, c)
	return c
}
