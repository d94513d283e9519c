package tcp

import (
	"cmp"
	"container/heap"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// testPath is a path with faults in both directions, and what the two ends can do.
type testPath struct {
	delay   int64   // one way, ns
	jitter  int64   // added at random
	loss    float64 // of data
	ackLoss float64
	dup     float64
	rate    int64 // bytes/s of data; 0: no bound
	queue   int   // bytes before the bottleneck
	noSACK  bool
	noStamp bool
	delayed bool  // delayed ACKs
	pause   int64 // nothing passes in the first pause ns of every other second, and nothing is lost
	algo    Algorithm
	total   int
	window  int // of the receiver
}

type testPacket struct {
	at         int64
	order      int
	ack        bool
	start, end wire.Seq
	blocks     []sackRange
	stamp      uint32
}

type packetHeap []testPacket

func (h packetHeap) Len() int { return len(h) }
func (h packetHeap) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].at, h[j].at), cmp.Compare(h[i].order, h[j].order)) < 0
}
func (h packetHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *packetHeap) Push(x any)   { *h = append(*h, x.(testPacket)) }
func (h *packetHeap) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return x
}

// testSender sends total bytes through a recovery to a receiver over a path.
type testSender struct {
	t        *testing.T
	p        testPath
	rnd      *rand.Rand
	r        recovery
	blocks   blocks
	now      int64
	iss      wire.Seq
	net      packetHeap
	order    int
	free     int64 // when the bottleneck has sent what is in its queue
	rcvNxt   wire.Seq
	held     assembler
	unacked  int
	ackAt    int64
	tsRecent uint32
	lastAck  wire.Seq

	sent, resent, rtos, probes, recoveries, undone int
}

const testMSS = 1448

func (s *testSender) stampNow() uint32 { return uint32(s.now/msec) + 1_000_000 }

func (s *testSender) transmit(start, end wire.Seq) {
	n := int64(end.Since(start))
	at := s.now
	if s.p.rate > 0 {
		s.free = max(s.free, s.now)
		if (s.free-s.now)*s.p.rate/sec > int64(s.p.queue) {
			return // tail drop
		}
		s.free += (n + 66) * sec / s.p.rate
		at = s.free
	}
	if s.rnd.Float64() < s.p.loss {
		return
	}
	copies := 1
	if s.rnd.Float64() < s.p.dup {
		copies = 2
	}
	for range copies {
		s.put(testPacket{at: at, start: start, end: end, stamp: s.stampNow()})
	}
}

func (s *testSender) put(p testPacket) {
	p.at += s.p.delay
	if s.p.jitter > 0 {
		p.at += s.rnd.Int64N(s.p.jitter)
	}
	if p.at/sec%2 == 1 {
		p.at = max(p.at, p.at/sec*sec+s.p.pause)
	}
	s.order++
	p.order = s.order
	heap.Push(&s.net, p)
}

// output sends what may leave.
func (s *testSender) output() {
	end := s.iss + wire.Seq(s.p.total)
	for {
		start, to, ok := s.r.nextLost()
		if !ok {
			break
		}
		if n := to.Since(start); s.r.inFlight() > 0 && s.r.allowance() < n {
			return
		}
		s.resend(start, to)
	}
	for s.r.board.nxt != end && !s.r.full() {
		n := min(testMSS, end.Since(s.r.board.nxt), s.p.window-s.r.board.nxt.Since(s.r.board.una))
		if n <= 0 || s.r.inFlight() > 0 && s.r.allowance() < n {
			return
		}
		s.sendNew(n)
	}
}

func (s *testSender) sendNew(n int) {
	start := s.r.board.nxt
	s.sent++
	s.transmit(start, start+wire.Seq(n))
	s.r.onSend(start+wire.Seq(n), s.now)
}

func (s *testSender) resend(start, end wire.Seq) {
	s.resent++
	s.transmit(start, end)
	s.r.onResend(start, s.now, s.stampNow())
}

func (s *testSender) probe() {
	s.probes++
	end := s.iss + wire.Seq(s.p.total)
	n := min(testMSS, end.Since(s.r.board.nxt), s.p.window-s.r.board.nxt.Since(s.r.board.una))
	if n > 0 && !s.r.full() {
		s.sendNew(n)
		s.r.onProbe(s.now, false)
		return
	}
	if start, to, ok := s.r.lastSent(); ok {
		s.resend(start, to)
		s.r.onProbe(s.now, true)
	}
}

// receive is the receiver's part.
func (s *testSender) receive(p testPacket) {
	inOrder := p.start.AtMost(s.rcvNxt) && s.rcvNxt.Before(p.end)
	hole := !s.held.empty()
	switch {
	case p.end.AtMost(s.rcvNxt):
		s.held.duplicate(p.start, p.end)
	case inOrder:
		s.rcvNxt = s.held.advance(p.end)
	default:
		s.held.add(p.start, p.end)
	}
	if p.start.AtMost(s.lastAck) && int32(p.stamp-s.tsRecent) >= 0 {
		s.tsRecent = p.stamp
	}
	s.unacked++
	if s.p.delayed && inOrder && !hole && s.unacked < 2 {
		s.ackAt = s.now + 40*msec
		return
	}
	s.acknowledge()
}

func (s *testSender) acknowledge() {
	a := testPacket{at: s.now, ack: true, start: s.rcvNxt, stamp: s.tsRecent}
	if !s.p.noSACK {
		out := make([]sackRange, 3)
		a.blocks = out[:s.held.report(out)]
	}
	s.lastAck, s.unacked, s.ackAt = s.rcvNxt, 0, 0
	if s.rnd.Float64() >= s.p.ackLoss {
		s.put(a)
	}
}

func (s *testSender) takeAck(p testPacket) {
	if p.start.Before(s.r.board.una) {
		return
	}
	before := s.r.state
	e := ackEvent{Now: s.now, Ack: p.start, Blocks: p.blocks, HasEcho: !s.p.noStamp, Echo: p.stamp}
	s.r.onAck(&e)
	if s.r.state == stateRecovery && before != stateRecovery {
		s.recoveries++
	}
	if e.Spurious {
		s.undone++
	}
	s.output()
}

// step goes on to the next event; false if there is none.
func (s *testSender) step() bool {
	at := min(s.r.deadline(), cmp.Or(s.ackAt, timer.Never))
	if len(s.net) > 0 {
		at = min(at, s.net[0].at)
	}
	if at == timer.Never {
		return false
	}
	s.now = max(s.now, at)
	switch {
	case len(s.net) > 0 && s.net[0].at <= s.now:
		p := heap.Pop(&s.net).(testPacket)
		if p.ack {
			s.takeAck(p)
		} else {
			s.receive(p)
		}
	case s.ackAt != 0 && s.ackAt <= s.now:
		s.acknowledge()
	default:
		switch s.r.onTimeout(s.now) {
		case doProbe:
			s.probe()
		case doRTO:
			s.rtos++
			s.output()
		case doSend:
			s.output()
		case doNothing:
			s.t.Fatalf("early timeout: deadline %d, now %d", s.r.deadline(), s.now)
		}
	}
	return true
}

func newTestSender(t *testing.T, p testPath, seed uint64) *testSender {
	s := &testSender{t: t, p: p, rnd: rand.New(rand.NewPCG(seed, 9)), now: sec}
	s.p.window = cmp.Or(p.window, 4<<20)
	s.iss = wire.Seq(s.rnd.Uint32())
	s.rcvNxt, s.lastAck = s.iss, s.iss
	s.r.init(&recoveryConfig{algorithm: p.algo, initialRTO: sec, minRTO: 200 * msec, maxRTO: 60 * sec,
		maxAckWait: 200 * msec, minProbe: msec, blocks: &s.blocks})
	s.r.rtt.sample(2*p.delay+1, s.now)
	s.r.start(s.iss, testMSS, !p.noSACK, !p.noStamp, s.now)
	return s
}

// run transfers all, and returns how long it took.
func (s *testSender) run() int64 {
	begin := s.now
	s.output()
	for steps := 0; s.r.outstanding(); steps++ {
		require.True(s.t, s.step(), "nothing will ever happen again")
		require.Less(s.t, steps, 100*(s.p.total/testMSS)+10_000)
		require.Less(s.t, s.now, 100_000*sec)
		require.GreaterOrEqual(s.t, s.r.board.pipe(), 0)
	}
	require.Equal(s.t, s.iss+wire.Seq(s.p.total), s.rcvNxt)
	require.True(s.t, s.held.empty())
	require.Equal(s.t, timer.Never, s.r.deadline())
	s.r.reset()
	require.Zero(s.t, s.blocks.count)
	s.blocks.close()
	return s.now - begin
}

func TestRecoveryRandom(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		p := testPath{delay: 1 + rnd.Int64N(20*msec), total: 1 + rnd.IntN(300_000), algo: Algorithm(rnd.IntN(2)),
			noSACK: rnd.IntN(3) == 0, noStamp: rnd.IntN(2) == 0, delayed: rnd.IntN(2) == 0}
		pick := func(x float64) float64 { return []float64{0, x / 10, x}[rnd.IntN(3)] * rnd.Float64() }
		p.loss, p.ackLoss, p.dup = pick(0.5), pick(0.5), pick(0.3)
		if rnd.IntN(2) == 0 {
			p.jitter = 1 + rnd.Int64N(2*p.delay)
		}
		if rnd.IntN(4) == 0 {
			p.rate, p.queue = 1e5+rnd.Int64N(1e8), 3000+rnd.IntN(100_000)
		}
		s := newTestSender(t, p, seed)
		s.run()
		if t.Failed() {
			t.Fatalf("seed %d: %+v", seed, p)
		}
	}
}

// Mean throughput, beside what is known of the algorithms: with random loss p it is about 1.22 MSS / (RTT sqrt p) for
// Reno, and hardly more for CUBIC with a short round trip (RFC 9438, section 5).
func TestRecoveryGoodput(t *testing.T) {
	base := testPath{delay: 2 * msec, total: 4 << 20, delayed: true}
	for _, c := range []struct {
		name     string
		change   func(p *testPath)
		min, max float64 // Mbit/s
		resent   float64 // at most, of what was sent
	}{
		{"1 %", func(p *testPath) { p.loss, p.ackLoss = 0.01, 0.01 }, 33, 70, 0.015},
		{"5 %", func(p *testPath) { p.loss, p.ackLoss = 0.05, 0.05 }, 10, 25, 0.06},
		{"1 %, Reno", func(p *testPath) { p.loss, p.ackLoss, p.algo = 0.01, 0.01, Reno }, 28, 60, 0.015},
		{"5 %, Reno", func(p *testPath) { p.loss, p.ackLoss, p.algo = 0.05, 0.05, Reno }, 8, 25, 0.06},
		{"1 %, no SACK", func(p *testPath) { p.loss, p.noSACK = 0.01, true }, 25, 60, 0.05},
		{"reordering", func(p *testPath) { p.jitter = msec / 2 }, 500, 1e9, 0.001},
		{"much reordering", func(p *testPath) { p.jitter = 3 * msec }, 200, 1e9, 0.02},
		{"100 Mbit/s", func(p *testPath) { p.rate, p.queue = 12_500_000, 50_000 }, 85, 100, 0.05},
		{"pauses", func(p *testPath) { p.rate, p.queue, p.pause, p.total = 12_500_000, 50_000, 600*msec, 16<<20 }, 45, 70, 0.03},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := base
			c.change(&p)
			var took int64
			var sent, resent int
			const seeds = 2
			for seed := range uint64(seeds) {
				s := newTestSender(t, p, seed)
				took += s.run()
				sent += s.sent
				resent += s.resent
			}
			rate := seeds * float64(p.total) * 8e3 / float64(took)
			t.Logf("%.1f Mbit/s, %d sent, %d sent again", rate, sent, resent)
			require.GreaterOrEqual(t, rate, c.min)
			require.LessOrEqual(t, rate, c.max)
			require.LessOrEqual(t, float64(resent), c.resent*float64(sent))
		})
	}
}
