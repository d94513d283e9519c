package rdma

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/framing"
	"github.com/libdmtr/libdmtr/libos/internal/inbox"
	"github.com/libdmtr/libdmtr/libos/rdma/verbs"
	"github.com/libdmtr/libdmtr/libos/rdma/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// datagrams is a datagram socket. Each datagram is one array, and one packet.
type datagrams struct {
	inbox.Queue
	os     *LibOS
	in     inbox.Datagrams
	ident  verbs.ID // 0: not bound
	slot   uint32
	name   abi.SockaddrIn
	peer   abi.SockaddrIn // if connected
	linked bool           // connected
	held   bool           // on LibOS.held
	failed abi.Errno      // what became of an earlier push, for the next operation of a connected socket
	inline int

	bufs  []uint32 // all receive buffers, posted or in the inbox
	inbox []letter // a ring: came when no pop waited
	first int
	count int

	ring       []uint32 // buffers of the sends that are not known to be over; none: it was inline
	head, tail uint32
	unsignaled int
}

// letter is a datagram received.
type letter struct {
	slot, n uint32
	from    [4]byte
	known   bool // from
}

func newDatagrams(o *LibOS) *datagrams {
	d := &datagrams{os: o, in: inbox.Datagrams{Mode: o.cfg.Framing}, name: abi.SockaddrIn{Family: unix.AF_INET}}
	d.Pool = &o.pool
	return d
}

func (d *datagrams) id() verbs.ID { return d.ident }

// Bind implements engine.Socket.
func (d *datagrams) Bind(addr *abi.SockaddrIn) abi.Errno {
	if d.ident != 0 {
		return unix.EINVAL
	}
	if addr.Family != unix.AF_INET {
		return unix.EAFNOSUPPORT
	}
	return d.bind(addr)
}

func (d *datagrams) bind(addr *abi.SockaddrIn) abi.Errno {
	o := d.os
	n := min(o.cfg.Rdma.DatagramBuffers, o.attr.MaxWR)
	d.inline = min(o.attr.MaxInline, maxInline)
	id, err := o.dev.Datagram(addr, &verbs.QPParams{SendWR: n, RecvWR: n, MaxSGE: 1, Inline: d.inline})
	if err != 0 {
		return err
	}
	d.ident, d.slot = id, o.join(d)
	d.bufs, d.inbox, d.ring = make([]uint32, 0, n), make([]letter, n), make([]uint32, n)
	for i := range n {
		b, err := o.dgram.get()
		if err == 0 {
			d.bufs = append(d.bufs, b)
			err = d.repost(uint32(i))
		}
		if err != 0 {
			d.Close()
			return err
		}
	}
	d.name, _ = o.dev.Name(id)
	d.in.Mode = o.cfg.FramingFor(d.name.Number())
	o.flush()
	return 0
}

func (d *datagrams) repost(i uint32) abi.Errno {
	d.os.dirty = true
	return d.os.dev.PostRecv(d.ident, uint64(d.slot)<<32|uint64(i), d.os.dgram.sge(d.bufs[i], d.os.dgram.size))
}

// Name implements engine.Socket.
func (d *datagrams) Name() (abi.SockaddrIn, abi.Errno) { return d.name, 0 }

// Listen implements engine.Socket.
func (d *datagrams) Listen(int) abi.Errno { return unix.ENOTSUP }

// Accept implements engine.Socket.
func (d *datagrams) Accept(*engine.Op) abi.Errno { return unix.ENOTSUP }

// Connect implements engine.Socket.
func (d *datagrams) Connect(op *engine.Op, addr *abi.SockaddrIn) abi.Errno {
	if d.linked {
		return unix.EPERM
	}
	err := abi.Errno(unix.EAFNOSUPPORT)
	if addr.Family == unix.AF_INET {
		err = d.bound()
	}
	if err == 0 {
		d.linked, d.peer = true, *addr
		if d.name.Addr == [4]byte{} {
			d.name.Addr = d.os.attr.Addr
		}
		d.in.Toward(&d.Queue, addr.Number())
	}
	op.Complete(err)
	return 0
}

// bound sees to it that there is a queue pair: sending binds, see udp(7).
func (d *datagrams) bound() abi.Errno {
	if d.ident != 0 {
		return 0
	}
	return d.bind(&abi.SockaddrIn{Family: unix.AF_INET})
}

// Push implements engine.Queue.
func (d *datagrams) Push(op *engine.Op) abi.Errno {
	if err := d.in.BeginPush(&d.Queue, op.SGA(), d.linked); err != 0 {
		return err
	}
	if !d.Pushes.Empty() || !d.push(op) {
		d.Pushes.Add(op)
		if !d.held {
			d.held = true
			d.os.held = append(d.os.held, d)
		}
	}
	d.os.flush()
	return 0
}

// send goes on with the pushes that wait.
func (d *datagrams) send() {
	for op := d.Pushes.Head(); op != nil && d.push(op); op = d.Pushes.Head() {
	}
}

// push sends a push, unless the device has no room, and tells whether it is complete.
func (d *datagrams) push(op *engine.Op) bool {
	sga := op.SGA()
	total := wire.DatagramLen + int(framing.Len(sga, d.in.Message()))
	err := d.failed
	d.failed = 0
	switch {
	case sga.Len() == 0:
		err = unix.ENOMSG
	case err != 0:
	case total > d.os.attr.PortMTU:
		err = unix.EMSGSIZE
	default:
		err = d.bound()
	}
	if err != 0 {
		op.Complete(err)
		return true
	}
	if d.head-d.tail == uint32(len(d.ring)) {
		return false
	}
	addr := &sga.Addr
	if d.linked {
		addr = &d.peer
	}
	p := d.os.peers.find(addr)
	to, buf := d.os.scratch, none
	if p.state != peerReady || total > d.inline {
		if buf, err = d.os.dgram.get(); err != 0 {
			op.Complete(err)
			return true
		}
		to = d.os.dgram.bytes(buf)
	}
	d.write(op, to)
	if p.state == peerReady {
		d.post(p, total, buf)
		p.refresh(d.ident)
	} else {
		d.os.peers.wait(p, d, buf, total)
	}
	op.Complete(0)
	return true
}

// write lays a push out as it goes over the wire.
func (d *datagrams) write(op *engine.Op, to []byte) {
	wire.PutDatagram(to, d.name.Port)
	var words []byte
	if d.in.Message() {
		words = d.os.words[:]
		framing.Encode(words, op.SGA())
	}
	at := wire.DatagramLen
	n := d.os.iov.Gather(op.SGA(), words, 0)
	for i := range n {
		p := &d.os.iov[i]
		at += copy(to[at:], unsafe.Slice((*byte)(p.At.Pointer()), p.Len))
	}
}

// post sends n bytes of a buffer, or of the scratch.
func (d *datagrams) post(p *peer, n int, buf uint32) {
	o := d.os
	wr := &o.wr
	*wr = verbs.SendWR{ID: d.ident, Op: verbs.OpSend, NumSGE: 1, AH: p.ah, QPN: p.qpn, QKey: p.qkey, WRID: uint64(d.slot)<<32 | uint64(d.head)}
	if buf == none {
		wr.Inline = true
		wr.SGEs[0] = verbs.SGE{Addr: uint64(uintptr(ptr(o.scratch))), Len: uint32(n)}
	} else {
		wr.SGEs[0] = o.dgram.sge(buf, n)
	}
	d.unsignaled++
	wr.Signaled = buf != none || d.unsignaled >= signalEvery || d.unsignaled*2 >= len(d.ring)
	if wr.Signaled {
		d.unsignaled = 0
	}
	if !o.post() {
		o.stats.DatagramsDropped++
		if buf != none {
			o.dgram.put(buf)
		}
		return
	}
	d.ring[d.head%uint32(len(d.ring))] = buf
	d.head++
	o.stats.DatagramsOut++
}

// completed implements end. What could not be sent is lost.
func (d *datagrams) completed(c *verbs.Completion) {
	if c.Op != verbs.OpRecv {
		upTo := uint32(c.WRID)
		if int32(upTo-d.tail) < 0 || int32(d.head-upTo) <= 0 {
			return
		}
		for ; d.tail != upTo+1; d.tail++ {
			if b := d.ring[d.tail%uint32(len(d.ring))]; b != none {
				d.os.dgram.put(b)
			}
		}
		d.send()
		return
	}
	l := letter{slot: uint32(c.WRID), n: c.Bytes, from: c.Src.Addr, known: c.Src.Family == unix.AF_INET}
	if c.Status != verbs.StatusSuccess || c.Bytes < verbs.GRHBytes {
		d.again(l.slot)
		return
	}
	if d.Pops.Empty() && d.count < len(d.inbox) {
		d.inbox[(d.first+d.count)%len(d.inbox)] = l
		d.count++
		return
	}
	d.deliver(&l)
}

// again posts a receive buffer again. Should the device not take it, there is one less.
func (d *datagrams) again(slot uint32) {
	if d.repost(slot) != 0 {
		d.os.stats.DatagramsDropped++
	}
}

// deliver gives a datagram to the oldest pop.
func (d *datagrams) deliver(l *letter) {
	port, data, err := wire.ParseDatagram(d.os.dgram.bytes(d.bufs[l.slot])[verbs.GRHBytes:l.n])
	op := d.Pops.Head()
	var from abi.SockaddrIn
	if l.known {
		from = abi.SockaddrIn{Family: unix.AF_INET, Port: port, Addr: l.from}
	}
	switch {
	case err != nil:
		d.os.stats.DatagramsBad++
	case d.linked && l.known && (from.Port != d.peer.Port || from.Addr != d.peer.Addr):
		d.os.stats.DatagramsDropped++
	case op != nil:
		d.os.stats.DatagramsIn++
		op.SGA().Addr = from
		if errno := d.in.Take(&d.Queue, op, data); errno != 0 {
			op.Complete(errno)
		}
	}
	d.again(l.slot)
}

// Pop implements engine.Queue.
func (d *datagrams) Pop(op *engine.Op) abi.Errno {
	if d.ident == 0 {
		return unix.EINVAL
	}
	if err := d.failed; err != 0 {
		d.failed = 0
		op.Complete(err)
		return 0
	}
	d.Pops.Add(op)
	for !d.Pops.Empty() && d.count > 0 {
		l := d.inbox[d.first]
		d.first = (d.first + 1) % len(d.inbox)
		d.count--
		d.deliver(&l)
	}
	d.os.flush()
	return 0
}

// refused is told that nobody is where the socket has sent to.
func (d *datagrams) refused(err abi.Errno) {
	switch op := d.Pops.Head(); {
	case !d.linked:
	case op != nil:
		op.Complete(err)
	default:
		d.failed = err
	}
}

// Cancel implements engine.Queue.
func (d *datagrams) Cancel(*engine.Op) {}

// Close implements engine.Queue.
func (d *datagrams) Close() {
	o := d.os
	if d.ident == 0 {
		return
	}
	o.peers.forget(d)
	o.dev.Destroy(d.ident)
	o.leave(d.slot)
	d.ident = 0
	for ; d.tail != d.head; d.tail++ {
		if b := d.ring[d.tail%uint32(len(d.ring))]; b != none {
			o.dgram.put(b)
		}
	}
	for _, b := range d.bufs {
		o.dgram.put(b)
	}
	d.bufs, d.count = nil, 0
}
