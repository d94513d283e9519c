package link

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// ifreq is struct ifreq of netdevice(7).
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data [24]byte
}

func newIfreq(name string) (*ifreq, abi.Errno) {
	r := &ifreq{}
	if len(name) >= len(r.name) {
		return nil, unix.ENAMETOOLONG
	}
	copy(r.name[:], name)
	return r, 0
}

func (r *ifreq) interfaceName() string { return unix.ByteSliceToString(r.name[:]) }

func (r *ifreq) uint16() uint16     { return binary.NativeEndian.Uint16(r.data[:]) }
func (r *ifreq) putUint16(v uint16) { binary.NativeEndian.PutUint16(r.data[:], v) }
func (r *ifreq) uint32() uint32     { return binary.NativeEndian.Uint32(r.data[:]) }
func (r *ifreq) putUint32(v uint32) { binary.NativeEndian.PutUint32(r.data[:], v) }
func (r *ifreq) putAddr(a wire.Addr) { // a sockaddr_in
	clear(r.data[:])
	r.putUint16(unix.AF_INET)
	binary.BigEndian.PutUint32(r.data[4:], uint32(a))
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) abi.Errno {
	_, _, err := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	return err
}

// Interface is an interface of the kernel in the network namespace of the thread.
type Interface string

// do asks the kernel about the interface, or changes it: fill, if not nil, writes the argument.
func (i Interface) do(request uintptr, fill func(*ifreq)) (*ifreq, abi.Errno) {
	r, errno := newIfreq(string(i))
	if errno != 0 {
		return nil, errno
	}
	if fill != nil {
		fill(r)
	}
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if errno != 0 {
		return nil, errno
	}
	errno = ioctl(int(fd), request, unsafe.Pointer(r))
	_ = unix.Close(int(fd))
	return r, errno
}

// Index is that of the interface.
func (i Interface) Index() (int, abi.Errno) {
	r, errno := i.do(unix.SIOCGIFINDEX, nil)
	if errno != 0 {
		return 0, errno
	}
	return int(r.uint32()), 0
}

// MTU is that of the interface.
func (i Interface) MTU() (int, abi.Errno) {
	r, errno := i.do(unix.SIOCGIFMTU, nil)
	if errno != 0 {
		return 0, errno
	}
	return int(r.uint32()), 0
}

// MAC is the address of the interface; EPROTOTYPE if it is not an Ethernet one.
func (i Interface) MAC() (wire.MAC, abi.Errno) {
	r, errno := i.do(unix.SIOCGIFHWADDR, nil)
	if errno == 0 && r.uint16() != unix.ARPHRD_ETHER {
		errno = unix.EPROTOTYPE
	}
	if errno != 0 {
		return wire.MAC{}, errno
	}
	return wire.MAC(r.data[2:8]), 0
}

// Flags are the IFF_ flags of the interface.
func (i Interface) Flags() (uint16, abi.Errno) {
	r, errno := i.do(unix.SIOCGIFFLAGS, nil)
	if errno != 0 {
		return 0, errno
	}
	return r.uint16(), 0
}

// SetMTU changes the MTU.
func (i Interface) SetMTU(mtu int) abi.Errno {
	_, errno := i.do(unix.SIOCSIFMTU, func(r *ifreq) { r.putUint32(uint32(mtu)) })
	return errno
}

// SetMAC changes the address.
func (i Interface) SetMAC(mac wire.MAC) abi.Errno {
	_, errno := i.do(unix.SIOCSIFHWADDR, func(r *ifreq) {
		r.putUint16(unix.ARPHRD_ETHER)
		copy(r.data[2:], mac[:])
	})
	return errno
}

// SetUp brings the interface up.
func (i Interface) SetUp() abi.Errno {
	flags, errno := i.Flags()
	if errno != 0 {
		return errno
	}
	_, errno = i.do(unix.SIOCSIFFLAGS, func(r *ifreq) { r.putUint16(flags | unix.IFF_UP) })
	return errno
}

// SetAddress gives the interface an IPv4 address and a network.
func (i Interface) SetAddress(addr wire.Addr, prefix int) abi.Errno {
	if prefix < 0 || prefix > 32 {
		return unix.EINVAL
	}
	if _, errno := i.do(unix.SIOCSIFADDR, func(r *ifreq) { r.putAddr(addr) }); errno != 0 {
		return errno
	}
	mask := wire.Addr(^uint64(0) << (32 - prefix))
	_, errno := i.do(unix.SIOCSIFNETMASK, func(r *ifreq) { r.putAddr(mask) })
	return errno
}
