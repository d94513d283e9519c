package tcp

// State is the state of a connection (RFC 9293, section 3.3.2).
type State uint8

// States.
const (
	Closed State = iota
	SynSent
	SynReceived
	Established
	FinWait1
	FinWait2
	CloseWait
	Closing
	LastACK
	TimeWait
)

var stateNames = [...]string{"CLOSED", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2",
	"CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT"}

func (s State) String() string { return stateNames[s] }

// Info is what a connection tells of itself, after Linux's tcp_info. Times are in nanoseconds.
type Info struct {
	State         State
	Timestamps    bool // options in use
	SACK          bool
	SendScale     uint8
	ReceiveScale  uint8
	Recovering    bool // in fast recovery
	Backoffs      uint8
	MSS           int
	PathMTU       int
	SRTT, RTTVar  int64
	MinRTT        int64
	RTO           int64
	CongestionWnd int
	SlowStart     int // ssthresh
	SendWnd       int // the peer's window
	ReceiveWnd    int // ours
	InFlight      int // bytes outstanding
	Unsent        int // bytes that wait in the send buffer
	Unread        int // bytes in order in the receive buffer

	BytesSent, BytesAcked, BytesReceived uint64
	SegmentsSent, SegmentsReceived       uint64
	Retransmits                          uint64 // segments
	DuplicateACKs, OutOfOrder            uint64
}

// Counters of a Host.
type Counters struct {
	Received, Sent                uint64 // segments
	BadHeaders, BadSums           uint64
	ActiveOpens, PassiveOpens     uint64
	Established                   uint64 // at present
	FailedOpens                   uint64
	Retransmits                   uint64 // segments, for whatever reason
	FastRetransmits, RTOs, Probes uint64 // recoveries begun, timeouts, tail loss probes
	WindowProbes                  uint64
	OutOfOrder, Duplicates        uint64 // segments received
	DuplicateACKs                 uint64
	OutOfWindow                   uint64
	PAWSDrops                     uint64
	ChallengeACKs                 uint64
	ChallengesHeld                uint64 // not sent, for the rate limit
	BadACKs                       uint64
	NoConnection                  uint64 // segments for nobody
	ResetsSent, ResetsReceived    uint64
	ResetsHeld                    uint64
	CookiesSent, CookiesAccepted  uint64
	CookiesFailed                 uint64
	ListenOverflows               uint64 // SYNs and third segments dropped for a full backlog
	TimeWaits                     uint64 // at present
	TimeWaitsReused               uint64
	TimeWaitsDropped              uint64 // before their time, for want of room
	Orphans                       uint64 // at present
	OrphansReset                  uint64
	Timeouts                      uint64 // connections that died for want of an answer
	KeepaliveProbes               uint64
	NoBuffer                      uint64 // segments put off, as the device had no room
	NoMemory                      uint64 // segments received and dropped
	PathTooBig, BlackHoles        uint64
	SoftErrors, HardErrors        uint64 // ICMP
}

// Info fills in i.
func (c *Conn) Info(i *Info) {
	c.host.Settle()
	r := &c.recovery
	*i = Info{State: c.state, Timestamps: c.flags&hasStamps != 0, SACK: c.flags&hasSACK != 0, SendScale: c.sndScale,
		ReceiveScale: c.rcvScale, MSS: c.mss, PathMTU: c.path.MTU(), SRTT: r.rtt.srtt, RTTVar: r.rtt.rttvar,
		MinRTT: r.rtt.minimum(), RTO: r.rtt.timeout(), Backoffs: r.rtt.backoff, CongestionWnd: r.cc.cwnd,
		SlowStart: r.cc.ssthresh, SendWnd: c.sndWnd, ReceiveWnd: c.rcvAdv.Since(c.rcvNxt), Unread: c.rcv.len(),
		BytesAcked: c.bytesAcked, BytesReceived: c.bytesRcvd, SegmentsSent: c.segsSent,
		SegmentsReceived: c.segsRcvd, Retransmits: c.resent, DuplicateACKs: uint64(c.dupAcks),
		OutOfOrder: uint64(c.outOfOrder)}
	if c.state >= Established {
		i.Recovering = r.state != stateOpen
		i.BytesSent = c.bytesAcked + uint64(min(c.sndNxt.Since(c.sndUna), c.snd.len()))
		i.InFlight = c.sndNxt.Since(c.sndUna)
		i.Unsent = max(0, c.queueEnd().Since(c.sndNxt))
	}
}
