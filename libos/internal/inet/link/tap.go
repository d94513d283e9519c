package link

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// TapConfig describes a tap device. What is zero takes a default.
type TapConfig struct {
	Name string   // of the kernel's interface, may have a %d: dmtr%d. Made if it is not there, and then gone with Close
	MAC  wire.MAC // of this end, not of the kernel's: made from that
	MTU  int      // as it is, 1500 if new
	// Large lets the kernel hand over TCP segments of up to 64 KiB, which saves it and us much. MTU still is what can
	// be sent.
	Large bool
}

const (
	tapBurst   = 32
	largeFrame = 1<<16 - 1 + wire.EthernetLen

	// struct virtio_net_hdr
	vnetLen       = 10
	vnetNeedsSum  = 1
	vnetDataValid = 2
)

// Tap is the other end of an interface of the kernel: what the kernel sends there is received here. Checksums are
// left unfinished both ways, as the frames do not leave the machine. Receive and Send make one system call per frame.
type Tap struct {
	info     Info
	fd       int
	largest  int // frame that Receive takes
	stride   int
	memory   []byte // of Receive; each frame after a vnet header
	out      []byte // of Send
	counters Counters
}

// OpenTap opens a tap device. Errors are ENODEV, EPERM and what else the kernel says, with a text.
func OpenTap(cfg TapConfig) (*Tap, error) {
	if cfg.Name == "" {
		cfg.Name = "dmtr%d"
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch err {
	case nil:
	case unix.ENOENT, unix.ENXIO, unix.ENODEV:
		return nil, fmt.Errorf("tap %s: the kernel has no /dev/net/tun (module tun): %w", cfg.Name, unix.ENODEV)
	default:
		return nil, fmt.Errorf("tap %s: /dev/net/tun: %w", cfg.Name, err)
	}
	t := &Tap{fd: fd}
	if reason, errno := t.configure(&cfg); errno != 0 {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("tap %s: %s: %w", cfg.Name, reason, errno)
	}
	return t, nil
}

func (t *Tap) configure(cfg *TapConfig) (reason string, errno abi.Errno) {
	r, errno := newIfreq(cfg.Name)
	if errno != 0 {
		return "name", errno
	}
	r.putUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	switch errno = ioctl(t.fd, unix.TUNSETIFF, unsafe.Pointer(r)); errno {
	case 0:
	case unix.EPERM:
		return "needs CAP_NET_ADMIN, or an interface made for this user (ip tuntap add mode tap user ...)", errno
	case unix.EBUSY:
		return "in use by another process", errno
	default:
		return "cannot be made or opened", errno
	}
	name := Interface(r.interfaceName())
	length := int32(vnetLen)
	if errno = ioctl(t.fd, unix.TUNSETVNETHDRSZ, unsafe.Pointer(&length)); errno != 0 {
		return "header", errno
	}
	offloads := uintptr(unix.TUN_F_CSUM)
	if cfg.Large {
		offloads |= unix.TUN_F_TSO4 | unix.TUN_F_TSO_ECN
	}
	if _, _, errno = unix.RawSyscall(unix.SYS_IOCTL, uintptr(t.fd), unix.TUNSETOFFLOAD, offloads); errno != 0 {
		return "offloads", errno
	}
	if cfg.MTU > 0 {
		if errno = name.SetMTU(cfg.MTU); errno != 0 {
			return "MTU", errno
		}
	}
	mtu, errno := name.MTU()
	if errno != 0 {
		return "MTU", errno
	}
	if cfg.MAC == (wire.MAC{}) {
		if cfg.MAC, errno = name.MAC(); errno != 0 {
			return "MAC", errno
		}
		cfg.MAC[0] |= 2 // locally administered
		cfg.MAC[5] ^= 1
	}
	t.info = Info{Name: string(name), MAC: cfg.MAC, MTU: mtu, Offloads: SumTransport, FD: t.fd}
	t.allocate(cfg.Large)
	return "", 0
}

func (t *Tap) allocate(large bool) {
	room := t.info.MTU + wire.EthernetLen
	t.out = make([]byte, vnetLen+room)
	t.largest = room
	if large {
		t.largest = max(room, largeFrame)
	}
	t.stride = (vnetLen + t.largest + cacheLine) &^ (cacheLine - 1) // one byte more, which tells what is too long
	t.memory = make([]byte, t.stride*tapBurst)
}

// Interface is the kernel's end.
func (t *Tap) Interface() Interface { return Interface(t.info.Name) }

// Up gives the kernel's end an address and brings it up.
func (t *Tap) Up(addr wire.Addr, prefix int) abi.Errno {
	if errno := t.Interface().SetAddress(addr, prefix); errno != 0 {
		return errno
	}
	return t.Interface().SetUp()
}

// Info implements Device.
func (t *Tap) Info() Info { return t.info }

// Receive implements Device.
func (t *Tap) Receive(frames []Frame) int {
	n := 0
	for i := 0; i < tapBurst && n < len(frames); i++ {
		b := t.memory[n*t.stride : (n+1)*t.stride : (n+1)*t.stride]
		got, _, errno := syscall.RawSyscall(unix.SYS_READ, uintptr(t.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if errno != 0 {
			break
		}
		k := int(got) - vnetLen
		if k < wire.EthernetLen || k > t.largest {
			t.counters.RxErrors++
			continue
		}
		f := &frames[n]
		*f = Frame{Data: b[vnetLen : vnetLen+k]}
		if b[0]&(vnetNeedsSum|vnetDataValid) != 0 {
			f.Flags = trusted(f.Data)
		}
		t.counters.RxBytes += uint64(k)
		n++
	}
	t.counters.RxFrames += uint64(n)
	return n
}

// Buffer implements Device.
func (t *Tap) Buffer() []byte { return t.out[vnetLen:] }

// Send implements Device. The kernel has the frame when it returns.
func (t *Tap) Send(n int, flags Flags) {
	if n < wire.EthernetLen || n > len(t.out)-vnetLen {
		t.counters.TxDropped++
		return
	}
	clear(t.out[:vnetLen])
	if flags&SumTransport != 0 {
		if start, _, field, ok := sumPlace(t.out[vnetLen : vnetLen+n]); ok {
			t.out[0] = vnetNeedsSum
			binary.NativeEndian.PutUint16(t.out[6:], uint16(start))
			binary.NativeEndian.PutUint16(t.out[8:], uint16(field))
		}
	}
	_, _, errno := syscall.RawSyscall(unix.SYS_WRITE, uintptr(t.fd), uintptr(unsafe.Pointer(unsafe.SliceData(t.out))), uintptr(vnetLen+n))
	if errno != 0 {
		t.counters.TxDropped++
		return
	}
	t.counters.TxFrames++
	t.counters.TxBytes += uint64(n)
}

// Flush implements Device.
func (t *Tap) Flush() {}

// Counters implements Device.
func (t *Tap) Counters() *Counters { return &t.counters }

// Close implements Device. An interface that was made by OpenTap is gone then.
func (t *Tap) Close() {
	if t.fd >= 0 {
		_ = unix.Close(t.fd)
		t.fd = -1
	}
}
