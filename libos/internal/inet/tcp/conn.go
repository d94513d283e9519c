package tcp

import (
	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// flags of a Conn.
type connFlags uint32

const (
	hasStamps    connFlags = 1 << iota // timestamps are in use
	hasSACK                            // SACK is permitted
	ackNow                             // an ACK has to leave
	wantOutput                         // output has to look for something to send
	working                            // in Input or a timer: output is called at the end
	delivering                         // in Received, or Ended
	wantRoom                           // the handler waits for Writable
	closing                            // a FIN follows the data
	finAcked                           // ours was acknowledged
	peerFin                            // theirs has come, at finSeq
	peerDone                           // and all before it
	told                               // Ended(0) was called
	orphan                             // Close was called
	active                             // opened by Connect
	probing                            // a byte beyond the window is on its way
	listed                             // in the table
	released                           // memory has to be freed after Received
	again                              // Pull was called in Received
	ackSoon                            // an ACK is due when the burst has been handled
	inBurst                            // on the list Host.burst
	inDelayed                          // on a list of Host.delayed
	gaps                               // the assembler has something
	rareDeadline                       // one of persistAt, retryAt and waitAt is set
	quick                              // segments in order are acknowledged at once, too
	delayListed                        // in a list of Host.delayed, though perhaps without inDelayed
	givenUp                            // Close or Abort was called, the last call
	buried                             // in Host.dead
)

// Conn is a connection. Names of variables are those of RFC 9293, section 3.3.1: sndUna is SND.UNA.
//
//	Send:     sndUna <= acknowledged up to here | sent | sndNxt | waiting in snd | sndUna + len(snd) = FIN, if closing
//	Receive:  in rcv, unread | rcvNxt | rcvAdv = right edge of the window that the peer was told
type Conn struct {
	// What every segment that comes needs is first, in twelve cache lines, the last of them in recovery: with thousands of connections
	// these are the cost.
	host               *Host
	opts               *Options
	handler            Handler
	key                key
	flags              connFlags
	state              State
	late               uint8 // behind its place in Host.late; 0: it has none
	sndScale, rcvScale uint8
	rcvNxt             wire.Seq
	rcvAdv             wire.Seq
	ackSent            wire.Seq // rcvNxt of the last segment sent (Last.ACK.sent)
	sndNxt             wire.Seq

	sndUna         wire.Seq
	sndWl1, sndWl2 wire.Seq
	tsRecent       uint32
	tsOffset       uint32
	rcvMSS         uint16 // the peer's full segments, as far as seen
	lastSize       uint16 // of a segment with data
	sndWnd, maxWnd int
	mss            int   // bytes of a full segment
	mtu            int   // of the path, when mss was computed
	heard          int64 // when the last segment came
	progress       int64 // since when the oldest byte in flight waits

	// Deadlines of the one timer; never: off. Setting one later, or off, is but a store: a timer that expires for
	// nothing is set anew. There are more among the cold ones, which flags has rareDeadline for.
	resendAt, ackAt int64
	timerAt         int64 // when the timer expires
	bytesRcvd       uint64
	bytesAcked      uint64
	segsRcvd        uint64
	segsSent        uint64
	nextDelayed     *Conn // in Host.delayed
	snd, rcv        ring
	path            ip.Path
	recovery        recovery

	// What is needed seldom.
	assembler                  assembler
	timer                      timer.Timer
	persistAt, retryAt, waitAt int64

	probes   uint8 // keepalive probes unanswered
	persists uint8 // doublings of the persist timer
	synTries uint8
	atOnce   uint8          // segments for which quick stays
	agreed   wire.OptionSet // options of the SYNs that both sides have; MSS always
	iss      wire.Seq
	finSeq   wire.Seq // of the peer's FIN
	peerMSS  int
	limitMTU int       // after a black hole; 0: none
	limitEnd int64     // of that
	probedAt int64     // when the last keepalive probe left
	askedAt  int64     // when the oldest probe, or segment after a timeout, left that has no answer
	softErr  abi.Errno // what ICMP said
	err      abi.Errno // why it died, if the handler does not know yet

	next, prev          *Conn // in Host.conns
	queued              *Conn // next in the accept queue
	nextBurst           *Conn // next in Host.burst
	listener            *Listener
	challenges          limiter
	resent              uint64
	dupAcks, outOfOrder uint32
	own                 Options // if opts is this, and no other connection's
}

// connList is all connections of a Host.
type connList struct {
	head *Conn
	n    int
}

// enter puts the connection into the table.
func (c *Conn) enter() {
	h := c.host
	if s := h.table.find(c.key); s != nil && s.mini != nil {
		h.dropMini(s.mini)
	}
	h.table.put(c.key, c, nil)
	c.flags |= listed
	if c.next = h.conns.head; c.next != nil {
		c.next.prev = c
	}
	h.conns.head = c
	h.conns.n++
	c.timer.Owner = c
	c.resendAt, c.ackAt, c.persistAt, c.retryAt, c.waitAt, c.timerAt = never, never, never, never, never, never
	c.heard = h.ip.Now()
	c.progress = c.heard
}

// leave takes it out of the table.
func (c *Conn) leave() {
	if c.flags&listed == 0 {
		return
	}
	h := c.host
	c.flags &^= listed
	h.table.remove(c.key)
	if h.last == c {
		h.last = nil
	}
	if c.late != 0 {
		h.late.remove(c)
	}
	if c.prev == nil {
		h.conns.head = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.next, c.prev = nil, nil
	h.conns.n--
	h.wheel.Remove(&c.timer)
	h.delayed.forget(c)
	if c.state >= Established {
		h.Counters.Established--
	}
	if c.flags&orphan != 0 {
		h.Counters.Orphans--
	}
}

// destroy ends the connection: CLOSED. It calls nobody.
func (c *Conn) destroy() {
	c.leave()
	c.state = Closed
	c.snd.release(&c.host.blocks)
	c.recovery.reset()
	c.assembler.reset()
	c.bury()
	if c.flags&delivering != 0 {
		c.flags |= released // the handler is reading from the ring
		return
	}
	c.rcv.release(&c.host.blocks)
}

// fail ends the connection and tells the handler why.
func (c *Conn) fail(err abi.Errno) {
	before := c.state
	c.destroy()
	if before < Established {
		c.host.Counters.FailedOpens++
	}
	c.err = err
	c.tellEnd(before)
}

// tellEnd tells the handler of the end of a connection that is dead.
func (c *Conn) tellEnd(before State) {
	hd, err := c.handler, c.err
	if hd == nil || c.flags&delivering != 0 {
		return
	}
	c.handler, c.err = nil, 0
	if c.flags&active != 0 && before < Established {
		hd.Connected(c, err)
		return
	}
	hd.Ended(c, err)
}

// open sends the first SYN.
func (c *Conn) open() {
	h, now := c.host, c.host.ip.Now()
	c.iss = h.isn(c.key)
	if s := h.table.find(c.key); s != nil && s.mini != nil { // beyond all of the last connection
		if next := s.mini.sndNxt + 0x10001; c.iss.Before(next) {
			c.iss = next
		}
		h.Counters.TimeWaitsReused++
	}
	c.init()
	c.sndUna, c.sndNxt = c.iss, c.iss+1
	c.state = SynSent
	c.flags |= active
	c.enter()
	c.peerMSS = defaultMSS
	c.sendSyn(now)
}

// init is what active and passive opens have in common.
func (c *Conn) init() {
	h := c.host
	c.mss = defaultMSS
	c.tsOffset = h.stampOffset(c.key)
	c.recovery.init(&h.rcfg)
	c.rcvMSS = defaultMSS
}

// establish is called when the handshake is complete, and sndUna = iss + 1.
func (c *Conn) establish(now int64) {
	c.state = Established
	c.host.Counters.Established++
	c.mtu = 0
	c.computeMSS()
	c.recovery.start(c.iss+1, c.mss, c.flags&hasSACK != 0, c.flags&hasStamps != 0, now)
	c.resendAt = never
	c.synTries = 0
	c.progress, c.heard = now, now
	c.startKeepalive()
}

// computeMSS finds what a full segment carries (RFC 6691; MUST-16) and tells whether it changed.
func (c *Conn) computeMSS() bool {
	mtu := c.path.MTU()
	if mtu == c.mtu {
		return false
	}
	c.mtu = mtu
	if c.limitMTU > 0 {
		mtu = min(mtu, c.limitMTU)
	}
	mss := min(c.peerMSS, mtu-wire.IPv4Len-wire.TCPLen)
	if c.host.cfg.MSS > 0 {
		mss = min(mss, c.host.cfg.MSS)
	}
	if c.flags&hasStamps != 0 {
		mss -= stampLen
	}
	c.mss = max(mss, minMSS-stampLen)
	return true
}

// followMTU adapts to the path MTU.
func (c *Conn) followMTU() {
	if c.state >= Established && c.computeMSS() {
		c.recovery.setMSS(c.mss)
		c.flags |= wantOutput
	}
}

// Local is the own end.
func (c *Conn) Local() Endpoint { return c.key.local() }

// Remote is the peer's.
func (c *Conn) Remote() Endpoint { return c.key.remote() }

// State is the state, Closed if the connection is dead.
func (c *Conn) State() State { return c.state }

// SetHandler gives an accepted connection its handler. Call Pull next.
func (c *Conn) SetHandler(hd Handler) { c.handler = hd }

// Room tells how many bytes Write would take.
func (c *Conn) Room() int {
	if c.flags&closing != 0 || c.state == Closed || c.state == TimeWait {
		return 0
	}
	return max(0, c.host.cfg.SendBuffer-c.snd.len())
}

// Write copies as much of p as fits to the send buffer and returns how much that was. If that is not all, Writable
// is called when there is room again. Nothing leaves before Push. After Shutdown, or at the end of the connection, it
// takes nothing.
func (c *Conn) Write(p []byte) int {
	if c.flags&closing != 0 || c.state == Closed || c.state == TimeWait {
		return 0
	}
	n := c.snd.write(&c.host.blocks, p, c.host.cfg.SendBuffer)
	if n < len(p) {
		c.flags |= wantRoom
		if c.snd.len() < c.host.cfg.SendBuffer { // no memory: nothing may be in flight that would call back
			c.rare(&c.retryAt, c.host.ip.Now()+memoryRetry)
			c.schedule(c.retryAt)
		}
	}
	return n
}

// Push sends what the windows allow.
func (c *Conn) Push() {
	if c.flags&working != 0 {
		c.flags |= wantOutput
		return
	}
	c.output()
	if c.late != 0 {
		c.settle()
	}
}
