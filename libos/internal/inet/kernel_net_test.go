package inet

import (
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// shared is a stack that a thread polls and that goroutines use, as net.Conn and net.Listener, under a lock.
type shared struct {
	k      *kernel
	mu     sync.Mutex
	change *sync.Cond // of anything
	over   bool
}

func newShared(k *kernel) *shared {
	s := &shared{k: k}
	s.change = sync.NewCond(&s.mu)
	return s
}

// poll polls until stop is called, on the goroutine that has the device.
func (s *shared) poll() {
	fds := []unix.PollFd{{Fd: int32(s.k.dev.Info().FD), Events: unix.POLLIN}}
	for {
		s.mu.Lock()
		if s.over {
			s.mu.Unlock()
			return
		}
		s.k.stack.Poll(s.k.now())
		s.mu.Unlock()
		_, _ = unix.Poll(fds, 1)
	}
}

func (s *shared) stop() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
}

// do runs f with the stack.
func (s *shared) do(f func()) {
	s.mu.Lock()
	s.k.stack.SetNow(s.k.now())
	f()
	s.k.stack.Flush()
	s.mu.Unlock()
}

// netConn is a connection of the stack. The handler's methods are called with the lock held.
type netConn struct {
	s         *shared
	c         *tcp.Conn
	in        []byte
	connected bool
	ended     error
	deadline  time.Time // of Read
}

const netBuffer = 64 << 10

func (n *netConn) Connected(_ *tcp.Conn, err abi.Errno) {
	if n.connected = true; err != 0 {
		n.ended = err
	}
	n.s.change.Broadcast()
}

func (n *netConn) Received(_ *tcp.Conn, p []byte) int {
	p = p[:min(len(p), netBuffer-len(n.in))]
	n.in = append(n.in, p...)
	n.s.change.Broadcast()
	return len(p)
}

func (n *netConn) Writable(*tcp.Conn) { n.s.change.Broadcast() }

func (n *netConn) Ended(_ *tcp.Conn, err abi.Errno) {
	if n.ended = io.EOF; err != 0 {
		n.ended = err
	}
	n.s.change.Broadcast()
}

func (n *netConn) Read(p []byte) (k int, err error) {
	n.s.do(func() {
		for len(n.in) == 0 && n.ended == nil {
			if !n.deadline.IsZero() && !time.Now().Before(n.deadline) {
				err = os.ErrDeadlineExceeded
				return
			}
			n.s.change.Wait()
		}
		k = copy(p, n.in)
		if n.in = n.in[k:]; k > 0 {
			n.c.Pull()
		} else if len(p) > 0 {
			err = n.ended
		}
	})
	return k, err
}

func (n *netConn) Write(p []byte) (k int, err error) {
	n.s.do(func() {
		for err == nil {
			k += n.c.Write(p[k:])
			n.c.Push()
			n.s.k.stack.Flush()
			if k == len(p) {
				return
			}
			if n.ended != nil && n.ended != io.EOF {
				err = n.ended
				return
			}
			n.s.change.Wait()
			n.s.k.stack.SetNow(n.s.k.now())
		}
	})
	return k, err
}

func (n *netConn) Close() error {
	n.s.do(func() {
		n.c.Close()
		if n.ended == nil {
			n.ended = net.ErrClosed
		}
		n.s.change.Broadcast()
	})
	return nil
}

func (n *netConn) SetReadDeadline(t time.Time) error {
	n.s.do(func() {
		n.deadline = t
		n.s.change.Broadcast()
	})
	return nil
}

func (n *netConn) SetDeadline(t time.Time) error    { return n.SetReadDeadline(t) }
func (n *netConn) SetWriteDeadline(time.Time) error { return nil }
func (n *netConn) LocalAddr() net.Addr              { return netAddr(n.c.Local()) }
func (n *netConn) RemoteAddr() net.Addr             { return netAddr(n.c.Remote()) }

func netAddr(e tcp.Endpoint) net.Addr {
	b := e.Addr.Bytes()
	return &net.TCPAddr{IP: b[:], Port: int(e.Port)}
}

// dial opens a connection to the kernel.
func (s *shared) dial(port uint16) (net.Conn, error) {
	n := &netConn{s: s}
	s.do(func() {
		var err abi.Errno
		if n.c, err = s.k.stack.TCP().Connect(0, 0, kernelAddr, port, n); err != 0 {
			n.ended = err
			return
		}
		s.k.stack.Flush()
		for !n.connected {
			s.change.Wait()
		}
	})
	return n, n.ended
}

// netListener listens on the stack.
type netListener struct {
	s      *shared
	l      *tcp.Listener
	closed bool
}

func (s *shared) listen(port uint16) (*netListener, error) {
	l := &netListener{s: s}
	var err abi.Errno
	s.do(func() { l.l, err = s.k.stack.TCP().Listen(0, port, 100, l) })
	if err != 0 {
		return nil, err
	}
	return l, nil
}

func (l *netListener) Acceptable(*tcp.Listener) { l.s.change.Broadcast() }

func (l *netListener) Accept() (conn net.Conn, err error) {
	l.s.do(func() {
		for !l.closed {
			if c := l.l.Accept(); c != nil {
				n := &netConn{s: l.s, c: c, connected: true}
				c.SetHandler(n)
				c.Pull()
				conn = n
				return
			}
			l.s.change.Wait()
		}
		err = net.ErrClosed
	})
	return conn, err
}

func (l *netListener) Close() error {
	l.s.do(func() {
		l.closed = true
		l.l.Close()
		l.s.change.Broadcast()
	})
	return nil
}

func (l *netListener) Addr() net.Addr { return netAddr(l.l.Local()) }
