package abi

import "syscall"

// State of a token record. These values, and the flags below, are in capi/shared.h as well.
const (
	TokenFree uint32 = iota
	TokenPending
	TokenDone
)

// Flags of a token record.
const (
	// FlagOwned: the result owns the heap block in SGA.Buf until somebody takes it.
	FlagOwned uint32 = 1 << iota
	// FlagBytes: the result is a range of a byte stream, which may be split.
	FlagBytes
	// FlagSeen: dmtr_poll has reported the result, so what it owns is the program's.
	FlagSeen
	// FlagParked: the record is on the parked list instead of the ready list.
	FlagParked
)

// None ends the lists of token records.
const None = ^uint32(0)

// Token is the record of one operation (struct dmtr_token in capi/shared.h), two cache lines in memory that C reads
// without entering Go. Result.QT is the token's value while the record is in use.
type Token struct {
	Seq    uint64 // order of completion
	State  uint32
	Err    uint32 // while a pop is pending: its limit in bytes, or 0
	Hint   uint32 // where a wait_any array last held a token like this one
	Prev   uint32
	Next   uint32
	Flags  uint32
	Result QResult
}

// A token value is qd << 32 | generation << IndexBits | index of the record.
const (
	IndexBits   = 20
	MaxTokens   = 1 << IndexBits
	ChunkTokens = 1024
	MaxChunks   = MaxTokens / ChunkTokens
)

// A queue descriptor is QDBase | generation << QDIndexBits | index, above any file descriptor: Linux keeps those
// below 2^30.
const (
	QDBase      = 1 << 30
	QDIndexBits = 20
	MaxQueues   = 1 << QDIndexBits
)

// List is a doubly linked list of token records.
type List struct {
	Head, Tail, Count uint32
}

// MaxWaitFds bounds the descriptors a blocked wait sleeps on.
const MaxWaitFds = 8

// ScratchLen is the size of the buffer behind Control.Scratch.
const ScratchLen = 64 << 10

// Port is a kernel socket that the C front serves by itself as long as that is simple: it sends small arrays that the
// kernel takes whole, starts a pop, and receives what completes the oldest pop whole (struct dmtr_port in capi/shared.h). What is not so
// simple it hands to the libOS, with the bytes or the error that it has got.
type Port struct {
	QD      int32 // 0: not in use
	FD      int32
	Pop     uint32 // index of the record of the oldest pop, or None; such a pop is on no list
	Want    uint32 // bytes that a pop of a byte stream wants at most
	Misses  uint32 // receives in a row that brought nothing
	Flags   uint32
	Address SockaddrIn // peer, of the socket or of the datagram that is handed over
}

// MaxEvents is how many events of the epoll set are taken at once.
const MaxEvents = 64

// Order is what C needs to know for the sake of the order in which several sockets get data (struct dmtr_order in capi/shared.h).
// While others than the port's wait for data, all of them are in an epoll set, and C
//   - receives nothing for the port if more than Away counts have passed since the last poll, or there are events: Go finds out what came first;
//   - after it has received something takes the events there are, lest the port's stay and stand for later data.
type Order struct {
	Away      uint64 // 0: only the port's socket waits for data
	Polled    uint64 // clock.Count at the last poll, as long as Away counts
	Epfd      int32
	Place     int32  // what names the port's socket in its events
	NumEvents uint32 // taken by C
	Events    [MaxEvents]syscall.EpollEvent
}

// Flags of a port.
const (
	PortMessage   uint32 = 1 << iota // arrays have headers
	PortDatagram                     // UDP
	PortConnected                    // has a peer
	PortPop                          // C may start pops: none is on a list
)

// Lane is what C needs to serve a TCP socket that is not hot: it sends what the kernel takes whole, and starts a pop for which
// there is nothing yet (struct dmtr_lane in capi/shared.h). What is received, and all else, is the libOS's.
type Lane struct {
	QD    int32 // 0: not in use
	FD    int32
	Pop   uint32 // index + 1 of the record of the only pop, which is on no list; 0: none
	Flags uint32
}

// Flags of a lane.
const (
	LaneMessage uint32 = 1 << iota // arrays have headers
	LanePush                       // C may send: no push waits
	LanePop                        // C may start a pop: there is none, nor anything for it
)

// Control is the state shared with the C front (struct dmtr_control in capi/shared.h). All of it is read and written
// under the front's lock, but for Want, which asks the holder to let go.
type Control struct {
	Seq      uint64 // completions so far
	Want     uint32 // threads that wait for the lock
	Blocked  uint32 // threads asleep in a wait
	WaitMode uint32
	SpinNs   uint32
	Broken   uint32 // the engine has panicked: every wait ends with EIO
	Forked   uint32 // there has been a child process, which may hold copies of all descriptors
	Keep     uint32 // the libOS must be polled even while the program makes no calls
	Polls    uint32 // how often it has been
	Ready    List   // completed tokens that no wait has looked for yet, oldest first
	Parked   List   // completed tokens that a wait_any looked for in its array and missed
	Free     List   // records without a token
	NumFds   uint32
	Fds      [MaxWaitFds]int32
	Port     Port
	Scratch  Ptr // ScratchLen bytes, for one receive
	Order    Order
	MaxMsg   uint64 // Limits.MaxMessage
	MaxPop   uint32 // Limits.MaxPop
	Chunks   [MaxChunks]*[ChunkTokens]Token
	Lanes    *[MaxQueues]Lane      // per queue index
	Hints    *[MaxQueues][2]uint32 // per queue index: Hint for the next push and for the next pop or accept
}
