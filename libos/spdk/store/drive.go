package store

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// What blocks does its work by these requests, which are not those of the data path.
const metaRequests = 32

type metaRequest struct {
	req  block.Request
	s    *Store
	busy bool
}

// Done is that of block.Owner.
func (m *metaRequest) Done(*block.Request) {
	m.busy = false
	m.s.metaBusy--
}

// attach takes the buffers for everything.
func attach(dev block.Device, o Options) (*Store, abi.Errno) {
	s := &Store{dev: dev, info: dev.Info(), opt: o}
	bs := s.info.BlockSize
	if bs < 512 || bs > 1<<16 || bs&(bs-1) != 0 || s.info.MaxTransfer < 2*bs || s.info.Blocks < 8 || s.info.Depth < 1 {
		return nil, unix.EINVAL
	}
	if s.opt.Timeout == 0 {
		s.opt.Timeout = 30 * time.Second
	}
	s.scratch = s.alloc(int(max(scanBlocks*bs, roundUp(1<<16, bs))))
	if s.scratch == nil {
		return nil, unix.ENOMEM
	}
	for i := range s.meta {
		s.meta[i].s = s
	}
	return s, 0
}

// alloc is that of the device, remembered for release.
func (s *Store) alloc(n int) []byte {
	buf := s.dev.Alloc(n)
	if buf != nil {
		s.memory = append(s.memory, buf)
	}
	return buf
}

// release gives all memory back, unless the drive may still use it.
func (s *Store) release() {
	if s.broken != 0 {
		return
	}
	for _, buf := range s.memory {
		s.dev.Free(buf)
	}
	s.memory = nil
}

// wait polls until done, or fails with ETIMEDOUT, after which the store does nothing any more. It calls no owners of the store.
func (s *Store) wait(done func() bool) abi.Errno {
	if s.broken != 0 {
		return s.broken
	}
	var deadline time.Time
	for round := 0; ; round++ {
		if done() {
			return 0
		}
		s.work()
		if round < 2000 || done() {
			continue
		}
		now := time.Now()
		if deadline.IsZero() {
			deadline = now.Add(s.opt.Timeout)
		}
		if now.After(deadline) {
			s.broken = unix.ETIMEDOUT
			return s.broken
		}
		s.dev.Arm()
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(s.dev.Fd()), Events: unix.POLLIN}}, 1)
	}
}

// spare gives a request that is not under way.
func (s *Store) spare() (*metaRequest, abi.Errno) {
	var found *metaRequest
	err := s.wait(func() bool {
		for i := range s.meta {
			if !s.meta[i].busy {
				found = &s.meta[i]
				return true
			}
		}
		return false
	})
	return found, err
}

// begin submits what m.req says, waiting for the drive to take it.
func (s *Store) begin(m *metaRequest) abi.Errno {
	m.req.Owner, m.req.Err = m, 0
	var err abi.Errno
	if late := s.wait(func() bool { err = s.dev.Submit(&m.req); return err != unix.EAGAIN }); late != 0 {
		return late
	}
	if err == 0 {
		m.busy = true
		s.metaBusy++
	}
	return err
}

func (s *Store) metaEnd() abi.Errno { return s.wait(func() bool { return s.metaBusy == 0 }) }

// transfer reads or durably writes buf, which is memory of the device, and waits for the end.
func (s *Store) transfer(op block.Op, at uint64, buf []byte) abi.Errno {
	bs := int(s.info.BlockSize)
	for i := range s.meta {
		s.meta[i].req.Err = 0
	}
	var err abi.Errno
	for len(buf) > 0 && err == 0 {
		var m *metaRequest
		if m, err = s.spare(); err != 0 {
			return err
		}
		if err = m.req.Err; err != 0 {
			break
		}
		n := min(len(buf), int(s.info.MaxTransfer))
		m.req.Op, m.req.Durable, m.req.Block, m.req.Buf = op, op == block.Write, at, buf[:n]
		err = s.begin(m)
		at, buf = at+uint64(n/bs), buf[n:]
	}
	if late := s.metaEnd(); late != 0 {
		return late
	}
	for i := range s.meta {
		if err == 0 {
			err = s.meta[i].req.Err
		}
	}
	return err
}

// flush makes durable what the drive may have in a cache.
func (s *Store) flush() abi.Errno {
	m, err := s.spare()
	if err != 0 {
		return err
	}
	m.req.Op, m.req.Buf = block.Flush, nil
	if err = s.begin(m); err != 0 {
		return err
	}
	if err = s.metaEnd(); err != 0 {
		return err
	}
	return m.req.Err
}

// discard tells the drive that n blocks are not needed. Whether it cares does not matter.
func (s *Store) discard(at, n uint64) {
	const piece = 1 << 20
	for n > 0 {
		m, err := s.spare()
		if err != 0 {
			return
		}
		m.req.Op, m.req.Buf, m.req.Block, m.req.Count = block.Discard, nil, at, min(n, piece)
		if s.begin(m) != 0 {
			break
		}
		at, n = at+m.req.Count, n-m.req.Count
	}
	_ = s.metaEnd()
}

// extentBlock is the first block of an extent.
func (s *Store) extentBlock(place uint32) uint64 {
	return s.sb.dataStart + uint64(place)*(s.sb.extentSize/uint64(s.sb.blockSize))
}
