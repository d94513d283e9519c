// Package verbs is the device under the RDMA libOS: connections, registered memory, and queues of work. What the names mean is told
// by the manual pages of rdma-core: rdma_cm(7), ibv_post_send(3), ibv_poll_cq(3).
//
// # Call order
//
// A connection (reliable, RC) of the active side: Dial, then EventResolved, CreateQP, PostRecv of its first buffers, Connect, then
// EventEstablished. Of the passive side: Listen, then EventConnectRequest, CreateQP, PostRecv, Accept, then EventEstablished; or
// Reject. Either side: Disconnect, then EventDisconnected at both, and Destroy. Instead of EventEstablished the active side may get
// EventRejected, EventUnreachable or another error.
//
// Datagrams (UD): Datagram, PostRecv, PostSend to where Resolve has led, or to what sent the datagram (NewAH).
//
// # Ownership
//
// An ID is its owner's until Destroy, whatever events come: also after errors, and also those that EventConnectRequest brings. Of what
// one Poll has given something may still be of an ID that was destroyed because of what came before it there. Memory that is given to
// PostSend or PostRecv must stay until its completion, or until Destroy of the ID; but inline sends are copied.
//
// # Threading
//
// One thread at a time. Post*, Flush, Poll and Arm do not allocate; the rest may, and may make system calls that take milliseconds.
package verbs

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
)

// Bounds of this package; those of a device are in its Attr.
const (
	MaxSGE    = 8   // segments of one send
	MaxInline = 256 // bytes of one inline send

	// Private data of the connection manager, in bytes. The receiver gets at least what was sent, with zeros behind: how much of
	// it is meant has to be in it.
	MaxPrivateConnect = 56
	MaxPrivateAccept  = 196
	MaxPrivateReject  = 148

	// GRHBytes of each receive buffer of a datagram are not data: those at its beginning.
	GRHBytes = 40
)

// Attr says what a device can do.
type Attr struct {
	Name          string
	MaxInline     int // bytes, at most MaxInline
	MaxSGE        int // at most the constant MaxSGE
	MaxWR         int // of one queue of a QP
	MaxCQE, MaxQP int
	MaxReadAtomic uint8   // reads under way at a time, in each direction of a connection
	PortMTU       int     // bytes of data in one packet, so the longest datagram
	Addr          [4]byte // IPv4, if it has several the one that connections come from unless told otherwise
}

// MR is registered memory.
type MR struct {
	Handle     uint32
	LKey, RKey uint32
	Addr, Len  uint64
}

// Access is what peers that know the RKey may do with registered memory.
type Access uint8

// RemoteRead and RemoteWrite may be combined.
const (
	RemoteRead Access = 1 << iota
	RemoteWrite
)

// SGE is struct ibv_sge.
type SGE struct {
	Addr uint64
	Len  uint32
	LKey uint32
}

// ID is an identifier of the connection manager with its QP, if it has one. 0 is none. A value does not come again soon.
type ID int32

// Opcode says what a work request does.
type Opcode uint8

// The operations.
const (
	OpSend Opcode = iota
	OpRead
	OpWrite
	OpRecv // in completions
)

// SendWR is a request for the send queue of an ID.
type SendWR struct {
	ID       ID
	Op       Opcode
	Signaled bool // has a completion also if it succeeds; what was posted before on this ID is over by then, too
	Inline   bool // OpSend and OpWrite only: the bytes are copied before PostSend returns; LKey does not matter
	NumSGE   uint8
	WRID     uint64
	SGEs     [MaxSGE]SGE

	// OpRead and OpWrite.
	RemoteAddr uint64
	RKey       uint32

	// Datagrams.
	AH, QPN, QKey uint32
}

// Completion is the end of a request. If Status is not 0, only WRID, ID and Op (OpRecv, or that of the send) say anything.
type Completion struct {
	WRID   uint64
	ID     ID
	Op     Opcode
	Status uint8          // enum ibv_wc_status
	Bytes  uint32         // received; of a datagram with the GRHBytes before it
	SrcQPN uint32         // of a datagram
	Src    abi.SockaddrIn // of a datagram: the IPv4 address of its sender, without a port; Family is 0 if the device does not tell
}

// EventType is enum rdma_cm_event_type.
type EventType uint8

// The events that Poll gives; the device keeps the others for itself.
const (
	EventResolved       EventType = 2 // Dial: the route is known. Resolve: AH, QPN and QKey are
	EventAddrError      EventType = 1
	EventRouteError     EventType = 3
	EventConnectRequest EventType = 4
	EventConnectError   EventType = 6
	EventUnreachable    EventType = 7
	EventRejected       EventType = 8 // by the peer's Reject, with its private data, or because nobody listens
	EventEstablished    EventType = 9
	EventDisconnected   EventType = 10
	EventDeviceRemoval  EventType = 11 // of each ID on the device
	EventTimewaitExit   EventType = 15
)

// Event is something that has happened to an ID.
type Event struct {
	Type        EventType
	PrivateLen  uint8
	ID          ID
	Listener    ID        // ConnectRequest
	Errno       abi.Errno // of error events, never 0 then
	Status      int32     // of error events, as the connection manager tells it; of EventRejected: the reason
	Peer, Local abi.SockaddrIn
	AH          uint32 // Resolve: the receiver's to free by FreeAH
	QPN, QKey   uint32 // Resolve
	Private     [256]byte
}

// QPParams says how large the queues of an ID are to be. The device may make them larger.
type QPParams struct {
	SendWR, RecvWR int
	MaxSGE, Inline int   // of sends
	AckTimeout     uint8 // 4.096 µs << AckTimeout until a packet is sent again; 0: the connection manager's choice
}

// Device is an RDMA device. Besides the errors named, methods with an errno give EINVAL for an ID, handle or parameter that is none,
// ENOTCONN for an ID that is not in the state for the call, and what the system gives.
type Device interface {
	Attr() Attr

	// Register makes memory known to the device, for its own work and for what peers may do, if anything.
	Register(p unsafe.Pointer, n uint64, peers Access) (MR, abi.Errno)
	Deregister(MR)

	// Listen lets connections to addr arrive. Port 0: the device picks one, see Name. EADDRINUSE, EADDRNOTAVAIL.
	Listen(addr *abi.SockaddrIn, backlog int) (ID, abi.Errno)
	// Dial begins to look for the way to addr, from local if that is not nil; its address may be 0.0.0.0 for that of the device.
	Dial(addr, local *abi.SockaddrIn) (ID, abi.Errno)
	// CreateQP gives an ID its queues, after EventResolved or EventConnectRequest; from then on it takes PostRecv. ENOMEM: the
	// device has no more.
	CreateQP(id ID, p *QPParams) abi.Errno
	// Connect and Accept post what is to be posted, then ask the peer or answer it.
	Connect(id ID, private []byte) abi.Errno
	Accept(id ID, private []byte) abi.Errno
	// Reject answers no, and destroys the ID.
	Reject(id ID, private []byte) abi.Errno
	// Disconnect posts what is to be posted and ends the connection: requests that are pending on either side are flushed.
	Disconnect(id ID)
	// Destroy takes the ID away at once; none of its completions and events comes any more. What it had posted but not sent may
	// be lost.
	Destroy(id ID)
	// Name is the addresses of an ID, as far as they are known.
	Name(id ID) (local, peer abi.SockaddrIn)

	// Datagram makes an ID for datagrams that others find at local; port 0: see Listen.
	Datagram(local *abi.SockaddrIn, p *QPParams) (ID, abi.Errno)
	// QPN is what others must know to send to it; its QKey is that of all.
	QPN(id ID) (qpn, qkey uint32)
	// Resolve asks at addr for the datagrams' QP there, on behalf of the ID from. The result, EventResolved or an error, comes for
	// the ID it gives, which has no other use.
	Resolve(from ID, addr *abi.SockaddrIn) (ID, abi.Errno)
	// NewAH makes an address handle to an IPv4 address that is reachable already, as that of who has just sent something.
	NewAH(from ID, addr *abi.SockaddrIn) (uint32, abi.Errno)
	FreeAH(ah uint32)

	// PostSend takes a request, of which wr is not looked at later, for the next Flush or Poll. ENOBUFS: the send queue is full.
	PostSend(wr *SendWR) abi.Errno
	// PostRecv gives a buffer to the receive queue. ENOBUFS: it is full.
	PostRecv(id ID, wrid uint64, sge SGE) abi.Errno
	// Flush posts what was taken. Requests that the device refuses complete with an error at a later Poll.
	Flush()
	// Poll posts, and gives what has come. It looks for events now and then only, but always after Arm.
	Poll(c []Completion, e []Event) (nc, ne int)

	// Fds are descriptors of which, after Arm and until the next Poll, one is readable if Poll would give anything. They may stay
	// readable until the next Arm, and be readable in vain.
	Fds() []int
	Arm()

	Counters(visit func(name string, value uint64))
	// Close destroys everything.
	Close()
}

// The statuses of completions that are told apart: enum ibv_wc_status.
const (
	StatusSuccess     = 0
	StatusLocalLength = 1
	StatusLocalQP     = 2
	StatusLocalAccess = 4
	StatusFlushed     = 5
	StatusBadResponse = 7
	StatusRemoteBad   = 9
	StatusRemoteKey   = 10
	StatusRemoteOp    = 11
	StatusRetries     = 12
	StatusRNRRetries  = 13
)

// StatusErrno is what the status of a completion means for whom it ends the connection.
func StatusErrno(status uint8) abi.Errno {
	switch status {
	case StatusSuccess:
		return 0
	case StatusLocalLength:
		return unix.EMSGSIZE
	case StatusLocalAccess:
		return unix.EFAULT
	case StatusFlushed:
		return unix.ECONNRESET
	case StatusRemoteBad, StatusRemoteKey, StatusRemoteOp, StatusBadResponse:
		return unix.EPROTO
	case StatusRetries, StatusRNRRetries:
		return unix.ETIMEDOUT
	}
	return unix.EIO
}
