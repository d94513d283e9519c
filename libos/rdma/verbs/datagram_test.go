package verbs

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
)

func (s *side) datagrams(local *abi.SockaddrIn) (id ID, at abi.SockaddrIn) {
	s.t.Helper()
	id, errno := s.d.Datagram(local, &usual)
	require.Zero(s.t, errno)
	for i := range 8 {
		require.Zero(s.t, s.d.PostRecv(id, uint64(i), s.sge(i*bufferSize, bufferSize)))
	}
	at, _ = s.d.Name(id)
	require.NotZero(s.t, at.Number())
	return id, at
}

func testDatagrams(t *testing.T, from, to [4]byte) {
	a, b := newSide(t, near), newSide(t, far)
	ida, _ := a.datagrams(address(from, 0))
	idb, at := b.datagrams(address(to, 0))
	at.Addr = far
	lookup, errno := a.d.Resolve(ida, &at)
	require.Zero(t, errno)
	found := a.event(EventResolved, b)
	assert.Equal(t, lookup, found.ID)
	assert.Equal(t, at, found.Peer)
	qpn, qkey := b.d.QPN(idb)
	assert.Equal(t, qpn, found.QPN)
	assert.Equal(t, qkey, found.QKey)
	a.d.Destroy(lookup)

	question := a.memory[1<<20:][:a.d.attr.PortMTU]
	for i := range question {
		question[i] = byte(i >> 2)
	}
	wr := SendWR{ID: ida, Signaled: true, NumSGE: 1, AH: found.AH, QPN: found.QPN, QKey: found.QKey}
	wr.SGEs[0] = a.sge(1<<20, len(question))
	require.Zero(t, a.d.PostSend(&wr))
	require.Zero(t, a.completion(b).Status)
	c := b.completion(a)
	require.Zero(t, c.Status)
	require.Equal(t, len(question)+GRHBytes, int(c.Bytes))
	assert.Equal(t, question, b.memory[c.WRID*bufferSize+GRHBytes:][:len(question)])
	own, _ := a.d.QPN(ida)
	assert.Equal(t, own, c.SrcQPN)
	assert.Equal(t, near, c.Src.Addr)

	ah, errno := b.d.NewAH(idb, &c.Src) // the answer
	require.Zero(t, errno)
	wr = SendWR{ID: idb, Signaled: true, Inline: true, NumSGE: 1, AH: ah, QPN: c.SrcQPN, QKey: qkey}
	wr.SGEs[0] = b.sge(0, 100)
	require.Zero(t, b.d.PostSend(&wr))
	c = a.completion(b)
	require.Equal(t, OpRecv, c.Op)
	assert.Equal(t, 100+GRHBytes, int(c.Bytes))
	assert.Equal(t, far, c.Src.Addr)
	b.d.FreeAH(ah)
	assert.Equal(t, abi.Errno(unix.EINVAL), b.d.PostSend(&wr), "freed")
	assert.Equal(t, abi.Errno(unix.EINVAL), a.d.PostSend(&SendWR{ID: ida, Op: OpRead, AH: found.AH}))
	assert.Equal(t, abi.Errno(unix.EINVAL), a.d.PostRecv(ida, 0, a.sge(0, GRHBytes-1)))
	a.d.FreeAH(found.AH)
}

func TestDatagrams(t *testing.T) { testDatagrams(t, near, far) }

func TestDatagramsAnyAddress(t *testing.T) { testDatagrams(t, [4]byte{}, [4]byte{}) }

func TestDatagramsNobody(t *testing.T) {
	a := newSide(t, near)
	id, _ := a.datagrams(address(near, 0))
	lookup, errno := a.d.Resolve(id, address(far, 9))
	require.Zero(t, errno)
	e := a.event(EventUnreachable)
	assert.Equal(t, lookup, e.ID)
	assert.Equal(t, abi.Errno(unix.ECONNREFUSED), e.Errno)
	a.d.Destroy(lookup)
	_, errno = a.d.Resolve(lookup, address(far, 9))
	assert.Equal(t, abi.Errno(unix.EINVAL), errno)
}
