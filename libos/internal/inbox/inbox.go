// Package inbox makes results of pops out of the bytes and datagrams that sockets receive. It is what the libOSes with
// sockets have in common above the receiving itself.
//
// # Call order
//
// One Pool for each libOS, made ready by Refill at the begin of each poll. Each socket embeds a Queue. One that is a byte
// stream has a Stream as well, one for datagrams a Datagrams. A pop goes on the list of the Queue; as long as Stream.Wants
// says so, the socket gets bytes from where it has them and hands them to the Stream.
//
// # Threading
//
// None; see package engine.
package inbox

import (
	"unsafe"

	"github.com/libdmtr/libdmtr/libos/internal/framing"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

const (
	// readyBlock is the size of the block that is kept at hand for a small message.
	readyBlock = 256
	// maxSpills is how many buffers for bytes that nobody has wanted yet are kept for the next such case. They are few, so that
	// idle connections hold none.
	maxSpills = 64
)

// Pool has the memory that the sockets of one libOS share.
type Pool struct {
	Config *config.Config
	ready  unsafe.Pointer // readyBlock bytes, or nil
	spills [][]byte
}

// Refill sees to it that a block for a small message is at hand, so that its arrival need not wait for malloc.
func (p *Pool) Refill() {
	if p.ready == nil {
		p.ready = mem.Alloc(readyBlock)
	}
}

// Close releases what the pool holds.
func (p *Pool) Close() {
	mem.Free(p.ready)
	p.ready, p.spills = nil, nil
}

// Block returns at least n bytes for a result, or nil.
func (p *Pool) Block(n uint64) unsafe.Pointer {
	if b := p.ready; b != nil && n <= readyBlock {
		p.ready = nil
		return b
	}
	return mem.Alloc(max(n, 1))
}

// Limit is how many bytes of a stream a pop wants at most.
func (p *Pool) Limit(op *engine.Op) uint32 {
	if op.Count() != 0 {
		return op.Count()
	}
	return uint32(p.Config.Limits.MaxPop)
}

func (p *Pool) getSpill() []byte {
	if n := len(p.spills); n > 0 {
		b := p.spills[n-1]
		p.spills = p.spills[:n-1]
		return b
	}
	return make([]byte, 0, abi.ScratchLen)
}

func (p *Pool) putSpill(b []byte) {
	if cap(b) > 0 && len(p.spills) < maxSpills {
		p.spills = append(p.spills, b[:0])
	}
}

// Queue is a queue whose pops get blocks of the pool.
type Queue struct {
	engine.QueueBase
	Pool *Pool
}

// Fail ends all that is pending on a list.
func (q *Queue) Fail(l *engine.OpList, err abi.Errno) {
	for op := l.Head(); op != nil; op = l.Head() {
		op.Complete(err)
	}
}

// popWhole completes the oldest pop with a message of one segment that is here from beginning to end.
func (q *Queue) popWhole(p []byte) bool {
	block := q.Pool.Block(uint64(len(p)))
	if block == nil {
		return false
	}
	op := q.Pops.Head()
	framing.TakeWhole(op.SGA(), block, p)
	op.Popped(false)
	return true
}

// popCopy completes the oldest pop with a copy of bytes; stream as for Op.Popped.
func (q *Queue) popCopy(p []byte, stream bool) bool {
	block := q.Pool.Block(uint64(len(p)))
	if block == nil {
		return false
	}
	copy(unsafe.Slice((*byte)(block), len(p)), p)
	q.Pops.Head().PoppedBlock(block, uint32(len(p)), stream)
	return true
}
