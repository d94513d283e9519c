package link

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

// PacketConfig describes a packet socket. What is zero takes a default.
type PacketConfig struct {
	Interface string
	MAC       wire.MAC // the interface's; another one makes it promiscuous
	// BypassQdisc sends past the queueing discipline of the interface, and so past its accounting and shaping.
	BypassQdisc bool
	Slots       int // of each ring, rounded up to a power of two: 1024
}

const (
	packetLargest = 1<<16 + 1<<10 // of a frame that does not fit into a slot
	packetLarge   = 16            // how many of those one Receive gives
	packetIdle    = 1024          // calls of Receive that find nothing until it looks for an error
)

// Packet is an interface of the kernel by way of a packet socket with rings in shared memory (packet(7)). The kernel
// goes on using the interface: it sees what is received, and answers for its own addresses. So the address used with
// a Packet must not be one of the kernel's.
//
// The rings are of TPACKET_V2: V3 hands over whole blocks, after a millisecond at the earliest.
//
// Frames may be longer than the MTU, since the kernel joins segments (GRO), and a veth or bridge passes on what its
// TCP leaves to be cut (TSO). These come by a system call each.
type Packet struct {
	info     Info
	fd       int
	memory   []byte
	rx, tx   packetRing
	released uint32 // slots of rx up to here are the kernel's; up to rx.at they have been handed out
	queued   bool   // the kernel has not been told of all frames in tx
	large    []byte
	idle     int
	counters Counters
}

// packetRing is a ring of slots of the same size. A slot begins with a header, of which the first word tells whose
// it is.
type packetRing struct {
	slots []byte
	size  uint32
	mask  uint32
	at    uint32 // the next slot, counting freely
}

func (r *packetRing) slot(i uint32) []byte {
	at := (i & r.mask) * r.size
	return r.slots[at : at+r.size : at+r.size]
}

func status(slot []byte) uint32 {
	return atomic.LoadUint32((*uint32)(unsafe.Pointer(unsafe.SliceData(slot))))
}

func setStatus(slot []byte, v uint32) {
	atomic.StoreUint32((*uint32)(unsafe.Pointer(unsafe.SliceData(slot))), v)
}

// Info implements Device.
func (p *Packet) Info() Info { return p.info }

// Receive implements Device. The descriptor stays readable until a call has returned 0.
func (p *Packet) Receive(frames []Frame) int {
	for ; p.released != p.rx.at; p.released++ {
		setStatus(p.rx.slot(p.released), unix.TP_STATUS_KERNEL)
	}
	n, large := 0, 0
	for n < len(frames) && p.rx.at-p.released <= p.rx.mask {
		slot := p.rx.slot(p.rx.at)
		s := status(slot)
		if s&unix.TP_STATUS_USER == 0 {
			break
		}
		if s&unix.TP_STATUS_COPY != 0 && large == packetLarge {
			break
		}
		p.rx.at++
		data, whole := packetFrame(slot)
		if s&unix.TP_STATUS_COPY != 0 {
			data = p.receiveLarge(large)
			whole = data != nil
			large++
		}
		if !whole || len(data) < wire.EthernetLen {
			p.counters.RxErrors++
			continue
		}
		f := &frames[n]
		*f = Frame{Data: data}
		if s&(unix.TP_STATUS_CSUMNOTREADY|unix.TP_STATUS_CSUM_VALID) != 0 {
			f.Flags = trusted(data)
		}
		p.counters.RxBytes += uint64(len(data))
		n++
	}
	p.counters.RxFrames += uint64(n)
	if n == 0 {
		p.lookForError()
	}
	return n
}

// packetFrame finds the frame in a slot; whole is false if the kernel has cut it off, or the header makes no sense.
func packetFrame(slot []byte) (data []byte, whole bool) {
	h := (*unix.Tpacket2Hdr)(unsafe.Pointer(unsafe.SliceData(slot)))
	from, n := int(h.Mac), int(h.Snaplen)
	if h.Len != h.Snaplen || from < unix.SizeofTpacket2Hdr || n > len(slot)-from || n < 0 {
		return nil, false
	}
	return slot[from : from+n : from+n], true
}

// receiveLarge takes the next frame from the queue of those that did not fit into a slot, or returns nil.
func (p *Packet) receiveLarge(i int) []byte {
	b := p.large[i*packetLargest : (i+1)*packetLargest : (i+1)*packetLargest]
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(p.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	if errno != 0 || int(n) > len(b) {
		return nil
	}
	return b[:n]
}

// lookForError takes an error off the socket now and then, such as that the interface went down: as long as one is
// there, the descriptor is readable.
func (p *Packet) lookForError() {
	if p.idle++; p.idle < packetIdle {
		return
	}
	p.idle = 0
	var v int32
	n := uint32(4)
	_, _, _ = syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(p.fd), unix.SOL_SOCKET, unix.SO_ERROR, uintptr(unsafe.Pointer(&v)),
		uintptr(unsafe.Pointer(&n)), 0)
}

// packetTxData is where the frame begins in a slot that is sent: behind the header, without the sockaddr_ll that
// follows it in slots received.
const packetTxData = (unix.SizeofTpacket2Hdr + unix.TPACKET_ALIGNMENT - 1) &^ (unix.TPACKET_ALIGNMENT - 1)

// Buffer implements Device.
func (p *Packet) Buffer() []byte {
	slot := p.tx.slot(p.tx.at)
	if status(slot) != unix.TP_STATUS_AVAILABLE {
		return nil
	}
	n := packetTxData + p.info.MTU + wire.EthernetLen
	return slot[packetTxData:n:n]
}

// Send implements Device.
func (p *Packet) Send(n int, _ Flags) {
	slot := p.tx.slot(p.tx.at)
	if n < wire.EthernetLen || n > p.info.MTU+wire.EthernetLen || status(slot) != unix.TP_STATUS_AVAILABLE {
		p.counters.TxDropped++
		return
	}
	(*unix.Tpacket2Hdr)(unsafe.Pointer(unsafe.SliceData(slot))).Len = uint32(n)
	setStatus(slot, unix.TP_STATUS_SEND_REQUEST)
	p.tx.at++
	p.queued = true
	p.counters.TxFrames++
	p.counters.TxBytes += uint64(n)
}

// Flush implements Device. What the interface does not take now, it is offered again with the next frames.
func (p *Packet) Flush() {
	if !p.queued {
		return
	}
	_, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(p.fd), 0, 0, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	p.queued = errno != 0
}

// Counters implements Device.
func (p *Packet) Counters() *Counters {
	var s unix.TpacketStats // since the last call
	n := uint32(unsafe.Sizeof(s))
	_, _, errno := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(p.fd), unix.SOL_PACKET, unix.PACKET_STATISTICS, uintptr(unsafe.Pointer(&s)),
		uintptr(unsafe.Pointer(&n)), 0)
	if errno == 0 {
		p.counters.RxDropped += uint64(s.Drops)
	}
	return &p.counters
}

// Close implements Device.
func (p *Packet) Close() {
	if p.memory != nil {
		_ = unix.Munmap(p.memory)
		p.memory, p.rx.slots, p.tx.slots = nil, nil, nil
	}
	if p.fd >= 0 {
		_ = unix.Close(p.fd)
		p.fd = -1
	}
}

// OpenPacket opens a packet socket. Errors are ENODEV, EPERM, ENETDOWN, EPROTOTYPE for what is no Ethernet, and what
// else the kernel says, with a text.
func OpenPacket(cfg PacketConfig) (*Packet, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err == unix.EPERM {
		return nil, fmt.Errorf("interface %s: a packet socket needs CAP_NET_RAW: %w", cfg.Interface, err)
	}
	if err != nil {
		return nil, fmt.Errorf("interface %s: packet socket: %w", cfg.Interface, err)
	}
	p := &Packet{fd: fd}
	if reason, errno := p.configure(&cfg); errno != 0 {
		p.Close()
		return nil, fmt.Errorf("interface %s: %s: %w", cfg.Interface, reason, errno)
	}
	return p, nil
}
