package rdma

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inbox"
	"github.com/libdmtr/libdmtr/libos/rdma/verbs"
	"github.com/libdmtr/libdmtr/libos/rdma/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// state is how far a connection has come.
type state uint8

const (
	dialing   state = iota // until the way to the peer is known
	greeting               // until both have agreed; there is a queue pair
	connected              //
	ending                 // closed; Fin is on its way
	parting                // closed; Fin has arrived
	dead                   // there is no ID any more
)

const (
	none = ^uint32(0)
	// controls is how many entries of the send queue are kept from data, for what must not wait.
	controls = 24
	// signalEvery is how many sends go at most until one has a completion, which frees their places in the queue.
	signalEvery = 16
	// ackTimeout is how long the device waits for an answer before it sends again, six times: 4.096 µs << 17 = 0.54 s. The choice of the
	// connection manager for RoCE is four times that, so that a dead peer would be noticed after 15 s.
	ackTimeout = 17
	// maxInline bounds sends that are copied into the queue.
	maxInline = 220
)

// conn is a connection. How it sends is in send.go, how it receives in recv.go.
type conn struct {
	os       *LibOS
	sock     *sock // nil: not accepted yet, or closed
	listener *sock // of one that is greeting
	ident    verbs.ID
	slot     uint32
	state    state
	until    int64  // when a closed one is given up
	brokeAt  uint64 // round
	cause    abi.Errno
	err      abi.Errno // cause, once what was received before is in the fifo
	alive    bool      // the peer has been heard of since the last probe
	local    abi.SockaddrIn
	peer     abi.SockaddrIn

	// Sending.
	credits    int // buffers of the peer that are free for data
	limit      int // of them: all that it has, or that the send queue has room for
	maxData    int // bytes of a message to the peer
	inline     int
	ring       []sent // posted and not known to be over
	head, tail uint32
	unsignaled int
	signal     int    // how many sends go until one has a completion
	request    uint64 // bytes that the peer has been asked to let us write, and that are not written yet
	writing    uint64 // of these, those under way
	plain      uint64 // bytes that the peer wants as data
	grants     [wire.MaxGrants]wire.Message
	ngrants    int
	noRequests bool // memory of the program cannot be registered
	hold       bool // no write may begin

	// Receiving.
	bufs     []uint32 // all receive buffers, posted or in the fifo; none: given back
	early    []arrival
	fifo     []piece // received data that no pop has wanted yet
	first    int
	held     int    // in the fifo
	owed     int    // credits to be returned
	incoming uint64 // bytes that the peer has asked to write
	granted  uint64 // of them, allowed so far, from the first on
	arrived  uint64 // and here
	windows  [wire.MaxGrants]verbs.MR
	nwindows int
	block    *inbox.Stream // of a closed connection: has the memory of the windows
	asked    bool          // it may send no data before
	refused  bool          // the peer cannot write
	deaf     bool          // it has broken the rules, nothing it says counts
	fin      bool          // nothing comes after what is in the fifo
}

// sent is an entry of the send queue: what is to be done once it is over.
type sent struct {
	kind sentKind
	buf  uint32 // to be put back, or none
	mr   verbs.MR
}

type sentKind uint8

const (
	sentPlain sentKind = iota
	sentWrite
	sentFin
)

// arrival is a message that came before the news that the peer is there.
type arrival struct{ slot, n uint32 }

// piece is a received message with what is left of it for the pops.
type piece struct {
	slot, buf uint32 // of bufs
	at, end   int
	request   uint32
}

func (c *conn) id() verbs.ID { return c.ident }

// setUp makes the queue pair, and posts the receive buffers.
func (c *conn) setUp() abi.Errno {
	o := c.os
	data, n := o.cfg.Rdma.ReceiveBuffers, o.cfg.Rdma.ReceiveBuffers+wire.Spare
	size := 1
	for size < data+controls {
		size *= 2
	}
	size = min(size, o.attr.MaxWR)
	c.limit, c.inline = size-controls, min(o.attr.MaxInline, maxInline)
	c.signal = max(1, min(signalEvery, c.limit/2))
	if c.limit < 1 || n > o.attr.MaxWR {
		return unix.EINVAL
	}
	if err := o.dev.CreateQP(c.ident, &verbs.QPParams{SendWR: size, RecvWR: n, MaxSGE: 1, Inline: c.inline, AckTimeout: ackTimeout}); err != 0 {
		return err
	}
	c.ring = make([]sent, size)
	c.fifo = make([]piece, data)
	c.early = make([]arrival, 0, n)
	c.bufs = make([]uint32, 0, n)
	for i := range n {
		b, err := o.bufs.get()
		if err != 0 {
			return err
		}
		c.bufs = append(c.bufs, b)
		if err := c.postRecv(uint32(i)); err != 0 {
			return err
		}
	}
	return 0
}

// postRecv does not ask for a flush: buffers reach the device with the next send or poll, whichever is first, and so before the peer
// hears that it may use them.
func (c *conn) postRecv(i uint32) abi.Errno {
	return c.os.dev.PostRecv(c.ident, uint64(c.slot)<<32|uint64(i), c.os.bufs.sge(c.bufs[i], c.os.bufs.size))
}

// repost gives a buffer back to the device.
func (c *conn) repost(i uint32) {
	if c.state == connected && c.postRecv(i) != 0 {
		c.broken(unix.EIO)
	}
}

// greet is the Hello of this side.
func (c *conn) greet() []byte {
	r := &c.os.cfg.Rdma
	p := c.os.scratch[:wire.HelloLen]
	(&wire.Hello{Credits: uint16(r.ReceiveBuffers), Buffer: uint32(r.BufferBytes)}).Put(p)
	return p
}

// met takes the peer's Hello.
func (c *conn) met(private []byte) error {
	h, err := wire.ParseHello(private)
	if err != nil {
		return err
	}
	c.limit = min(c.limit, int(h.Credits))
	c.credits = c.limit
	c.maxData = min(int(h.Buffer), c.os.bufs.size) - wire.HeaderLen
	return nil
}

// established begins the traffic.
func (c *conn) established() {
	c.state = connected
	c.local, c.peer = c.os.dev.Name(c.ident)
	for _, a := range c.early {
		c.received(a.slot, a.n)
	}
	c.early = nil
}

// event implements happening.
func (c *conn) event(e *verbs.Event) {
	switch c.state {
	case dialing, greeting:
		if c.listener != nil {
			c.answered(e)
		} else {
			c.dialed(e)
		}
	case connected:
		switch e.Type {
		case verbs.EventDisconnected, verbs.EventTimewaitExit:
			c.broken(unix.ECONNRESET)
		case verbs.EventDeviceRemoval:
			c.broken(unix.ENODEV)
		}
	case ending, parting:
		if e.Type != verbs.EventEstablished {
			c.destroy()
		}
	}
}

// dialed is event for a connection that is being made from here.
func (c *conn) dialed(e *verbs.Event) {
	switch {
	case e.Type == verbs.EventResolved && c.state == dialing:
		c.state = greeting
		err := c.setUp()
		if err == 0 {
			err = c.os.dev.Connect(c.ident, c.greet())
		}
		if err != 0 {
			c.sock.connectEnded(err)
		}
	case e.Type == verbs.EventEstablished && c.state == greeting:
		if c.met(e.Private[:e.PrivateLen]) != nil {
			c.os.stats.BadHellos++
			c.sock.connectEnded(unix.EPROTO)
			return
		}
		c.os.stats.Connected++
		c.established()
		c.sock.connectEnded(0)
	case e.Type == verbs.EventRejected:
		c.sock.connectEnded(refusal(e))
	default:
		err := e.Errno
		if err == 0 {
			err = unix.ECONNREFUSED
		}
		c.sock.connectEnded(err)
	}
}

// refusal is why the peer has rejected a connection.
func refusal(e *verbs.Event) abi.Errno {
	if r, err := wire.ParseReason(e.Private[:e.PrivateLen]); err == nil && r == wire.Mismatch {
		return unix.EPROTO
	}
	return unix.ECONNREFUSED
}

// answered is event for a connection that a listener has agreed to.
func (c *conn) answered(e *verbs.Event) {
	l := c.listener
	c.listener = nil
	l.half--
	if e.Type != verbs.EventEstablished {
		c.destroy()
		l.admit()
		return
	}
	c.os.stats.Accepted++
	c.established()
	l.ready = append(l.ready, c)
	l.accept()
}

// broken is called when the connection cannot go on. What has been received so far is taken in before pops and pushes hear of it.
func (c *conn) broken(err abi.Errno) {
	switch {
	case c.state == ending, c.state == parting:
		c.destroy()
	case c.state == connected && c.cause == 0:
		c.cause, c.brokeAt = err, c.os.round
		c.os.dying = append(c.os.dying, c)
	}
}

// fault is broken for a peer that does not keep to the protocol.
func (c *conn) fault() {
	c.os.stats.Faults++
	c.deaf = true
	c.broken(unix.EPROTO)
}

// bury ends a broken connection.
func (c *conn) bury() {
	if c.state != connected {
		return
	}
	c.destroy()
	c.err = c.cause
	if s := c.sock; s != nil {
		s.lost()
		c.serve()
	}
}

// close is for a socket that is closed: the peer gets what was pushed, and the end.
func (c *conn) close() {
	if c.writing > 0 {
		c.reclaim()
	}
	if c.state != connected || c.cause != 0 {
		c.destroy()
		c.drop()
		return
	}
	if c.nwindows > 0 { // a write that fails would end the connection before the peer has read everything
		c.block = &c.sock.in
	}
	c.sock = nil
	c.drop()
	c.control(wire.Message{Type: wire.Fin})
	if c.cause != 0 {
		c.destroy()
		return
	}
	c.state = ending
	c.until = c.os.now() + c.os.linger()
	c.os.leaving = append(c.os.leaving, c)
}

// destroy takes away all that the device has of the connection. Received data stays for the pops.
func (c *conn) destroy() {
	if c.state == dead {
		return
	}
	o := c.os
	c.state = dead
	o.dev.Destroy(c.ident)
	delete(o.byID, c.ident)
	o.leave(c.slot)
	c.revoke()
	if c.block != nil {
		c.block.Drop()
		c.block = nil
	}
	for ; c.tail != c.head; c.tail++ {
		c.over(&c.ring[c.tail%uint32(len(c.ring))])
	}
	c.writing = 0
	for i := range c.held {
		p := c.piece(i)
		c.bufs[p.slot] = none
	}
	for _, b := range c.bufs {
		if b != none {
			o.bufs.put(b)
		}
	}
	c.bufs, c.ring = nil, nil
}

// drop forgets what no pop has wanted.
func (c *conn) drop() {
	for ; c.held > 0; c.held-- {
		p := c.piece(0)
		if c.state == dead {
			c.os.bufs.put(p.buf)
		}
		c.first++
	}
}

func (c *conn) piece(i int) *piece { return &c.fifo[(c.first+i)%len(c.fifo)] }

// completed implements end.
func (c *conn) completed(e *verbs.Completion) {
	switch {
	case e.Status != verbs.StatusSuccess:
		c.failed(e)
	case e.Op == verbs.OpRecv:
		c.received(uint32(e.WRID), e.Bytes)
	default:
		c.gone(uint32(e.WRID))
	}
}

// failed is completed for an error. After the first one, all the others are flushed.
func (c *conn) failed(e *verbs.Completion) {
	if c.state == greeting {
		return // an event will tell
	}
	err := verbs.StatusErrno(e.Status)
	switch {
	case e.Op == verbs.OpRecv && (e.Status == verbs.StatusLocalLength || e.Status == verbs.StatusLocalQP):
		c.fault() // a message longer than the buffers: the latter is what soft-RoCE says
		return
	case e.Op == verbs.OpWrite && e.Status == verbs.StatusRemoteKey:
		err = unix.ECONNRESET // the peer has closed its end
	case e.Status == verbs.StatusLocalQP:
		err = unix.ENETDOWN // that of soft-RoCE whose interface does not send
	}
	c.broken(err)
}
