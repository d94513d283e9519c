package framing_test

import (
	"bytes"
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

// stuck is a libOS whose only queue keeps its pushes.
type stuck struct{ engine.QueueBase }

func (q *stuck) Open(*engine.Args) (engine.Queue, abi.Errno) { return q, 0 }
func (q *stuck) Poll()                                       {}
func (q *stuck) Arm()                                        {}
func (q *stuck) Fds() []int                                  { return nil }
func (q *stuck) Close()                                      {}
func (q *stuck) Cancel(*engine.Op)                           {}
func (q *stuck) Pop(*engine.Op) abi.Errno                    { return unix.ENOTSUP }

func (q *stuck) Push(op *engine.Op) abi.Errno {
	q.Pushes.Add(op)
	return 0
}

// Wherever a push stands when the program takes its memory back, the rest on the wire is what it was, in a message and bare.
func TestOwned(t *testing.T) {
	q := &stuck{}
	e, err := engine.New(config.Default().Limits)
	require.Zero(t, err)
	defer e.Close()
	require.Zero(t, e.Attach(q, q))
	qd, err := e.Open(&engine.Args{})
	require.Zero(t, err)
	text := []byte("The quick brown fox jumps over the lazy dog, and the dog does not mind at all.")
	block := mem.Alloc(uint64(len(text)))
	require.NotNil(t, block)
	defer mem.Free(block)
	given := unsafe.Slice((*byte)(block), len(text))
	wire := func(sga *abi.SGArray, message bool, skip uint64) (b []byte) {
		var words []byte
		if message {
			words = make([]byte, framing.MaxOverhead)
			framing.Encode(words, sga)
		}
		var v framing.Pieces
		for _, p := range v[:v.Gather(sga, words, skip)] {
			b = append(b, unsafe.Slice((*byte)(p.At.Pointer()), p.Len)...)
		}
		return b
	}
	for _, lens := range [][]uint32{{1}, {70}, {3, 0, 1}, {0, 30}, {30, 1, 40}, {1, 1, 1}, {40, 30}} {
		sga := abi.SGArray{Buf: 12345, NumSegs: uint32(len(lens))}
		at := abi.PtrTo(block)
		for i, n := range lens {
			sga.Segs[i] = abi.Seg{Buf: at, Len: n}
			at += abi.Ptr(n)
		}
		for _, message := range []bool{false, true} {
			copy(given, text)
			want := wire(&sga, message, 0)
			for sent := range want {
				copy(given, text)
				qt, err := e.Push(qd, &sga)
				require.Zero(t, err)
				op := q.Pushes.Head()
				op.Sent = uint64(sent)
				require.Zero(t, e.Own(qt))
				clear(given)
				require.Zero(t, e.Own(qt), "once more")
				require.True(t, bytes.Equal(want[sent:], wire(op.SGA(), message, op.Sent)), "%v, message %v, %d sent", lens, message, sent)
				op.Complete(0)
				require.Zero(t, e.Own(qt), "complete")
				r, err := e.Result(qt)
				require.Zero(t, err)
				assert.Equal(t, sga, r.SGA, "echoed")
				require.Equal(t, unix.ENOENT, e.Own(qt))
			}
		}
	}
}
