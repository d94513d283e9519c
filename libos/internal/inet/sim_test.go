package inet

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// The simulation: two stacks on a faulty link and programs with whims, all drawn from one seed. Time is what the
// stacks' timers and the link say comes next, so hours pass in milliseconds, and the same seed does the same again:
//
//	go test ./libos/internal/inet -run Simulation -sim.seed=17 -sim.pcap=/tmp/17.pcapng -v
var (
	simSeed  = flag.Int64("sim.seed", -1, "run this simulation only, and tell what happens")
	simSeeds = flag.Int("sim.seeds", 2000, "how many simulations to run")
	simFirst = flag.Int64("sim.first", 0, "the first of them")
	simPcap  = flag.String("sim.pcap", "", "file for the frames of the simulation of -sim.seed")
)

const (
	simMillisecond = int64(1e6)
	simSecond      = 1000 * simMillisecond
	simLimit       = 4 * 3600 * simSecond // of one simulation, after which it has failed to terminate
	simRounds      = 50_000               // without time going on
	simTable       = 1 << 16
)

// simHost is one end.
type simHost struct {
	name  string
	addr  wire.Addr
	stack *Stack
	cfg   Config
}

// sim is one run.
type sim struct {
	t       *testing.T
	seed    int64
	rnd     *rand.Rand
	now     int64
	hosts   [2]simHost
	ends    [2]link.Config
	pipes   [2]*link.Pipe
	fault   *link.Fault
	flows   []*simFlow
	data    [2 * simTable]byte // what is sent: each direction begins somewhere in the first half
	verbose bool
	alive   bool // some connection may become silent for ever without keepalive
	links   [2]link.Impairment
	outages []int64 // when the link fails and recovers, in turn
	broken  bool
	steps   int
	digest  uint64
}

// simFailure ends a simulation.
type simFailure struct{ text string }

func (s *sim) failf(format string, args ...any) {
	panic(simFailure{fmt.Sprintf(format, args...)})
}

func (s *sim) logf(format string, args ...any) {
	if s.verbose {
		s.t.Logf("%12.6f "+format, append([]any{float64(s.now) / 1e9}, args...)...)
	}
}

func (s *sim) note(values ...int64) {
	for _, v := range values {
		s.digest = (s.digest ^ uint64(v)) * 0x100000001b3
	}
}

// chance is true with probability p.
func (s *sim) chance(p float64) bool { return s.rnd.Float64() < p }

// upTo draws from 1..n, as often from each order of magnitude.
func (s *sim) upTo(n int) int {
	bits := 0
	for n>>bits > 1 {
		bits++
	}
	top := 1 << s.rnd.IntN(bits+1)
	return min(n, top+s.rnd.IntN(top))
}

func (s *sim) probability(most float64) float64 {
	if s.chance(0.4) {
		return 0
	}
	return most * s.rnd.Float64() * s.rnd.Float64()
}

func (s *sim) impairment() link.Impairment {
	i := link.Impairment{Loss: s.probability(0.15), Duplicate: s.probability(0.2), Corrupt: s.probability(0.05),
		Reorder: s.probability(0.5), ReorderBy: int64(s.upTo(int(40 * simMillisecond)))}
	if s.chance(0.8) {
		i.Delay = int64(s.upTo(int(60 * simMillisecond)))
	}
	if s.chance(0.3) {
		i.Jitter = int64(s.upTo(int(5 * simMillisecond)))
	}
	if s.chance(0.2) {
		i.Rate, i.Queue = int64(1_000_000+s.upTo(500_000_000)), 10_000+s.upTo(200_000)
	}
	return i
}

func (s *sim) tcpConfig() tcp.Config {
	c := tcp.Config{Nagle: s.chance(0.3), NoTimestamps: s.chance(0.2), NoSACK: s.chance(0.2), NoScale: s.chance(0.1),
		UserTimeout: simLimit, ConnectTimeout: simLimit, TimeWait: 5 * simSecond, FinWait: 60 * simSecond}
	if s.chance(0.2) {
		c.Congestion = "reno"
	}
	if s.chance(0.5) {
		c.SendBuffer, c.ReceiveBuffer = 2000+s.upTo(500_000), 2000+s.upTo(500_000)
	}
	if s.chance(0.2) {
		c.DelayedACK = -1
	}
	if s.chance(0.1) {
		c.MSS = 100 + s.rnd.IntN(1400)
	}
	if s.chance(0.1) {
		c.MaxEmbryos = 1 + s.rnd.IntN(3) // no SYN cookies: with them an overtaken segment resets the connection
	}
	if s.chance(0.05) {
		c.Memory = 20_000 + s.upTo(1_000_000)
	}
	if s.alive || s.chance(0.2) {
		c.KeepIdle, c.KeepInterval = 30*simSecond, 10*simSecond
	}
	for i := range c.Secret {
		c.Secret[i] = byte(s.rnd.Uint32())
	}
	return c
}

func newSim(t *testing.T, seed int64) *sim {
	s := &sim{t: t, seed: seed, rnd: rand.New(rand.NewPCG(uint64(seed), 0x5eed)), now: simSecond, verbose: *simSeed >= 0}
	for i := range simTable {
		s.data[i] = byte(s.rnd.Uint32())
	}
	copy(s.data[simTable:], s.data[:simTable])
	s.alive = s.chance(0.4)
	mtus := []int{1500, 1500, 1500, 576, 9000, 600 + s.rnd.IntN(8000)}
	ends := &s.ends
	for i := range ends {
		ends[i].MTU, ends[i].Queue = mtus[s.rnd.IntN(len(mtus))], 16<<s.rnd.IntN(6)
		if s.chance(0.3) {
			ends[i].Offloads = link.SumIPv4 | link.SumTransport
		}
	}
	if s.chance(0.7) {
		ends[1].MTU = ends[0].MTU
	}
	s.links = [2]link.Impairment{s.impairment(), s.impairment()}
	if s.chance(0.2) {
		at := s.now
		for range 2 * s.upTo(4) {
			at += int64(s.upTo(int(4 * simSecond)))
			s.outages = append(s.outages, at)
		}
	}
	for i := range s.hosts {
		s.hosts[i].cfg.TCP = s.tcpConfig()
	}
	s.connect()
	for i := range 1 + s.upTo(8) - 1 {
		s.flows = append(s.flows, s.newFlow(i))
	}
	if s.verbose {
		s.logf("MTU %d and %d, %d flows", ends[0].MTU, ends[1].MTU, len(s.flows))
		for i := range s.hosts {
			s.logf("%s: %+v", s.hosts[i].name, s.hosts[i].cfg.TCP)
		}
	}
	return s
}

// connect makes the link and the stacks.
func (s *sim) connect() {
	s.pipes[0], s.pipes[1] = link.NewPipe(s.ends[0], s.ends[1])
	s.fault = link.NewFault(s.pipes[0], link.FaultConfig{Seed: uint64(s.seed), Receive: s.links[0], Send: s.links[1], Frames: 512})
	devices := [2]link.Device{s.fault, s.pipes[1]}
	if s.verbose && *simPcap != "" {
		d, err := link.NewPcap(devices[1], link.PcapConfig{Path: *simPcap})
		require.NoError(s.t, err)
		devices[1] = d
	}
	for i, name := range []string{"A", "B"} {
		s.hosts[i].name, s.hosts[i].addr = name, wire.AddrFrom([4]byte{10, 0, 0, byte(i + 1)})
	}
	for i := range s.hosts {
		h := &s.hosts[i]
		h.cfg.IP = ip.Config{Addr: h.addr, Prefix: 24}
		if len(s.outages) > 0 { // or a connection could fail for want of an answer to ARP
			h.cfg.IP.Known = map[wire.Addr]wire.MAC{s.hosts[1-i].addr: s.pipes[1-i].Info().MAC}
		}
		stack, err := New(devices[i], &h.cfg, s.now)
		require.Zero(s.t, err)
		h.stack = stack
	}
}

// traffic counts frames, to see whether anything moves.
func (s *sim) traffic() uint64 {
	a, b := s.pipes[0].Counters(), s.pipes[1].Counters()
	return a.RxFrames + a.TxFrames + b.RxFrames + b.TxFrames + a.TxDropped + b.TxDropped + a.RxErrors + b.RxErrors
}

// settle polls both stacks until nothing happens any more at the present time.
func (s *sim) settle() {
	s.weather()
	for round := 0; ; round++ {
		before := s.traffic()
		busy := false
		for i := range s.hosts {
			stack := s.hosts[i].stack
			if d, ok := stack.dev.(link.Clocked); ok {
				d.SetNow(s.now)
			}
			stack.Poll(s.now)
			busy = busy || stack.busy
		}
		if s.act() {
			busy = true
		}
		s.steps++
		if s.traffic() == before && !busy {
			return
		}
		if round == simRounds {
			s.failf("much ado, but time does not go on: %s", s.unfinished())
		}
	}
}

// weather lets the link fail, and recover.
func (s *sim) weather() {
	for len(s.outages) > 0 && s.outages[0] <= s.now {
		s.outages = s.outages[1:]
		links := s.links
		if s.broken = !s.broken; s.broken {
			links[0].Loss, links[1].Loss = 1, 1
		}
		s.fault.Impair(links[0], links[1])
		s.logf("broken: %v", s.broken)
	}
}

// act lets the programs do what they have to at the present time.
func (s *sim) act() (acted bool) {
	for _, f := range s.flows {
		f.repeat()
		if f.at <= s.now {
			f.at = timer.Never
			f.start()
			acted = true
		}
		for i := range f.ends {
			if e := &f.ends[i]; e.at <= s.now {
				e.at = timer.Never
				e.host.stack.SetNow(s.now)
				e.act()
				e.host.stack.Flush()
				acted = true
			}
		}
	}
	return acted
}

// next is when something may happen.
func (s *sim) next() int64 {
	at := s.fault.Next()
	if len(s.outages) > 0 {
		at = min(at, s.outages[0])
	}
	for i := range s.hosts {
		at = min(at, s.hosts[i].stack.Next())
	}
	for _, f := range s.flows {
		at = min(at, f.at, f.ends[0].at, f.ends[1].at)
	}
	return at
}

// step settles, and goes on to the next time. It returns false if there is none.
func (s *sim) step() bool {
	s.settle()
	at := s.next()
	if at == timer.Never {
		return false
	}
	s.now = max(at, s.now+1000)
	return true
}

// run is all of it. It panics with a simFailure.
func (s *sim) run() {
	for !s.finished() {
		if !s.step() && !s.finished() {
			s.failf("nothing will ever happen again: %s", s.unfinished())
		}
		if s.now > simLimit {
			s.failf("no end: %s", s.unfinished())
		}
	}
	for _, f := range s.flows {
		f.check()
		f.close()
	}
	// TIME-WAIT and the like, and what the link still has, come to an end.
	deadline := s.now + 3600*simSecond
	for s.left() != "" || s.fault.Held() > 0 {
		if (!s.step() || s.now > deadline) && s.left() != "" {
			s.failf("left behind: %s, %d frames", s.left(), s.fault.Held())
		}
	}
	for i := range s.hosts {
		c := s.hosts[i].stack.TCP().Counters
		s.note(int64(c.Received), int64(c.Sent), int64(c.Retransmits), int64(c.OutOfOrder), int64(c.RTOs), s.now)
		s.logf("%s: %+v", s.hosts[i].name, c)
	}
	for i := range s.hosts {
		if n := s.pipes[i].Counters().RxErrors; n > 0 {
			s.failf("%d frames beyond the MTU of %s", n, s.hosts[i].name)
		}
		s.hosts[i].stack.Close()
	}
}

// left tells what the stacks still have.
func (s *sim) left() string {
	for i := range s.hosts {
		h := &s.hosts[i]
		c := &h.stack.TCP().Counters
		bytes, blocks := h.stack.TCP().Memory()
		if timers := h.stack.Timers().Len(); timers+bytes+blocks > 0 || c.TimeWaits+c.Orphans+c.Established > 0 {
			return fmt.Sprintf("%s has %d timers, %d bytes in %d blocks, %d records in TIME-WAIT, %d orphans, %d established",
				h.name, timers, bytes, blocks, c.TimeWaits, c.Orphans, c.Established)
		}
	}
	return ""
}

func (s *sim) finished() bool {
	for _, f := range s.flows {
		if !f.finished() {
			return false
		}
	}
	return true
}

func (s *sim) unfinished() string {
	text := ""
	for _, f := range s.flows {
		if !f.finished() {
			text += f.String() + "; "
		}
	}
	return text
}

// simulate runs one seed and returns why it failed, and a digest of what happened.
func simulate(t *testing.T, seed int64) (failure string, digest uint64) {
	s := newSim(t, seed)
	defer func() {
		if r := recover(); r != nil {
			f, ok := r.(simFailure)
			if !ok {
				t.Logf("seed %d at %d ns", seed, s.now)
				panic(r)
			}
			failure = f.text
			s.hosts[1].stack.dev.Close() // the capture to its end
		}
	}()
	s.run()
	return "", s.digest
}

func TestSimulation(t *testing.T) {
	if *simSeed >= 0 {
		failure, _ := simulate(t, *simSeed)
		require.Empty(t, failure)
		return
	}
	failures := 0
	for seed := *simFirst; seed < *simFirst+int64(*simSeeds); seed++ {
		if failure, _ := simulate(t, seed); failure != "" {
			t.Errorf("go test ./libos/internal/inet -run Simulation -sim.seed=%d: %s", seed, failure)
			if failures++; failures == 10 {
				t.Fatal("too many")
			}
		}
	}
}

func TestSimulationReplays(t *testing.T) {
	for seed := range int64(5) {
		_, x := simulate(t, seed)
		_, y := simulate(t, seed)
		require.Equal(t, x, y, "the same seed does the same")
		require.NotZero(t, x)
	}
}
