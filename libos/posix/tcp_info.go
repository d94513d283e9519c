package posix

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
)

// TCPInfo implements engine.Informed, with what the kernel knows.
func (t *tcp) TCPInfo(i *abi.TCPInfo) abi.Errno {
	if err := t.in.Usable(); err != 0 {
		return err
	}
	k, err := unix.GetsockoptTCPInfo(t.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return errnoOf(err)
	}
	const microsecond = 1000
	const stamps, sack, scale = 1, 2, 4 // TCPI_OPT_ of linux/tcp.h
	const recovery = 3                  // TCP_CA_Recovery, or beyond
	mss := uint64(k.Snd_mss)
	*i = abi.TCPInfo{
		State: uint32(k.State), MSS: k.Snd_mss, PathMTU: k.Pmtu,
		RTT: uint64(k.Rtt) * microsecond, RTTVar: uint64(k.Rttvar) * microsecond, MinRTT: uint64(k.Min_rtt) * microsecond, RTO: uint64(k.Rto) * microsecond,
		CongestionWindow: uint64(k.Snd_cwnd) * mss, SlowStart: uint64(k.Snd_ssthresh) * mss, SendWindow: uint64(k.Snd_wnd), RecvWindow: uint64(k.Rcv_wnd),
		InFlight: uint64(k.Unacked) * mss, Unsent: uint64(k.Notsent_bytes),
		BytesSent: k.Bytes_sent, BytesAcked: k.Bytes_acked, BytesReceived: k.Bytes_received,
		SegmentsSent: uint64(k.Segs_out), SegmentsReceived: uint64(k.Segs_in), Retransmits: uint64(k.Total_retrans), OutOfOrder: uint64(k.Rcv_ooopack),
	}
	for bit, flag := range map[uint8]uint32{stamps: abi.TCPTimestamps, sack: abi.TCPSACK, scale: abi.TCPWindowScale} {
		if k.Options&bit != 0 {
			i.Flags |= flag
		}
	}
	if k.Ca_state >= recovery {
		i.Flags |= abi.TCPRecovering
	}
	return 0
}
