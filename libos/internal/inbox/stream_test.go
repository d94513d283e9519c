package inbox

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/framing"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// source is a libOS with one kind of queue, which receives what the test has put into data.
type source struct {
	pool  Pool
	mode  config.Framing
	offer bool // by Stream.Offer; otherwise by Prefix and Got
	last  *stream
}

type stream struct {
	Queue
	from *source
	in   Stream
	data []byte
	room []byte
}

func (o *source) Open(*engine.Args) (engine.Queue, abi.Errno) {
	s := &stream{from: o, room: make([]byte, abi.ScratchLen)}
	s.Pool = &o.pool
	s.in.Begin(&s.Queue, o.mode)
	o.last = s
	return s, 0
}
func (o *source) Poll()      {}
func (o *source) Arm()       {}
func (o *source) Fds() []int { return nil }
func (o *source) Close()     { o.pool.Close() }

func (s *stream) Push(*engine.Op) abi.Errno { return unix.ENOTSUP }
func (s *stream) Cancel(*engine.Op)         {}
func (s *stream) Close()                    { s.in.Drop() }

func (s *stream) Pop(op *engine.Op) abi.Errno {
	s.Pops.Add(op)
	s.feed(len(s.data))
	return 0
}

// feed hands over up to n bytes, as long as pops want some.
func (s *stream) feed(n int) {
	for s.in.Wants() && n > 0 && len(s.data) > 0 {
		p := s.data[:min(n, len(s.data))]
		if s.from.offer {
			k := s.in.Offer(p)
			s.data = s.data[k:]
			return
		}
		have := s.in.Prefix(s.room)
		k := copy(s.room[have:], p)
		s.data = s.data[k:]
		n -= k
		s.in.Got(s.room[:have+k])
	}
}

func start(t *testing.T, mode config.Framing, offer bool) (*engine.Engine, *stream, int32) {
	cfg := config.Default()
	e, err := engine.New(cfg.Limits)
	require.Zero(t, err)
	o := &source{pool: Pool{Config: cfg}, mode: mode, offer: offer}
	require.Zero(t, e.Attach(o, o))
	t.Cleanup(e.Close)
	qd, err := e.Open(&engine.Args{Kind: engine.KindStream})
	require.Zero(t, err)
	return e, o.last, qd
}

func wire(segs ...string) []byte {
	sga := &abi.SGArray{NumSegs: uint32(len(segs))}
	for i, s := range segs {
		sga.Segs[i].Len = uint32(len(s))
	}
	h := make([]byte, framing.MaxOverhead)
	framing.Encode(h, sga)
	var b []byte
	words, size := h, framing.HeaderLen+4
	for _, s := range segs {
		b = append(append(b, words[:size]...), s...)
		words, size = words[size:], 4
	}
	return b
}

func text(r *abi.QResult) string {
	b := string(unsafe.Slice((*byte)(r.SGA.Segs[0].Buf.Pointer()), r.SGA.Segs[0].Len))
	for i := uint32(1); i < r.SGA.NumSegs; i++ {
		b += "|" + string(r.SGA.Bytes(i))
	}
	mem.Free(r.SGA.Buf.Pointer())
	return b
}

// Messages come out as they went in, however the stream is cut and whenever pops come; so do bare streams, cut anywhere.
func TestStreamInPieces(t *testing.T) {
	const magicLike = "\x10\x10\x20"
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		mode := []config.Framing{config.FramingAuto, config.FramingMessage, config.FramingStream}[r.IntN(3)]
		bare := mode == config.FramingStream || mode == config.FramingAuto && r.IntN(2) == 0
		e, s, qd := start(t, mode, r.IntN(2) == 0)
		var want []string
		if bare {
			want = []string{magicLike[:r.IntN(4)] + "x" + string(bytes.Repeat([]byte("abcdefg"), r.IntN(3000)))}
			s.data = []byte(want[0])
		} else {
			for i := range 1 + r.IntN(20) {
				segs := []string{fmt.Sprint("message ", i), string(make([]byte, r.IntN(10_000)))}[:1+r.IntN(2)]
				s.data = append(s.data, wire(segs...)...)
				want = append(want, string(bytes.Join([][]byte{[]byte(segs[0]), []byte(segs[len(segs)-1])}[:len(segs)], []byte("|"))))
			}
		}
		held := s.data
		s.data = nil
		var pops []uint64
		var got []string
		for step := 0; ; step++ {
			require.Less(t, step, 1_000_000, "seed %d", seed)
			switch r.IntN(3) {
			case 0:
				n := min(len(held), 1+r.IntN(1<<r.IntN(12)))
				s.data = append(s.data, held[:n]...)
				held = held[n:]
				s.feed(1 + r.IntN(1<<r.IntN(12)))
			case 1:
				if len(pops) < 5 {
					qt, err := e.Pop(qd, []uint64{0, 0, 1, 2, 100}[r.IntN(5)])
					require.Zero(t, err)
					pops = append(pops, qt)
				}
			case 2:
				s.feed(len(s.data))
			}
			for len(pops) > 0 {
				res, err := e.Result(pops[0])
				if err == unix.EAGAIN {
					break
				}
				require.Zero(t, err)
				got, pops = append(got, text(&res)), pops[1:]
			}
			if bare && len(got) > 1 {
				got = []string{strings.Join(got, "")}
			}
			if len(got) > 0 && len(got) == len(want) && len(got[len(got)-1]) >= len(want[len(want)-1]) {
				break
			}
		}
		require.Equal(t, want, got, "seed %d", seed)
	}
}

// A stream that ends in what may have been the magic was bare.
func TestStreamEndsInPrefix(t *testing.T) {
	for _, offer := range []bool{false, true} {
		e, s, qd := start(t, config.FramingAuto, offer)
		qt, _ := e.Pop(qd, 2)
		s.data = []byte("\x10\x10\x20")
		s.feed(3)
		_, err := e.Result(qt)
		assert.Equal(t, unix.EAGAIN, err)
		s.in.Finish()
		s.in.Wants()
		for _, want := range []string{"\x10\x10", "\x20"} {
			res, err := e.Result(qt)
			require.Zero(t, err)
			assert.Equal(t, want, text(&res))
			qt, _ = e.Pop(qd, 2)
		}
		_, err = e.Result(qt)
		assert.Equal(t, unix.ECONNABORTED, err)
	}
}

// After bytes that are no message nothing is taken any more.
func TestStreamBroken(t *testing.T) {
	e, s, qd := start(t, config.FramingMessage, true)
	first, _ := e.Pop(qd, 0)
	second, _ := e.Pop(qd, 0)
	s.data = append(wire("good"), "nonsense"...)
	s.feed(len(s.data))
	res, err := e.Result(first)
	require.Zero(t, err)
	assert.Equal(t, "good", text(&res))
	_, err = e.Result(second)
	assert.Equal(t, unix.EILSEQ, err)
	assert.Zero(t, s.in.Offer([]byte("more")))
	third, _ := e.Pop(qd, 0)
	_, err = e.Result(third)
	assert.Equal(t, unix.EILSEQ, err)
}
