package tcp

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

func TestConnectErrors(t *testing.T) {
	r := newLab(t, Config{MaxConnections: 1}, Config{})
	for _, c := range []struct {
		remote wire.Addr
		port   uint16
		err    abi.Errno
	}{
		{0, 1, syscall.EINVAL},
		{addrB, 0, syscall.EINVAL},
		{0xffffffff, 1, syscall.ENETUNREACH},
		{addrB | 255, 1, syscall.ENETUNREACH},
		{wire.AddrFrom([4]byte{224, 0, 0, 1}), 1, syscall.ENETUNREACH},
		{wire.AddrFrom([4]byte{192, 0, 2, 1}), 1, syscall.ENETUNREACH},
	} {
		_, err := r.a.Connect(0, 0, c.remote, c.port, newPeer())
		assert.Equal(t, c.err, err, c.remote)
	}
	_, err := r.a.Connect(addrB, 0, addrB, 1, newPeer())
	assert.Equal(t, syscall.EADDRNOTAVAIL, err)
	_, err = r.a.Connect(0, 5, addrB, 1, newPeer())
	require.Zero(t, err)
	_, err = r.a.Connect(0, 5, addrB, 1, newPeer())
	assert.Equal(t, syscall.ENOBUFS, err)
	_, err = r.a.Listen(addrB, 5, 1, newPeer())
	assert.Equal(t, syscall.EADDRNOTAVAIL, err)
}

func TestPorts(t *testing.T) {
	r := newLab(t, Config{FirstPort: 1000, LastPort: 1003}, Config{})
	r.listen(16)
	_, err := r.a.Listen(0, 1001, 1, newPeer())
	require.Zero(t, err)
	used := map[uint16]bool{}
	for range 3 {
		used[r.connect().c.Local().Port] = true
	}
	assert.Equal(t, map[uint16]bool{1000: true, 1002: true, 1003: true}, used)
	_, err = r.a.Connect(0, 0, addrB, testPort, newPeer())
	assert.Equal(t, syscall.EADDRNOTAVAIL, err)
	_, err = r.a.Connect(0, 0, addrB, testPort+1, newPeer())
	assert.Zero(t, err, "other peers, the same ports")
	_, err = r.a.Listen(addrA, 1001, 1, newPeer())
	assert.Equal(t, syscall.EADDRINUSE, err)
	l, err := r.a.Listen(addrA, 0, 1, newPeer())
	require.Zero(t, err)
	assert.NotEqual(t, uint16(1001), l.Local().Port)
	_, err = r.a.Listen(0, l.Local().Port, 1, newPeer())
	assert.Equal(t, syscall.EADDRINUSE, err)
	assert.Equal(t, syscall.EADDRINUSE, r.a.PortFree(0, 1001))
	assert.Zero(t, r.a.PortFree(0, 999))
	l.Close()
	l.Close()
	_, err = r.a.Listen(0, l.Local().Port, 1, newPeer())
	assert.Zero(t, err)
}

func TestConnectTimeout(t *testing.T) {
	for _, wait := range []int64{0, 10 * second} {
		r := newLossyLab(t, 1, link.Impairment{Loss: 1}, Config{ConnectTimeout: wait}, Config{})
		a := r.connect()
		if wait == 0 {
			wait = 180 * second // MUST-23
		}
		r.run(wait - second/10)
		assert.Empty(t, a.connected)
		r.run(second)
		assert.Equal(t, []abi.Errno{syscall.ETIMEDOUT}, a.connected)
		assert.EqualValues(t, 1, r.a.Counters.Timeouts)
		r.empty()
	}
}

// Data written before the connection is there, and the end of it.
func TestWriteEarly(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	b := r.listen(1)
	a := r.connect()
	a.write([]byte("early"))
	a.c.Shutdown()
	r.settle()
	assert.Equal(t, "early", string(b.got))
	assert.Equal(t, []abi.Errno{0}, b.ended)
	assert.Equal(t, FinWait2, a.c.State())
}

func TestBacklog(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	b := r.listen(2)
	b.held = true
	var as []*peer
	for range 5 {
		as = append(as, r.connect())
		r.settle()
	}
	assert.Equal(t, 2, b.l.waiting)
	assert.EqualValues(t, 3, r.b.Counters.ListenOverflows)
	as[0].write([]byte("one"))
	as[1].c.Abort()
	r.settle()
	require.True(t, b.accept())
	assert.Equal(t, "one", string(b.got))
	require.True(t, b.accept(), "a connection that has ended is accepted, too")
	assert.Equal(t, []abi.Errno{syscall.ECONNRESET}, b.ended)
	require.False(t, b.accept())
	b.held = false
	r.run(4 * second)
	for _, a := range as[2:] {
		assert.Equal(t, []abi.Errno{0}, a.connected)
	}
	assert.Len(t, b.accepted, 5)
}

// Two handshakes complete when there is room for one: the other waits for its SYN-ACK to come again.
func TestBacklogLate(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	b := r.listen(1)
	b.held = true
	a1, a2 := r.connect(), r.connect()
	r.settle()
	assert.Equal(t, 1, b.l.waiting)
	assert.EqualValues(t, 1, r.b.Counters.ListenOverflows)
	assert.Equal(t, 1, b.l.embryos)
	b.held = false
	require.True(t, b.accept())
	r.run(2 * second)
	assert.Len(t, b.accepted, 2)
	assert.Equal(t, Established, a1.c.State())
	assert.Equal(t, Established, a2.c.State())
}

// A SYN whose sender is silent is answered some times and then forgotten.
func TestEmbryoExpires(t *testing.T) {
	r := newLossyLab(t, 1, link.Impairment{Loss: 1}, Config{}, Config{})
	b := r.listen(1)
	r.b.inputListen(&segment{key: keyOf(addrB, testPort, addrA, 5), flags: wire.SYN})
	assert.Equal(t, 1, b.l.embryos)
	r.run(62 * second)
	assert.Equal(t, 1, b.l.embryos)
	r.run(2 * second)
	assert.Zero(t, b.l.embryos)
	assert.EqualValues(t, 1, r.b.Counters.FailedOpens)
	assert.EqualValues(t, maxSynTries, r.b.Counters.Retransmits)
	r.empty()
}

// Timestamps do not go back behind a cookie.
func TestCookieStamps(t *testing.T) {
	r := newLab(t, Config{}, Config{MaxEmbryos: 1})
	b := r.listen(100)
	r.b.inputListen(&segment{key: keyOf(addrB, testPort, addrA+76, 5), flags: wire.SYN})
	for i := range 20 {
		a := r.connect()
		b.send = []byte("hello")
		r.settle()
		require.Len(t, b.accepted, i+1)
		b.pump()
		r.settle()
		assert.Equal(t, "hello", string(a.got))
	}
	assert.EqualValues(t, 20, r.b.Counters.CookiesAccepted)
	assert.Zero(t, r.a.Counters.PAWSDrops)
}

func TestListenerClose(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	b := r.listen(5)
	b.held = true
	a1 := r.connect()
	r.settle()
	r.connect()
	r.a.dev.Flush()
	r.b.ip.Poll(r.now)
	assert.Equal(t, 1, b.l.embryos)
	b.l.Close()
	assert.Zero(t, r.b.table.n)
	r.settle()
	assert.Equal(t, []abi.Errno{syscall.ECONNRESET}, a1.ended)
	r.run(200 * second)
	r.empty()
}

// A flood of SYNs leaves nothing behind, and connections that mean it get through by cookies.
func TestCookies(t *testing.T) {
	for _, stamps := range []bool{true, false} {
		r := newLab(t, Config{NoTimestamps: !stamps}, Config{MaxEmbryos: 3})
		b := r.listen(16)
		for i := range 100 {
			s := &segment{key: keyOf(addrB, testPort, addrA, uint16(100+i)), seq: wire.Seq(i), flags: wire.SYN}
			r.b.inputListen(s)
		}
		assert.Equal(t, 3, b.l.embryos)
		assert.EqualValues(t, 97, r.b.Counters.CookiesSent)
		r.b.dev.Flush()
		r.a.resets.start, r.a.resets.n = r.now, maxResets // the flood's sender says nothing
		r.settle()
		assert.Equal(t, 3, b.l.embryos)
		a := r.connect()
		r.settle()
		require.Equal(t, []abi.Errno{0}, a.connected)
		require.Len(t, b.accepted, 1)
		assert.EqualValues(t, 1, r.b.Counters.CookiesAccepted)
		var i Info
		b.c.Info(&i)
		assert.Equal(t, stamps, i.SACK)
		assert.Equal(t, stamps, i.SendScale != 0)
		data := pattern(100_000)
		a.write(data)
		b.write(data)
		r.run(second)
		assert.Equal(t, data, b.got)
		assert.Equal(t, data, a.got)

		s := &segment{key: keyOf(addrB, testPort, addrA, 99), seq: 5, ack: 12345, flags: wire.ACK}
		r.b.inputListen(s)
		assert.EqualValues(t, 1, r.b.Counters.CookiesFailed)
		r.run(100 * second)
		assert.Zero(t, b.l.embryos)
	}
}

func TestSimultaneousOpen(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	a, b := newPeer(), newPeer()
	a.c, _ = r.a.Connect(0, 1000, addrB, 2000, a)
	b.c, _ = r.b.Connect(0, 2000, addrA, 1000, b)
	a.send, b.send = []byte("from a"), []byte("from b")
	r.settle()
	assert.Equal(t, []abi.Errno{0}, a.connected)
	assert.Equal(t, []abi.Errno{0}, b.connected)
	assert.Equal(t, "from a", string(b.got))
	assert.Equal(t, "from b", string(a.got))
	assert.Zero(t, r.a.Counters.Retransmits)
	a.c.Close()
	b.c.Close()
	r.run(61 * second)
	r.empty()
}

// A host talks to itself.
func TestSelf(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	b := r.listen(5)
	a := newPeer()
	var err abi.Errno
	a.c, err = r.b.Connect(0, 0, addrB, testPort, a)
	require.Zero(t, err)
	data := pattern(2 << 20)
	a.send = data
	r.until(10*second, func() bool { return len(b.got) == len(data) })
	assert.Equal(t, data, b.got)
	a.c.Close()
	b.c.Close()
	r.run(61 * second)
	r.empty()
}

func TestManyConnections(t *testing.T) {
	r, cs, ss, k := manyPairs(t, 10000)
	for i := range cs {
		cs[i].Write([]byte("hello"))
		cs[i].Push()
		if i%1000 == 0 {
			r.settle()
		}
	}
	r.run(second)
	assert.Equal(t, 50000, k.n)
	r.run(100 * second)
	assert.Zero(t, r.a.timers.Len()+r.b.timers.Len(), "idle connections need no timer")
	assert.Zero(t, r.a.blocks.count+r.b.blocks.count, "nor a buffer")
	for i := range cs {
		ss[i].Close()
		cs[i].Close()
		if i%1000 == 0 {
			r.settle()
		}
	}
	r.run(100 * second)
	assert.Zero(t, r.a.table.n+r.a.conns.n)
}
