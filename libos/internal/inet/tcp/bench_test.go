package tcp

import (
	"fmt"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/runtime/abi"
)

// taker is a Handler that takes all and remembers nothing.
type taker struct {
	peer
	n int
}

func (k *taker) Connected(*Conn, abi.Errno) {}

func (k *taker) Received(_ *Conn, p []byte) int {
	k.n += len(p)
	return len(p)
}

// manyPairs makes n connections, whose handlers are takers.
func manyPairs(t testing.TB, n int) (*lab, []*Conn, []*Conn, *taker) {
	r := newLab(t, Config{}, Config{MaxEmbryos: 20000})
	l := r.listen(20000)
	k := &taker{}
	var cs []*Conn
	for range n {
		c, err := r.a.Connect(0, 0, addrB, testPort, k)
		require.Zero(t, err)
		cs = append(cs, c)
		if len(cs)%100 == 0 {
			r.settle()
		}
	}
	r.run(100 * millisecond)
	require.Equal(t, n, len(l.accepted))
	byPort := map[uint16]*Conn{}
	for _, c := range l.accepted {
		byPort[c.Remote().Port] = c
	}
	ss := l.accepted[:0]
	for _, c := range cs {
		require.Equal(t, Established, c.State())
		s := byPort[c.Local().Port]
		s.SetHandler(k)
		ss = append(ss, s)
	}
	return r, cs, ss, k
}

// BenchmarkEcho sends 64 bytes there and 64 bytes back, on one connection after the other: 2 × (push to transmit +
// receive to pop).
func BenchmarkEcho(b *testing.B) {
	for _, n := range []int{1, 100, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r, cs, ss, _ := manyPairs(b, n)
			msg := make([]byte, 64)
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				r.now += 2000
				cs[i].Write(msg)
				cs[i].Push()
				r.a.dev.Flush()
				r.b.poll(r.now)
				ss[i].Write(msg)
				ss[i].Push()
				r.b.dev.Flush()
				r.a.poll(r.now)
				if i++; i == n {
					i = 0
				}
			}
		})
	}
}

// BenchmarkServe is what a server does for requests of 64 bytes that come in bursts, each on another connection: receive to pop, and
// push to transmit. What the clients do is not in the figures of their own.
func BenchmarkServe(b *testing.B) {
	for _, n := range []int{1, 32, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r, cs, ss, _ := manyPairs(b, n)
			msg := make([]byte, 64)
			burst := min(n, 25)
			i, done := 0, 0
			var receive, push time.Duration
			b.ReportAllocs()
			for b.Loop() {
				r.now += 2000
				r.a.poll(r.now)
				for _, c := range cs[i : i+burst] {
					c.Write(msg)
					c.Push()
				}
				r.a.dev.Flush()
				start := time.Now()
				r.b.poll(r.now)
				popped := time.Now()
				for _, s := range ss[i : i+burst] {
					s.Write(msg)
					s.Push()
				}
				r.b.dev.Flush()
				push += time.Since(popped)
				receive += popped.Sub(start)
				if i += burst; i+burst > n {
					i = 0
				}
				done += burst
			}
			b.ReportMetric(float64(receive)/float64(done), "ns/receive")
			b.ReportMetric(float64(push)/float64(done), "ns/push")
		})
	}
}

// BenchmarkPushReceive sends 64 bytes one way, in bursts.
func BenchmarkPushReceive(b *testing.B) {
	r, cs, ss, _ := manyPairs(b, 1)
	msg := make([]byte, 64)
	_ = ss
	b.ReportAllocs()
	for b.Loop() {
		r.now += 2000
		for range 32 {
			cs[0].Write(msg)
			cs[0].Push()
		}
		r.a.dev.Flush()
		r.b.poll(r.now)
		r.a.poll(r.now)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/32, "ns/msg")
}

// BenchmarkBulk is a flow of full segments; an op is one segment.
func BenchmarkBulk(b *testing.B) {
	r, cs, _, k := manyPairs(b, 1)
	msg := make([]byte, 64<<10)
	b.SetBytes(1448)
	b.ReportAllocs()
	b.ResetTimer()
	for want := b.N * 1448; k.n < want; {
		r.now += 20000
		r.a.ip.SetNow(r.now)
		cs[0].Write(msg)
		cs[0].Push()
		r.a.dev.Flush()
		r.b.poll(r.now)
		r.a.poll(r.now)
	}
}

func TestNoAllocations(t *testing.T) {
	r, cs, ss, k := manyPairs(t, 3)
	msg := make([]byte, 3000)
	echo := func() {
		for i := range cs {
			r.now += 50_000
			r.a.ip.SetNow(r.now)
			cs[i].Write(msg)
			cs[i].Push()
			r.settle()
			ss[i].Write(msg[:64])
			ss[i].Push()
			r.settle()
		}
	}
	for range 100 {
		echo()
	}
	before := k.n
	assert.Zero(t, testing.AllocsPerRun(200, echo))
	assert.Equal(t, before+201*3*3064, k.n)
}

func TestSizes(t *testing.T) {
	assert.LessOrEqual(t, unsafe.Sizeof(Conn{}), uintptr(1280))
	assert.LessOrEqual(t, unsafe.Sizeof(mini{}), uintptr(128))
	t.Log(unsafe.Sizeof(Conn{}), unsafe.Sizeof(recovery{}), unsafe.Sizeof(mini{}))
}
