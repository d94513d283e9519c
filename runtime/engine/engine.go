package engine

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/mem"
	"github.com/libdmtr/libdmtr/runtime/reuse"
)

const errNoMem = unix.ENOMEM

// storageEvery is how many rounds of polls there are to one of storage that is apart from the network: its devices are slower.
const storageEvery = 8

// Engine is one instance of the library.
type Engine struct {
	ctl     *abi.Control
	lim     config.Limits
	net     LibOS
	storage LibOS
	split   bool  // storage is another libOS than net
	watches LibOS // of watched descriptors; if it is a third one, it has nothing else to do
	turn    uint32
	descs   []desc
	free    freeList
	open    int
	ops     [abi.MaxChunks]*[abi.ChunkTokens]Op
	tokens  int // records that exist

	args      Args // of Open
	memQueues reuse.List[memQueue]
}

// New makes an engine, which needs to be attached to libOSes.
func New(lim config.Limits) (*Engine, abi.Errno) {
	e := &Engine{lim: lim}
	e.lim.Queues = min(max(lim.Queues, 1), abi.MaxQueues)
	e.lim.Tokens = min(max(lim.Tokens, minTokens), abi.MaxTokens)
	e.ctl = (*abi.Control)(mem.Map(unsafe.Sizeof(abi.Control{})))
	if e.ctl == nil {
		return nil, errNoMem
	}
	e.ctl.Hints = (*[abi.MaxQueues][2]uint32)(mem.Map(unsafe.Sizeof([abi.MaxQueues][2]uint32{})))
	e.ctl.Lanes = (*[abi.MaxQueues]abi.Lane)(mem.Map(unsafe.Sizeof([abi.MaxQueues]abi.Lane{})))
	if e.ctl.Hints == nil || e.ctl.Lanes == nil {
		e.Close()
		return nil, errNoMem
	}
	e.ctl.MaxMsg, e.ctl.MaxPop = uint64(lim.MaxMessage), uint32(lim.MaxPop)
	for _, l := range []*abi.List{&e.ctl.Ready, &e.ctl.Parked, &e.ctl.Free} {
		*l = abi.List{Head: abi.None, Tail: abi.None}
	}
	e.ctl.Port.Pop = abi.None
	if !e.grow() {
		e.Close()
		return nil, errNoMem
	}
	return e, 0
}

// Attach gives the engine its libOSes, which may be one and the same.
func (e *Engine) Attach(net, storage LibOS) abi.Errno {
	e.net, e.storage, e.split, e.watches = net, storage, net != storage, storage
	e.ctl.NumFds = 0
	err := e.sleepOn(net)
	if err == 0 && e.split {
		err = e.sleepOn(storage)
	}
	return err
}

// AttachWatches says, after Attach, which libOS watches descriptors if that for files does not.
func (e *Engine) AttachWatches(os LibOS) abi.Errno {
	e.watches = os
	if e.third() {
		return e.sleepOn(os)
	}
	return 0
}

// third tells whether there is a libOS for watches only.
func (e *Engine) third() bool { return e.watches != e.net && e.watches != e.storage }

// sleepOn adds the descriptors of a libOS to those of waits that sleep.
func (e *Engine) sleepOn(os LibOS) abi.Errno {
	for _, fd := range os.Fds() {
		if e.ctl.NumFds == abi.MaxWaitFds {
			return unix.EMFILE
		}
		e.ctl.Fds[e.ctl.NumFds] = int32(fd)
		e.ctl.NumFds++
	}
	return 0
}

// Completions is how many operations have completed so far.
func (e *Engine) Completions() uint64 { return e.ctl.Seq }

// Control is the state shared with the C front.
func (e *Engine) Control() *abi.Control { return e.ctl }

// Close closes every queue and both libOSes, and releases the shared memory.
func (e *Engine) Close() {
	for i := 0; i < len(e.descs); i++ {
		if d := &e.descs[i]; d.q != nil {
			_ = e.CloseQueue(d.qd)
		}
	}
	for i := 0; i < e.tokens; i++ {
		e.release(e.record(uint32(i)))
	}
	if e.net != nil {
		e.net.Close()
	}
	if e.split {
		e.storage.Close()
	}
	if e.net != nil && e.third() {
		e.watches.Close()
	}
	for i, c := range e.ctl.Chunks {
		if c != nil {
			mem.Unmap(unsafe.Pointer(c), unsafe.Sizeof(*c))
			e.ops[i] = nil
		}
	}
	if e.ctl.Hints != nil {
		mem.Unmap(unsafe.Pointer(e.ctl.Hints), unsafe.Sizeof(*e.ctl.Hints))
	}
	if e.ctl.Lanes != nil {
		mem.Unmap(unsafe.Pointer(e.ctl.Lanes), unsafe.Sizeof(*e.ctl.Lanes))
	}
	mem.Unmap(unsafe.Pointer(e.ctl), unsafe.Sizeof(*e.ctl))
	e.ctl = nil
}

// Finish is for the end of a process whose network libOS has to see to it itself that the peers get what was pushed.
func (e *Engine) Finish() {
	f, ok := e.net.(Finisher)
	if !ok {
		return
	}
	for i := range e.descs {
		if _, ok := e.descs[i].q.(Socket); ok {
			_ = e.CloseQueue(e.descs[i].qd)
		}
	}
	f.Finish()
}

// Drive polls the libOSes up to n times, and returns early once an operation completes or another thread wants in.
func (e *Engine) Drive(n int) {
	seq := e.ctl.Seq
	e.ctl.Polls++
	for ; n > 0; n-- {
		e.net.Poll()
		if e.split {
			if e.turn++; n == 1 || e.turn%storageEvery == 0 {
				e.storage.Poll()
				if e.third() {
					e.watches.Poll()
				}
			}
		}
		if e.ctl.Seq != seq || e.wanted() {
			return
		}
	}
}

// Got hands what C received from the port to the network libOS.
func (e *Engine) Got(n int) {
	if p, ok := e.net.(Ported); ok {
		p.Got(n)
	}
}

// Arm prepares for a sleep on the Fds of Control.
func (e *Engine) Arm() {
	e.net.Arm()
	if e.split {
		e.storage.Arm()
		if e.third() {
			e.watches.Arm()
		}
	}
}

// Queue makes a memory queue.
func (e *Engine) Queue() (int32, abi.Errno) {
	if !e.Room() {
		return 0, unix.EMFILE
	}
	q := e.memQueues.Get()
	q.eng, q.limit = e, e.lim.MemoryQueue
	return e.addQueue(q)
}

// Open makes a socket, opens a file, or watches a descriptor.
func (e *Engine) Open(a *Args) (int32, abi.Errno) {
	if !e.Room() {
		return 0, unix.EMFILE
	}
	e.args = *a
	os := e.net
	switch a.Kind {
	case KindFile:
		os = e.storage
	case KindWatch:
		os = e.watches
	}
	q, err := os.Open(&e.args)
	e.args = Args{}
	if err != 0 {
		return 0, err
	}
	return e.addQueue(q)
}

// Socket returns the socket behind a descriptor, or ENOTSUP for a queue of another kind.
func (e *Engine) Socket(qd int32) (Socket, abi.Errno) {
	d, err := e.lookup(qd)
	if err != 0 {
		return nil, err
	}
	s, ok := d.q.(Socket)
	if !ok {
		return nil, unix.ENOTSUP
	}
	return s, 0
}

// Lseek moves the position of a file.
func (e *Engine) Lseek(qd int32, offset int64, whence int) abi.Errno {
	d, err := e.lookup(qd)
	if err != 0 {
		return err
	}
	f, ok := d.q.(File)
	if !ok {
		return unix.ENOTSUP
	}
	return f.Lseek(offset, whence)
}

// Trim forgets what a file has before a position.
func (e *Engine) Trim(qd int32, pos int64) abi.Errno {
	d, err := e.lookup(qd)
	if err != 0 {
		return err
	}
	f, ok := d.q.(File)
	switch {
	case !ok:
		return unix.ENOTSUP
	case pos < 0:
		return unix.EINVAL
	}
	return f.Trim(pos)
}

// Unlink takes the name of a file away.
func (e *Engine) Unlink(path string) abi.Errno {
	u, ok := e.storage.(Unlinker)
	if !ok {
		return unix.ENOTSUP
	}
	return u.Unlink(path)
}

// Push starts to send an array.
func (e *Engine) Push(qd int32, sga *abi.SGArray) (uint64, abi.Errno) { return e.PushRest(qd, sga, 0) }

// PushRest is Push for an array that C has tried to send: sent bytes on the wire are gone already, or -sent is the errno.
func (e *Engine) PushRest(qd int32, sga *abi.SGArray, sent int) (uint64, abi.Errno) {
	if sga.NumSegs == 0 || sga.NumSegs > abi.MaxSegs {
		return 0, unix.EINVAL
	}
	for i := uint32(0); i < sga.NumSegs; i++ {
		if s := &sga.Segs[i]; s.Buf == 0 && s.Len != 0 {
			return 0, unix.EINVAL
		}
	}
	d, err := e.lookup(qd)
	if err != 0 {
		return 0, err
	}
	op := e.start(d, abi.OpPush)
	if op == nil {
		return 0, unix.ENOBUFS
	}
	*op.SGA() = *sga
	if sent < 0 {
		op.Failed = abi.Errno(-sent)
	} else {
		op.Sent = uint64(sent)
	}
	return e.started(op, d.q.Push(op))
}

// Pop starts to receive an array; count limits it in bytes, 0 means the configured limit.
func (e *Engine) Pop(qd int32, count uint64) (uint64, abi.Errno) {
	if count > uint64(e.lim.MaxMessage) {
		return 0, unix.EMSGSIZE
	}
	d, err := e.lookup(qd)
	if err != 0 {
		return 0, err
	}
	op := e.start(d, abi.OpPop)
	if op == nil {
		return 0, unix.ENOBUFS
	}
	op.rec.Err = uint32(count)
	if b := d.q.Base(); len(b.returned) > 0 {
		return e.fromReturned(op, b)
	}
	return e.started(op, d.q.Pop(op))
}

// Accept starts to accept a connection.
func (e *Engine) Accept(qd int32) (uint64, abi.Errno) {
	s, err := e.Socket(qd)
	if err != 0 {
		return 0, err
	}
	d, _ := e.lookup(qd)
	op := e.start(d, abi.OpAccept)
	if op == nil {
		return 0, unix.ENOBUFS
	}
	if b := s.Base(); len(b.returned) > 0 {
		return e.fromReturned(op, b)
	}
	return e.started(op, s.Accept(op))
}

// Connect starts to connect a socket.
func (e *Engine) Connect(qd int32, addr *abi.SockaddrIn) (uint64, abi.Errno) {
	s, err := e.Socket(qd)
	if err != 0 {
		return 0, err
	}
	d, _ := e.lookup(qd)
	op := e.start(d, abi.OpConnect)
	if op == nil {
		return 0, unix.ENOBUFS
	}
	return e.started(op, s.Connect(op, addr))
}

// CloseQueue closes a queue and cancels what is pending on it.
func (e *Engine) CloseQueue(qd int32) abi.Errno {
	d, err := e.lookup(qd)
	if err != 0 {
		return err
	}
	q := d.q
	q.Close()
	b := q.Base()
	for _, l := range []*OpList{&b.Pushes, &b.Pops} {
		for l.head != nil {
			l.head.Complete(unix.ECANCELED)
		}
	}
	for i := range b.returned {
		e.discard(&b.returned[i].res, b.returned[i].flags)
	}
	b.returned = nil
	e.removeQueue(d)
	recycle(q)
	return 0
}

func recycle(q Queue) {
	if r, ok := q.(Recycler); ok {
		r.Recycle()
	}
}

// Valid tells whether qd is an open queue.
func (e *Engine) Valid(qd int32) bool {
	_, err := e.lookup(qd)
	return err == 0
}
