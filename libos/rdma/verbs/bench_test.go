package verbs

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/runtime/mem"
)

// BenchmarkPingPong is what ib_send_lat -s 64 measures: half the time that 64 bytes take to another process and back.
func BenchmarkPingPong(b *testing.B) {
	a := newSide(b, near)
	_, port, _ := startPeer(b, far)
	id := a.dial(address(far, port), nil)
	require.Zero(b, a.d.PostRecv(id, 1, a.sge(0, 64)))
	require.Zero(b, a.d.Connect(id, nil))
	a.event(EventEstablished)
	wr := SendWR{ID: id, Signaled: true, Inline: true, NumSGE: 1}
	wr.SGEs[0] = a.sge(1<<20, 64)
	var c [16]Completion
	var e [4]Event
	times := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	for range b.N {
		start := time.Now()
		_ = a.d.PostRecv(id, 1, a.sge(0, 64))
		_ = a.d.PostSend(&wr)
		for back := false; !back; {
			n, _ := a.d.Poll(c[:], e[:])
			for i := range c[:n] {
				back = back || c[i].Op == OpRecv
			}
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Nanoseconds())/2000, "p50-µs")
	b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds())/2000, "p99-µs")
}

// BenchmarkPoll is a poll that finds nothing.
func BenchmarkPoll(b *testing.B) {
	a, _, _, _ := pair(b, 1)
	var c [16]Completion
	var e [4]Event
	for b.Loop() {
		a.d.Poll(c[:], e[:])
	}
}

// BenchmarkPost is how long a post keeps its thread: a send of 64 bytes, and a read and a write of 1 MiB.
func BenchmarkPost(b *testing.B) {
	for _, op := range []Opcode{OpSend, OpRead, OpWrite} {
		b.Run([]string{"send", "read", "write"}[op], func(b *testing.B) { post(b, op) })
	}
}

func post(b *testing.B, op Opcode) {
	const size = 1 << 20
	a, peer, toB, toA := pair(b, 1)
	p := mem.Map(size)
	defer mem.Unmap(p, size)
	mr, errno := peer.d.Register(p, size, RemoteRead|RemoteWrite)
	require.Zero(b, errno)
	wr := SendWR{ID: toB, Op: op, Signaled: true, Inline: op == OpSend, NumSGE: 1, RemoteAddr: mr.Addr, RKey: mr.RKey}
	wr.SGEs[0] = a.sge(1<<20, size)
	if op == OpSend {
		wr.SGEs[0].Len = 64
	}
	var c [16]Completion
	var spent, longest time.Duration
	for range b.N {
		_ = a.d.PostSend(&wr)
		start := time.Now()
		a.d.Flush()
		took := time.Since(start)
		spent += took
		longest = max(longest, took)
		for n := 0; n == 0; {
			n, _ = a.d.Poll(c[:], nil)
		}
		if op != OpSend {
			continue
		}
		for n := 0; n == 0; {
			n, _ = peer.d.Poll(c[:], nil)
		}
		_ = peer.d.PostRecv(toA, 1, peer.sge(0, 64))
		peer.d.Flush() // or the next one comes too early
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "ns/flush")
	b.ReportMetric(float64(longest.Nanoseconds()), "ns-longest")
}
