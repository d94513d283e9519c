package verbs

/*
#include "shim/shim.h"
*/
import "C"

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/clock"
	"github.com/libdmtr/libdmtr/runtime/shortcall"
)

// Config says which device to open.
type Config struct {
	Device  string  // its name; "": the one that has Address
	Address [4]byte // zeros: the first device that has an IPv4 address
}

// state is how far a connection is.
type state uint8

const (
	stateDialing state = iota
	stateResolved
	stateRequested
	stateConnecting // or accepting: requests can be posted
	stateUp
	stateOver
	stateListening // and all that is no connection
)

// conn is what is behind an ID.
type conn struct {
	id        ID
	c         *cID
	state     state
	hasQP     bool
	datagrams bool
	broken    bool // the device has refused a request
	maxSGE    int
	maxInline int
	send      work
	recv      work
}

// device is a Device of rdma-core. The library does not depend on that: Open loads libdmtr-rdma.so, a small library in C (folder shim),
// which does. Post* write to memory that both share, and one call of its function burst posts and polls. Threads that rdma-core may start
// have all signals blocked.
type device struct {
	attr   Attr
	c      *cDevice
	shim   shim
	caller shortcall.Caller
	conns  table[*conn]
	mrs    table[unsafe.Pointer]
	ahs    table[unsafe.Pointer]

	packets  uint64       // that the next burst sends, about
	refused  []Completion // to be given by the next Poll
	held     uint32       // completions that Arm has found: those from here on
	heldEnd  uint32
	notice   int // an eventfd: see notify
	noticed  bool
	armed    bool // since the last Poll
	clock    *clock.Clock
	polls    uint32
	looked   int64 // when events were looked for
	more     bool  // there may be more events than were taken
	pollfd   unix.PollFd
	counters counters
	closed   bool
}

// Open opens a device. The error is an *Error; ENODEV if there is none, or no libdmtr-rdma.so.
func Open(cfg *Config) (Device, error) {
	s, err := load()
	if err != nil {
		return nil, err
	}
	caller, err := shortcall.New()
	if err != nil {
		return nil, &Error{unix.ENOMEM, "RDMA: no memory for a stack"}
	}
	notice, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		caller.Close()
		return nil, &Error{err.(unix.Errno), "RDMA: eventfd"}
	}
	c, err := s.open(cfg)
	if err != nil {
		caller.Close()
		unix.Close(notice)
		return nil, err
	}
	d := &device{c: c, shim: s, caller: caller, notice: notice, clock: clock.New()}
	d.pollfd = unix.PollFd{Fd: int32(c.event_fd), Events: unix.POLLIN}
	d.attr = Attr{
		Name: C.GoString(&c.name[0]), MaxInline: int(c.max_inline), MaxSGE: int(c.max_sge), MaxWR: int(c.max_wr), MaxCQE: int(c.max_cqe),
		MaxQP: int(c.max_qp), MaxReadAtomic: uint8(min(c.max_read_atomic, 255)), PortMTU: int(c.port_mtu),
		Addr: *(*[4]byte)(unsafe.Pointer(&c.address)),
	}
	return d, nil
}

func (d *device) Attr() Attr { return d.attr }

func (d *device) Register(p unsafe.Pointer, n uint64, peers Access) (MR, abi.Errno) {
	if n == 0 || p == nil {
		return MR{}, unix.EINVAL
	}
	mr, errno := d.shim.register(d.c, p, n, peers)
	if errno != 0 {
		return MR{}, errno
	}
	handle := d.mrs.add(mr.mr)
	if handle == 0 {
		d.shim.deregister(mr.mr)
		return MR{}, unix.ENOMEM
	}
	return MR{Handle: handle, LKey: uint32(mr.lkey), RKey: uint32(mr.rkey), Addr: uint64(uintptr(p)), Len: n}, 0
}

func (d *device) Deregister(mr MR) {
	if m, ok := d.mrs.get(mr.Handle); ok {
		d.mrs.remove(mr.Handle)
		d.shim.deregister(m)
	}
}

// own makes an ID of what the shim has made.
func (d *device) own(c *cID, s state) (*conn, abi.Errno) {
	conn := &conn{c: c, state: s}
	handle := d.conns.add(conn)
	if handle == 0 {
		d.shim.destroy(c)
		return nil, unix.ENOMEM
	}
	conn.id = ID(handle)
	c.name = C.uint32_t(handle)
	return conn, 0
}

func (d *device) conn(id ID) *conn {
	c, _ := d.conns.get(uint32(id))
	return c
}

func (d *device) Listen(addr *abi.SockaddrIn, backlog int) (ID, abi.Errno) {
	if addr.Family != unix.AF_INET {
		return 0, unix.EAFNOSUPPORT
	}
	c, errno := d.shim.listen(d.c, addr, max(1, min(backlog, 4096)))
	return d.given(c, errno, stateListening)
}

// given is the ID for what a function of the shim gives.
func (d *device) given(c *cID, errno abi.Errno, s state) (ID, abi.Errno) {
	if errno != 0 {
		return 0, errno
	}
	conn, errno := d.own(c, s)
	if errno != 0 {
		return 0, errno
	}
	return conn.id, 0
}

func (d *device) Dial(addr, local *abi.SockaddrIn) (ID, abi.Errno) {
	if addr.Family != unix.AF_INET || local != nil && local.Family != unix.AF_INET {
		return 0, unix.EAFNOSUPPORT
	}
	c, errno := d.shim.dial(d.c, addr, local, nil)
	return d.given(c, errno, stateDialing)
}

func (d *device) Resolve(from ID, addr *abi.SockaddrIn) (ID, abi.Errno) {
	conn := d.conn(from)
	if conn == nil || !conn.datagrams {
		return 0, unix.EINVAL
	}
	if addr.Family != unix.AF_INET {
		return 0, unix.EAFNOSUPPORT
	}
	c, errno := d.shim.dial(d.c, addr, nil, conn.c)
	return d.given(c, errno, stateListening)
}

// params checks what a QP is to have.
func (d *device) params(p *QPParams) (c cParams, errno abi.Errno) {
	if p.SendWR < 1 || p.SendWR > d.attr.MaxWR || p.RecvWR < 1 || p.RecvWR > d.attr.MaxWR || p.SendWR+p.RecvWR > d.attr.MaxCQE ||
		p.MaxSGE < 1 || p.MaxSGE > d.attr.MaxSGE || p.Inline < 0 || p.Inline > d.attr.MaxInline || p.AckTimeout > 31 {
		return c, unix.EINVAL
	}
	c.send_wr, c.recv_wr = C.uint32_t(p.SendWR), C.uint32_t(p.RecvWR)
	c.max_sge, c.max_inline = C.uint32_t(p.MaxSGE), C.uint32_t(p.Inline)
	c.ack_timeout = C.uint8_t(p.AckTimeout)
	return c, 0
}

// queues notes what the QP of a connection has.
func (c *conn) queues(p *QPParams, has *cParams) {
	c.hasQP = true
	c.maxSGE, c.maxInline = min(int(has.max_sge), MaxSGE), min(int(has.max_inline), MaxInline)
	c.send, c.recv = newWork(p.SendWR), newWork(p.RecvWR)
}

func (d *device) CreateQP(id ID, p *QPParams) abi.Errno {
	conn := d.conn(id)
	if conn == nil {
		return unix.EINVAL
	}
	if conn.hasQP || conn.state != stateResolved && conn.state != stateRequested {
		return unix.ENOTCONN
	}
	c, errno := d.params(p)
	if errno == 0 {
		errno = d.shim.createQP(conn.c, &c)
	}
	if errno == 0 {
		conn.queues(p, &c)
	}
	return errno
}

func (d *device) Datagram(local *abi.SockaddrIn, p *QPParams) (ID, abi.Errno) {
	if local.Family != unix.AF_INET {
		return 0, unix.EAFNOSUPPORT
	}
	c, errno := d.params(p)
	if errno != 0 {
		return 0, errno
	}
	made, errno := d.shim.datagram(d.c, local, &c)
	if errno != 0 {
		return 0, errno
	}
	conn, errno := d.own(made, stateListening)
	if errno != 0 {
		return 0, errno
	}
	conn.datagrams = true
	conn.queues(p, &c)
	return conn.id, 0
}

func (d *device) QPN(id ID) (qpn, qkey uint32) {
	if conn := d.conn(id); conn != nil && conn.hasQP {
		return d.shim.qpn(conn.c), qkeyOfAll
	}
	return 0, 0
}

// qkeyOfAll is RDMA_UDP_QKEY.
const qkeyOfAll = 0x01234567

func (d *device) Connect(id ID, private []byte) abi.Errno {
	return d.start(id, stateResolved, private, MaxPrivateConnect, d.shim.connect)
}

func (d *device) Accept(id ID, private []byte) abi.Errno {
	return d.start(id, stateRequested, private, MaxPrivateAccept, d.shim.accept)
}

func (d *device) start(id ID, from state, private []byte, limit int, call func(*cID, []byte) abi.Errno) abi.Errno {
	conn := d.conn(id)
	if conn == nil || len(private) > limit {
		return unix.EINVAL
	}
	if conn.state != from || !conn.hasQP {
		return unix.ENOTCONN
	}
	d.Flush()
	errno := call(conn.c, private)
	if errno == 0 {
		conn.state = stateConnecting
	}
	return errno
}

func (d *device) Reject(id ID, private []byte) abi.Errno {
	conn := d.conn(id)
	if conn == nil || len(private) > MaxPrivateReject {
		return unix.EINVAL
	}
	if conn.state != stateRequested {
		return unix.ENOTCONN
	}
	d.Flush()
	d.conns.remove(uint32(id))
	return d.shim.reject(conn.c, private)
}

func (d *device) Disconnect(id ID) {
	if conn := d.conn(id); conn != nil && (conn.state == stateConnecting || conn.state == stateUp) {
		d.Flush()
		conn.state = stateOver
		d.shim.disconnect(conn.c)
	}
}

func (d *device) Destroy(id ID) {
	if conn := d.conn(id); conn != nil {
		d.Flush() // what is to be posted points to it
		d.conns.remove(uint32(id))
		d.shim.destroy(conn.c)
	}
}

func (d *device) Name(id ID) (local, peer abi.SockaddrIn) {
	if conn := d.conn(id); conn != nil {
		return d.shim.address(conn.c)
	}
	return local, peer
}

func (d *device) NewAH(from ID, addr *abi.SockaddrIn) (uint32, abi.Errno) {
	conn := d.conn(from)
	if conn == nil || !conn.datagrams {
		return 0, unix.EINVAL
	}
	ah, errno := d.shim.newAH(conn.c, addr)
	if errno != 0 {
		return 0, errno
	}
	return d.ownAH(ah)
}

func (d *device) ownAH(ah unsafe.Pointer) (uint32, abi.Errno) {
	handle := d.ahs.add(ah)
	if handle == 0 {
		d.shim.freeAH(ah)
		return 0, unix.ENOMEM
	}
	return handle, 0
}

func (d *device) FreeAH(handle uint32) {
	if ah, ok := d.ahs.get(handle); ok {
		d.Flush() // what is to be posted points to it
		d.ahs.remove(handle)
		d.shim.freeAH(ah)
	}
}

func (d *device) Close() {
	if d.closed {
		return
	}
	d.Flush()
	d.closed = true
	d.conns.all(func(c *conn) { d.shim.destroy(c.c) })
	d.ahs.all(d.shim.freeAH)
	d.mrs.all(d.shim.deregister)
	d.shim.close(d.c)
	d.caller.Close()
	unix.Close(d.notice)
	d.c = nil
	d.conns, d.ahs, d.mrs = table[*conn]{}, table[unsafe.Pointer]{}, table[unsafe.Pointer]{}
}
