package link

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// PcapConfig describes a capture. What is zero takes a default.
type PcapConfig struct {
	Path  string // a regular file, emptied, or made for the owner to read
	Limit int64  // bytes of the file, after which frames are not captured any more: 1 GiB
	Snap  int    // bytes kept of a frame: all
	Epoch int64  // Unix time in ns at which SetNow's time was 0
}

const (
	pcapBuffer   = 256 << 10
	pcapPatience = int64(10e6) // how long frames stay in the buffer if there is time to write them
)

// Pcap is a device around another that writes what passes to a file for Wireshark or tcpdump: pcapng, with times in
// ns and the directions. It writes when there is nothing to receive, or when its buffer is full. A failing disk ends
// the capture and nothing else. Counters are those of the device inside.
type Pcap struct {
	inner    Device
	clocked  Clocked // inner, if it is one
	fd       int
	snap     int
	epoch    int64
	now      int64
	written  int64  // when the buffer was written last
	room     int64  // bytes that may still be captured
	sending  []byte // what Buffer returned
	buffer   []byte
	captured uint64
	missed   uint64
	err      abi.Errno
}

// NewPcap wraps a device. Close closes it, too.
func NewPcap(dev Device, cfg PcapConfig) (*Pcap, error) {
	fd, err := openRegular(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("capture to %s: %w", cfg.Path, err)
	}
	if cfg.Limit <= 0 {
		cfg.Limit = 1 << 30
	}
	var most unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_FSIZE, &most) == nil && most.Cur < uint64(cfg.Limit) {
		cfg.Limit = int64(most.Cur) // more gives SIGXFSZ
	}
	if cfg.Snap <= 0 || cfg.Snap > pcapBuffer/2 {
		cfg.Snap = pcapBuffer / 2
	}
	p := &Pcap{inner: dev, fd: fd, snap: cfg.Snap, epoch: cfg.Epoch, room: cfg.Limit, buffer: make([]byte, 0, pcapBuffer)}
	p.clocked, _ = dev.(Clocked)
	p.head(dev.Info())
	p.room -= int64(len(p.buffer))
	p.write()
	if p.err != 0 {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("capture to %s: %w", cfg.Path, p.err)
	}
	return p, nil
}

// openRegular makes a file anew. A pipe could block, or give SIGPIPE.
func openRegular(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = unix.EINVAL
	}
	if err == nil {
		err = unix.Ftruncate(fd, 0)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Captured tells how many frames went into the file, how many did not, and the error that ended the capture, if any.
func (p *Pcap) Captured() (captured, missed uint64, err abi.Errno) {
	return p.captured, p.missed, p.err
}

// Blocks, options and flags of draft-ietf-opsawg-pcapng.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6
	optionName     = 2
	optionMAC      = 6
	optionTime     = 9
	inbound        = 1
	outbound       = 2
	blockOverhead  = 12      // type, length, and length once more
	packetOverhead = 20 + 12 // fixed fields; direction and end of options
)

// head writes the blocks that a file begins with.
func (p *Pcap) head(info Info) {
	le := binary.LittleEndian
	b := le.AppendUint32(p.buffer, blockSection)
	b = le.AppendUint32(b, blockOverhead+16)
	b = le.AppendUint32(b, 0x1a2b3c4d)
	b = le.AppendUint32(b, 1) // version 1.0
	b = le.AppendUint64(b, 1<<64-1)
	b = le.AppendUint32(b, blockOverhead+16)

	start := len(b)
	b = le.AppendUint32(b, blockInterface)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, 1) // LINKTYPE_ETHERNET
	b = le.AppendUint32(b, uint32(p.snap))
	b = option(b, optionName, []byte(info.Name))
	b = option(b, optionMAC, info.MAC[:])
	b = option(b, optionTime, []byte{9}) // 10^-9 s
	b = option(b, 0, nil)
	n := uint32(len(b) - start + 4)
	b = le.AppendUint32(b, n)
	le.PutUint32(b[start+4:], n)
	p.buffer = b
}

func option(b []byte, code uint16, value []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// capture appends a packet block. todo is what the device will do to the frame after this.
func (p *Pcap) capture(frame []byte, direction uint32, todo Flags) {
	n := min(len(frame), p.snap)
	size := blockOverhead + packetOverhead + (n+3)&^3
	if p.err != 0 || int64(size) > p.room {
		p.missed++
		p.room = 0 // so that the file has no gaps
		return
	}
	if size > cap(p.buffer)-len(p.buffer) {
		if p.write(); p.err != 0 {
			p.missed++
			return
		}
	}
	p.captured++
	p.room -= int64(size)
	start := len(p.buffer)
	p.buffer = p.buffer[:start+size]
	b := p.buffer[start:]
	le := binary.LittleEndian
	ns := uint64(p.epoch + p.now)
	le.PutUint32(b, blockPacket)
	le.PutUint32(b[4:], uint32(size))
	le.PutUint32(b[8:], 0) // the interface
	le.PutUint32(b[12:], uint32(ns>>32))
	le.PutUint32(b[16:], uint32(ns))
	le.PutUint32(b[20:], uint32(n))
	le.PutUint32(b[24:], uint32(len(frame)))
	copy(b[28:], frame[:n])
	if todo != 0 && n == len(frame) {
		fillSums(b[28:28+n], todo)
	}
	end := 28 + (n+3)&^3
	clear(b[28+n : end])
	le.PutUint32(b[end:], 2|4<<16) // epb_flags
	le.PutUint32(b[end+4:], direction)
	le.PutUint32(b[end+8:], 0)
	le.PutUint32(b[end+12:], uint32(size))
}

// write empties the buffer.
func (p *Pcap) write() {
	p.written = p.now
	for at := 0; at < len(p.buffer); {
		rest := p.buffer[at:]
		n, _, err := syscall.RawSyscall(unix.SYS_WRITE, uintptr(p.fd), uintptr(unsafe.Pointer(unsafe.SliceData(rest))), uintptr(len(rest)))
		if err != 0 && err != unix.EINTR {
			p.err = err
			break
		}
		if err == 0 {
			at += int(n)
		}
	}
	p.buffer = p.buffer[:0]
}

// SetNow implements Clocked.
func (p *Pcap) SetNow(now int64) {
	p.now = now
	if p.clocked != nil {
		p.clocked.SetNow(now)
	}
}

// Next implements Clocked.
func (p *Pcap) Next() int64 {
	next := timer.Never
	if p.clocked != nil {
		next = p.clocked.Next()
	}
	if len(p.buffer) > 0 {
		next = min(next, p.written+pcapPatience)
	}
	return next
}

// Info implements Device.
func (p *Pcap) Info() Info { return p.inner.Info() }

// Receive implements Device.
func (p *Pcap) Receive(frames []Frame) int {
	n := p.inner.Receive(frames)
	for i := range frames[:n] {
		p.capture(frames[i].Data, inbound, 0)
	}
	if n == 0 && len(p.buffer) > 0 && p.now-p.written >= pcapPatience {
		p.write()
	}
	return n
}

// Buffer implements Device.
func (p *Pcap) Buffer() []byte {
	p.sending = p.inner.Buffer()
	return p.sending
}

// Send implements Device.
func (p *Pcap) Send(n int, flags Flags) {
	if n >= wire.EthernetLen && n <= len(p.sending) {
		p.capture(p.sending[:n], outbound, flags)
	}
	p.sending = nil
	p.inner.Send(n, flags)
}

// Flush implements Device.
func (p *Pcap) Flush() { p.inner.Flush() }

// Counters implements Device.
func (p *Pcap) Counters() *Counters { return p.inner.Counters() }

// Close implements Device.
func (p *Pcap) Close() {
	if p.err == 0 {
		p.write()
	}
	_ = unix.Close(p.fd)
	p.err = unix.EBADF
	p.inner.Close()
}
