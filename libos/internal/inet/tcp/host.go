package tcp

import (
	"syscall"

	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// Host is TCP of one host.
type Host struct {
	Counters Counters

	ip      *ip.Host
	wheel   *timer.Wheel
	cfg     Config
	opts    Options // by default
	rcfg    recoveryConfig
	secret  secret
	scale   uint8          // that we announce
	offered wire.OptionSet // of a SYN

	last      *Conn // that had the last segment
	table     table
	listeners map[listenKey]*Listener
	blocks    blocks
	conns     connList // all in the table
	burst     *Conn    // that have ackSoon
	delayed   delayed
	dead      *Conn // that nobody has any more, but for the burst under way
	spareConn *Conn // list of those to be used again
	spareLstn []*Listener
	late      lateACKs
	ahead     ahead

	embryos   [maxSynTries + 1]miniList // by how often the SYN-ACK has gone out again
	timeWaits miniList
	spareMini *mini
	embryoTmr timer.Timer
	waitTmr   timer.Timer

	seg     segment // that Input is working on
	event   ackEvent
	sacked  [4]sackRange // of that segment
	scratch ip.Path      // to peers that have no Conn
	resets  limiter
	draws   uint64
}

// New makes TCP on top of h.
func New(h *ip.Host, timers *timer.Wheel, cfg *Config) *Host {
	t := &Host{ip: h, wheel: timers, cfg: *cfg, secret: secretFrom(cfg.Secret), listeners: map[listenKey]*Listener{}}
	c := &t.cfg
	c.setDefaults()
	t.opts = Options{Nagle: c.Nagle, KeepIdle: c.KeepIdle, KeepInterval: c.KeepInterval, KeepProbes: c.KeepProbes, UserTimeout: c.UserTimeout, Class: h.Class()}
	for !c.NoScale && c.ReceiveBuffer>>t.scale > 0xffff {
		t.scale++
	}
	t.offered = wire.HasMSS
	if !c.NoScale {
		t.offered |= wire.HasScale
	}
	if !c.NoSACK {
		t.offered |= wire.HasSACKPermitted
	}
	if !c.NoTimestamps {
		t.offered |= wire.HasTimestamps
	}
	t.blocks.limit = c.Memory
	t.rcfg = recoveryConfig{initialRTO: second, minRTO: c.MinRTO, maxRTO: c.MaxRTO, maxAckWait: maxAckWait, minProbe: minProbe, blocks: &t.blocks}
	if c.Congestion == "reno" {
		t.rcfg.algorithm = Reno
	}
	t.table = newTable(t.secret)
	t.delayed.init(t)
	t.embryoTmr.Owner, t.waitTmr.Owner = t, t
	h.Register(wire.ProtoTCP, t)
	return t
}

// Close resets all connections without telling their handlers, and frees everything.
func (h *Host) Close() {
	for h.conns.head != nil {
		c := h.conns.head
		c.handler = nil
		c.sendReset()
		c.destroy()
	}
	for _, l := range h.listeners {
		l.Close()
	}
	for h.timeWaits.head != nil {
		h.dropMini(h.timeWaits.head)
	}
	h.wheel.Remove(&h.embryoTmr)
	h.wheel.Remove(&h.waitTmr)
	h.wheel.Remove(&h.delayed.timer)
	h.blocks.close()
}

// segment is what Input takes from a segment at first.
type segment struct {
	key   key
	seq   wire.Seq
	ack   wire.Seq
	flags wire.TCPFlags
	wnd   uint32 // as in the header
	data  []byte
	opt   wire.Options
}

// stamped tells whether there are timestamps.
func (s *segment) stamped() bool { return s.opt.Has&wire.HasTimestamps != 0 }

// length is what the segment takes of the sequence space (SEG.LEN).
func (s *segment) length() int {
	n := len(s.data)
	if s.flags&wire.SYN != 0 {
		n++
	}
	if s.flags&wire.FIN != 0 {
		n++
	}
	return n
}

// Input implements ip.Protocol.
func (h *Host) Input(p *ip.Packet) {
	h.Counters.Received++
	t, ok := wire.ParseTCP(p.Data)
	if !ok {
		h.Counters.BadHeaders++
		return
	}
	if !p.SumGood && wire.Fold(wire.Sum(t, wire.PseudoSum(p.Src, p.Dst, wire.ProtoTCP, len(t)))) != 0xffff { // MUST-3
		h.Counters.BadSums++
		return
	}
	k := keyOf(p.Dst, t.DstPort(), p.Src, t.SrcPort())
	c := h.last
	if c == nil || !c.key.is(k) {
		var m *mini
		if c = h.ahead.find(k); c == nil {
			if s := h.table.find(k); s != nil {
				c, m = s.conn, s.mini
			}
		}
		if c == nil {
			h.inputOther(t, k, m, p.Group)
			return
		}
		h.last = c
	}
	c.input(t)
}

// inputOther handles a segment for which there is no Conn.
func (h *Host) inputOther(t wire.TCP, k key, m *mini, group bool) {
	s := &h.seg
	s.take(t)
	s.key = k
	remote := k.remote()
	if group || remote.Addr == 0 || remote.Addr.Multicast() || remote.Port == 0 { // MUST-57, MUST-63
		h.Counters.NoConnection++
		return
	}
	switch {
	case m != nil && m.kind == isEmbryo:
		h.inputEmbryo(m, s)
	case m != nil:
		if h.inputTimeWait(m, s) {
			h.inputListen(s)
		}
	default:
		h.inputListen(s)
	}
}

func (s *segment) take(t wire.TCP) {
	s.seq, s.ack, s.flags, s.wnd, s.data = t.Seq(), t.Ack(), t.Flags(), uint32(t.Window()), t.Payload()
	s.opt.Parse(t.Options())
}

// Failed implements ip.Protocol: a segment of ours did not arrive, or somebody says so. Only what names a segment in
// flight is believed (RFC 5927, section 4).
func (h *Host) Failed(f *ip.Failure) {
	if len(f.Data) < 8 {
		return
	}
	t := wire.TCP(f.Data)
	s := h.table.find(keyOf(f.Local, t.SrcPort(), f.Remote, t.DstPort()))
	if s == nil || s.conn == nil {
		return
	}
	c := s.conn
	if seq := t.Seq(); !f.Here && (seq.Before(c.sndUna) || !seq.Before(c.sndNxt)) {
		return
	}
	switch {
	case f.MTU > 0 && !f.Here:
		h.Counters.PathTooBig++
		h.ip.TooBig(f)
		c.followMTU()
		c.output()
	case c.state == SynSent && (f.Hard || f.Here): // MUST-56 and RFC 5461: later, and soft errors, are only noted
		h.Counters.HardErrors++
		c.fail(f.Errno)
	default:
		h.Counters.SoftErrors++
		c.softErr = f.Errno
	}
}

// limiter lets so many events pass in each period.
type limiter struct {
	start int64
	n     uint32
}

func (l *limiter) allow(now, period int64, limit uint32) bool {
	if now-l.start >= period || l.n == 0 {
		l.start, l.n = now, 0
	}
	l.n++
	return l.n <= limit
}

// answerReset sends a RST for a segment that belongs to no connection (RFC 9293, 3.10.7.1).
func (h *Host) answerReset(s *segment) {
	h.Counters.NoConnection++
	if s.flags&wire.RST != 0 {
		return
	}
	if !h.resets.allow(h.ip.Now(), second, maxResets) {
		h.Counters.ResetsHeld++
		return
	}
	h.Counters.ResetsSent++
	if s.flags&wire.ACK != 0 {
		h.sendBare(s.key, h.opts.Class, s.ack, 0, wire.RST, 0, 0, 0)
		return
	}
	h.sendBare(s.key, h.opts.Class, 0, s.seq+wire.Seq(s.length()), wire.RST|wire.ACK, 0, 0, 0)
}

// sendBare sends a segment without data for what is no Conn. A stamp of 0 and echo of 0: no timestamps.
func (h *Host) sendBare(k key, class ip.Class, seq, ack wire.Seq, flags wire.TCPFlags, wnd uint16, stamp, echo uint32) {
	b := h.room(k, class)
	if b == nil {
		return
	}
	n := wire.TCPLen
	if stamp != 0 || echo != 0 {
		wire.PutTimestamps(b[n:], stamp, echo)
		n += stampLen
	}
	h.send(k, b, n, seq, ack, flags, wnd)
}

// room finds the way to the peer of what is no Conn, and returns room for a segment; nil: there is none.
func (h *Host) room(k key, class ip.Class) []byte {
	h.scratch.Class = class
	if h.ip.Path(&h.scratch, k.local().Addr, k.remote().Addr) != 0 {
		return nil
	}
	b := h.ip.Buffer(&h.scratch)
	if b == nil {
		h.Counters.NoBuffer++
	}
	return b
}

// send sends the segment in what room has returned: a header of n bytes, whose options are there.
func (h *Host) send(k key, b []byte, n int, seq, ack wire.Seq, flags wire.TCPFlags, wnd uint16) {
	wire.TCP(b).Put(k.local().Port, k.remote().Port, seq, ack, n, flags, wnd)
	h.Counters.Sent++
	h.ip.Send(&h.scratch, n, wire.ProtoTCP, sumAt)
}

// Connect starts an active open. A local address or port of 0 is chosen. The handler is told of the end.
func (h *Host) Connect(local wire.Addr, lport uint16, remote wire.Addr, rport uint16, hd Handler) (*Conn, abi.Errno) {
	return h.ConnectWith(&h.opts, local, lport, remote, rport, hd)
}

// ConnectWith is Connect of a connection that has options of its own.
func (h *Host) ConnectWith(o *Options, local wire.Addr, lport uint16, remote wire.Addr, rport uint16, hd Handler) (*Conn, abi.Errno) {
	switch {
	case remote == 0 || rport == 0:
		return nil, syscall.EINVAL
	case remote.Multicast() || h.ip.Broadcast(remote): // MUST-46
		return nil, syscall.ENETUNREACH
	case h.conns.n >= h.cfg.MaxConnections:
		return nil, syscall.ENOBUFS
	}
	c := h.newConn()
	if c.handler, c.opts = hd, o; o != &h.opts {
		c.own = *o
		c.opts = &c.own
	}
	c.path.Class = o.Class
	if err := h.ip.Path(&c.path, local, remote); err != 0 {
		h.spare(c)
		return nil, err
	}
	local = c.path.Local
	if lport == 0 {
		if lport = h.choosePort(local, remote, rport); lport == 0 {
			h.spare(c)
			return nil, syscall.EADDRNOTAVAIL
		}
	} else if !h.reusable(keyOf(local, lport, remote, rport)) {
		h.spare(c)
		return nil, syscall.EADDRINUSE
	}
	c.key = keyOf(local, lport, remote, rport)
	c.open()
	h.Counters.ActiveOpens++
	return c, 0
}

// choosePort finds a port for a connection to remote, starting anywhere (RFC 6056, section 3.3.1).
func (h *Host) choosePort(local, remote wire.Addr, rport uint16) uint16 {
	n := uint64(h.cfg.LastPort-h.cfg.FirstPort) + 1
	start := h.random() % n
	for i := range n {
		p := h.cfg.FirstPort + uint16((start+i)%n)
		if h.listener(local, p) == nil && h.reusable(keyOf(local, p, remote, rport)) {
			return p
		}
	}
	return 0
}

// reusable tells whether a new connection may have the key: nothing has it, or a TIME-WAIT with timestamps, which
// tell old segments from new ones (RFC 6191), that has seen a second pass.
func (h *Host) reusable(k key) bool {
	s := h.table.find(k)
	return s == nil || s.mini != nil && s.mini.kind == isTimeWait && s.mini.stamped() && h.ip.Now()-s.mini.at > second
}

// PortFree tells whether a socket may be bound to the port: 0 or EADDRINUSE. Connections in the table do not count,
// as with SO_REUSEADDR.
func (h *Host) PortFree(local wire.Addr, port uint16) abi.Errno {
	if h.listenerIn(local, port) {
		return syscall.EADDRINUSE
	}
	return 0
}
