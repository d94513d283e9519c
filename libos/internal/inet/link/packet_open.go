package link

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// configure makes of the new socket one that is bound to the interface, with rings and a filter.
func (p *Packet) configure(cfg *PacketConfig) (reason string, errno abi.Errno) {
	name := Interface(cfg.Interface)
	index, errno := name.Index()
	if errno != 0 {
		return "no such interface", errno
	}
	mac, errno := name.MAC()
	if errno != 0 {
		return "no Ethernet interface", errno
	}
	if flags, errno := name.Flags(); errno != 0 || flags&unix.IFF_UP == 0 {
		return "down", max(errno, unix.ENETDOWN)
	}
	mtu, errno := name.MTU()
	if errno != 0 {
		return "MTU", errno
	}
	if cfg.MAC == (wire.MAC{}) {
		cfg.MAC = mac
	}
	p.info = Info{Name: cfg.Interface, MAC: cfg.MAC, MTU: mtu, FD: p.fd}
	if what, err := p.options(cfg); err != nil {
		return what, asErrno(err)
	}
	if err := p.mapRings(cfg.Slots); err != nil {
		return "rings", asErrno(err)
	}
	if cfg.MAC != mac {
		if err := unix.SetsockoptPacketMreq(p.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
			&unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC}); err != nil {
			return "promiscuous mode", asErrno(err)
		}
	}
	// Only now frames come, and they go through the filter.
	if err := unix.Bind(p.fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: index}); err != nil {
		return "bind", asErrno(err)
	}
	return "", 0
}

func asErrno(err error) (errno abi.Errno) {
	if errors.As(err, &errno) {
		return errno
	}
	return unix.EINVAL
}

func bigEndian(v uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, v))
}

func (p *Packet) options(cfg *PacketConfig) (what string, err error) {
	for _, o := range []struct {
		what       string
		name, want int
		set        bool
	}{
		{"version", unix.PACKET_VERSION, unix.TPACKET_V2, true},
		{"own frames", unix.PACKET_IGNORE_OUTGOING, 1, true},
		{"malformed frames", unix.PACKET_LOSS, 1, true},
		{"large frames", unix.PACKET_COPY_THRESH, packetLargest, true},
		{"bypass", unix.PACKET_QDISC_BYPASS, 1, cfg.BypassQdisc},
	} {
		if o.set {
			if err := unix.SetsockoptInt(p.fd, unix.SOL_PACKET, o.name, o.want); err != nil {
				return o.what, err
			}
		}
	}
	const room = packetLarge * 2 * packetLargest // the kernel counts its own overhead, too
	if unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room) != nil {
		_ = unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, room)
	}
	program := packetFilter(cfg.MAC)
	return "filter", unix.SetsockoptSockFprog(p.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}

// packetFilter passes frames for the address and for groups that are in no VLAN: the kernel takes the tag out of a
// frame, so that it would look like one without.
func packetFilter(mac wire.MAC) []unix.SockFilter {
	const vlanTag = 44 // SKF_AD_VLAN_TAG
	ancillary := -0x1000 + vlanTag
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: uint32(ancillary)},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0xfff},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0, Jf: 7},
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: 1, Jt: 4},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: binary.BigEndian.Uint32(mac[:]), Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 4},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(binary.BigEndian.Uint16(mac[4:])), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 20},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
}

// mapRings asks for two rings of slots that hold a frame of the MTU, and maps them.
func (p *Packet) mapRings(slots int) error {
	if slots <= 0 {
		slots = 1024
	}
	// In front of a frame received are the header, a sockaddr_ll and up to 16 bytes of alignment, twice.
	need := unix.SizeofTpacket2Hdr + unix.SizeofSockaddrLinklayer + 2*unix.TPACKET_ALIGNMENT + 4 + wire.EthernetLen + p.info.MTU
	size := powerOfTwo(need)
	count := powerOfTwo(max(slots, 8))
	block := max(size, 64<<10)
	count = max(count, block/size)
	req := unix.TpacketReq{Block_size: uint32(block), Block_nr: uint32(count * size / block), Frame_size: uint32(size), Frame_nr: uint32(count)}
	for _, ring := range [...]int{unix.PACKET_RX_RING, unix.PACKET_TX_RING} {
		if err := unix.SetsockoptTpacketReq(p.fd, unix.SOL_PACKET, ring, &req); err != nil {
			return err
		}
	}
	memory, err := unix.Mmap(p.fd, 0, 2*count*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	p.memory = memory
	p.rx = packetRing{slots: memory[:count*size], size: uint32(size), mask: uint32(count - 1)}
	p.tx = packetRing{slots: memory[count*size:], size: uint32(size), mask: uint32(count - 1)}
	p.large = make([]byte, packetLarge*packetLargest)
	return nil
}

func powerOfTwo(n int) int {
	k := 1
	for k < n {
		k *= 2
	}
	return k
}
