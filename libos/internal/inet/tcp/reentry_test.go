package tcp

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/runtime/abi"
)

// Every method may be called from Received, on the connection itself.
func TestCallsInReceived(t *testing.T) {
	for name, c := range map[string]struct {
		call  func(p *peer, c *Conn, b []byte)
		state State
		ended []abi.Errno // at a
	}{
		"reply":      {func(_ *peer, c *Conn, b []byte) { c.Write(b); c.Push() }, Established, nil},
		"pull":       {func(_ *peer, c *Conn, b []byte) { c.Pull() }, Established, nil},
		"shutdown":   {func(_ *peer, c *Conn, b []byte) { c.Shutdown() }, FinWait2, []abi.Errno{0}},
		"close":      {func(_ *peer, c *Conn, b []byte) { c.Close() }, FinWait2, []abi.Errno{0}},
		"abort":      {func(_ *peer, c *Conn, b []byte) { c.Abort() }, Closed, []abi.Errno{syscall.ECONNRESET}},
		"close late": {func(p *peer, c *Conn, b []byte) { p.limit = 0; c.Close() }, FinWait2, []abi.Errno{0}},
		"twice":      {func(_ *peer, c *Conn, b []byte) { c.Close(); c.Abort(); c.Pull() }, Closed, []abi.Errno{syscall.ECONNRESET}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newLab(t, Config{}, Config{})
			a, b := r.pair()
			b.onRecv = func(conn *Conn, p []byte) {
				c.call(b, conn, p)
				for i := range p {
					p[i]++ // the bytes are still there
				}
			}
			a.write([]byte("hello"))
			r.settle()
			assert.Equal(t, c.state, b.c.State())
			assert.Equal(t, c.ended, a.ended)
			assert.Equal(t, "hello", string(b.got))
			b.onRecv = nil
			a.c.Abort()
			b.c.Abort()
			r.run(100 * second)
			r.empty()
		})
	}
}

// The same from Pull, where the bytes are in the ring.
func TestCallsInPull(t *testing.T) {
	for name, call := range map[string]func(c *Conn){
		"close": (*Conn).Close, "abort": (*Conn).Abort, "shutdown": (*Conn).Shutdown, "pull": (*Conn).Pull,
	} {
		t.Run(name, func(t *testing.T) {
			r := newLab(t, Config{}, Config{})
			a, b := r.pair()
			b.limit = 0
			data := pattern(5000)
			a.write(data)
			r.settle()
			b.limit = 1000
			b.onRecv = func(c *Conn, p []byte) {
				call(c)
				for i := range p {
					p[i] = 0xee
				}
			}
			b.c.Pull()
			assert.Equal(t, data[:1000], b.got)
			r.settle()
			switch name {
			case "close", "abort": // 4000 bytes are unread
				assert.Equal(t, []abi.Errno{syscall.ECONNRESET}, a.ended)
			case "pull":
				b.onRecv, b.limit = nil, -1
				b.c.Pull()
				assert.Equal(t, data, b.got)
			}
			a.c.Abort()
			b.c.Abort()
			r.run(100 * second)
			r.empty()
		})
	}
}

// A handler that closes without having taken all: the rest is unread data.
func TestCloseInReceivedUnread(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	a, b := r.pair()
	b.limit = 2
	b.onRecv = func(c *Conn, _ []byte) { c.Close() }
	a.write([]byte("hello"))
	r.settle()
	assert.Equal(t, []abi.Errno{syscall.ECONNRESET}, a.ended)
	r.empty()
}

// The bytes that a handler is given by Pull stay its own until it returns, even if it gives up the connection.
func TestAbortKeepsBytes(t *testing.T) {
	for _, end := range []func(*Conn){(*Conn).Abort, (*Conn).Close} {
		r := newLab(t, Config{}, Config{})
		a, b := r.pair()
		b.limit = 0
		a.write(pattern(200))
		a.c.Shutdown()
		r.settle()
		b.c.Shutdown()
		r.settle()
		b.limit = -1
		b.onRecv = func(c *Conn, p []byte) {
			end(c)
			other := r.b.blocks.get(200)
			clear(other)
			assert.Equal(t, pattern(200), p)
			r.b.blocks.put(other)
		}
		b.c.Pull()
		assert.Zero(t, r.b.blocks.count)
	}
}

// A handler that could take no more asks for the rest from within Received.
func TestPullInReceived(t *testing.T) {
	r := newLab(t, Config{}, Config{})
	a, b := r.pair()
	b.limit = 3
	b.onRecv = func(c *Conn, p []byte) {
		if b.limit == 0 && len(b.got) < 9 {
			b.limit = 3
			c.Pull()
		}
	}
	a.write([]byte("0123456789"))
	r.settle()
	assert.Equal(t, "012345678", string(b.got))
	assert.Equal(t, 1, b.c.rcv.len())
}

func TestCallsInEnded(t *testing.T) {
	for name, call := range map[string]func(c *Conn){
		"close": (*Conn).Close, "abort": (*Conn).Abort, "shutdown": (*Conn).Shutdown, "pull": (*Conn).Pull,
	} {
		t.Run(name, func(t *testing.T) {
			r := newLab(t, Config{}, Config{})
			a, b := r.pair()
			b.onEnd = call
			a.onEnd = call
			a.write([]byte("x"))
			a.c.Shutdown()
			r.settle()
			assert.Len(t, b.ended, 1)
			a.c.Close()
			b.c.Close()
			r.run(100 * second)
			r.empty()
		})
	}
}

// chaos is a Handler that does anything at any time, to itself and to others.
type chaos struct {
	r    *lab
	rand *rand.Rand
	all  *[]*Conn
	n    int
}

func (k *chaos) act(c *Conn) {
	if k.n++; k.n > 20000 {
		return
	}
	if k.rand.IntN(3) == 0 && len(*k.all) > 0 {
		c = (*k.all)[k.rand.IntN(len(*k.all))]
	}
	switch k.rand.IntN(20) {
	case 0:
		c.Close()
	case 1:
		if k.rand.IntN(3) == 0 {
			c.Abort()
		}
	case 2:
		c.Shutdown()
	case 3:
		c.Push()
	case 4:
		if p, err := k.r.a.Connect(0, 0, addrB, testPort, k); err == 0 && len(*k.all) < 300 {
			*k.all = append(*k.all, p)
		}
	case 5, 6:
		c.Pull()
	default:
		c.Write(make([]byte, k.rand.IntN(5000)))
		c.Push()
	}
}

func (k *chaos) Connected(c *Conn, err abi.Errno) { k.act(c) }
func (k *chaos) Received(c *Conn, p []byte) int {
	sum := 0
	k.act(c)
	for i := range p {
		sum += int(p[i])
		p[i] = 1
	}
	k.act(c)
	return k.rand.IntN(len(p) + 1 + sum - sum)
}
func (k *chaos) Writable(c *Conn)             { k.act(c) }
func (k *chaos) Ended(c *Conn, err abi.Errno) { k.act(c) }
func (k *chaos) Acceptable(l *Listener) {
	if c := l.Accept(); c != nil {
		c.SetHandler(k)
		*k.all = append(*k.all, c)
		c.Pull()
		k.act(c)
	}
}

func TestChaos(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := newLab(t, Config{SendBuffer: 20000}, Config{ReceiveBuffer: 20000})
			var all []*Conn
			k := &chaos{r: r, rand: rand.New(rand.NewPCG(seed, 0)), all: &all}
			l, err := r.b.Listen(0, testPort, 10, k)
			require.Zero(t, err)
			for range 10 {
				c, err := r.a.Connect(0, 0, addrB, testPort, k)
				require.Zero(t, err)
				all = append(all, c)
			}
			for range 20 {
				r.run(k.rand.Int64N(second))
				if len(all) > 0 {
					k.act(all[k.rand.IntN(len(all))])
				}
			}
			k.n = 1 << 30 // no more
			for _, c := range all {
				c.Abort()
			}
			l.Close()
			for r.a.conns.head != nil { // those that Connect made without a place in the list
				r.a.conns.head.Abort()
			}
			r.run(400 * second)
			r.empty()
		})
	}
}
