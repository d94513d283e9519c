package abi

// CounterNameSize is DMTR_COUNTER_NAME_SIZE.
const CounterNameSize = 56

// Counter is dmtr_counter_t.
type Counter struct {
	Name  [CounterNameSize]byte
	Value uint64
}

// States of a TCP connection, enum dmtr_tcp_state; they are those of Linux, too.
const (
	TCPEstablished uint32 = iota + 1
	TCPSynSent
	TCPSynReceived
	TCPFinWait1
	TCPFinWait2
	TCPTimeWait
	TCPClosed
	TCPCloseWait
	TCPLastACK
	TCPListen
	TCPClosing
)

// Flags of a TCPInfo, enum dmtr_tcp_flags.
const (
	TCPTimestamps uint32 = 1 << iota
	TCPSACK
	TCPWindowScale
	TCPRecovering
)

// TCPInfo is dmtr_tcp_info_t.
type TCPInfo struct {
	State, Flags, MSS, PathMTU                          uint32
	RTT, RTTVar, MinRTT, RTO                            uint64
	CongestionWindow, SlowStart, SendWindow, RecvWindow uint64
	InFlight, Unsent, Unread                            uint64
	BytesSent, BytesAcked, BytesReceived                uint64
	SegmentsSent, SegmentsReceived, Retransmits         uint64
	DuplicateACKs, OutOfOrder                           uint64
}
