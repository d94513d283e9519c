package dpdk

import (
	"reflect"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// Counters implements engine.Counting: the counters of the stack are the fields of its structures.
func (o *LibOS) Counters(visit func(name string, value uint64)) {
	for _, part := range []struct {
		name     string
		counters any
	}{
		{"link", o.dev.Counters()},
		{"ip", o.stack.IP().Counters()},
		{"udp", o.stack.UDP().Counters()},
		{"tcp", &o.stack.TCP().Counters},
	} {
		v := reflect.ValueOf(part.counters).Elem()
		for i := range v.NumField() {
			visit(part.name+"."+words(v.Type().Field(i).Name), v.Field(i).Uint())
		}
	}
}

// words turns the name of a field into that of a counter: PAWSDrops is paws_drops.
func words(name string) string {
	var sb strings.Builder
	r := []rune(name)
	for i, c := range r {
		// A word begins where a capital follows a small letter, or is followed by one; the s of a plural is none.
		if i > 0 && unicode.IsUpper(c) && (unicode.IsLower(r[i-1]) || i+1 < len(r) && unicode.IsLower(r[i+1]) && string(r[i+1:]) != "s") {
			sb.WriteByte('_')
		}
		sb.WriteRune(unicode.ToLower(c))
	}
	return sb.String()
}

var tcpStates = [...]uint32{
	tcp.Closed:      abi.TCPClosed,
	tcp.SynSent:     abi.TCPSynSent,
	tcp.SynReceived: abi.TCPSynReceived,
	tcp.Established: abi.TCPEstablished,
	tcp.FinWait1:    abi.TCPFinWait1,
	tcp.FinWait2:    abi.TCPFinWait2,
	tcp.CloseWait:   abi.TCPCloseWait,
	tcp.Closing:     abi.TCPClosing,
	tcp.LastACK:     abi.TCPLastACK,
	tcp.TimeWait:    abi.TCPTimeWait,
}

// TCPInfo implements engine.Informed.
func (t *tcpSock) TCPInfo(i *abi.TCPInfo) abi.Errno {
	if err := t.in.Usable(); err != 0 {
		return err
	}
	if t.conn == nil {
		return unix.EINVAL
	}
	var c tcp.Info
	t.conn.Info(&c)
	*i = abi.TCPInfo{
		State: tcpStates[c.State], MSS: uint32(c.MSS), PathMTU: uint32(c.PathMTU),
		RTT: uint64(c.SRTT), RTTVar: uint64(c.RTTVar), MinRTT: uint64(c.MinRTT), RTO: uint64(c.RTO),
		CongestionWindow: uint64(c.CongestionWnd), SlowStart: uint64(c.SlowStart), SendWindow: uint64(c.SendWnd), RecvWindow: uint64(c.ReceiveWnd),
		InFlight: uint64(c.InFlight), Unsent: uint64(c.Unsent), Unread: uint64(c.Unread),
		BytesSent: c.BytesSent, BytesAcked: c.BytesAcked, BytesReceived: c.BytesReceived,
		SegmentsSent: c.SegmentsSent, SegmentsReceived: c.SegmentsReceived, Retransmits: c.Retransmits,
		DuplicateACKs: c.DuplicateACKs, OutOfOrder: c.OutOfOrder,
	}
	for _, f := range []struct {
		set  bool
		flag uint32
	}{
		{c.Timestamps, abi.TCPTimestamps}, {c.SACK, abi.TCPSACK}, {c.SendScale+c.ReceiveScale > 0, abi.TCPWindowScale}, {c.Recovering, abi.TCPRecovering},
	} {
		if f.set {
			i.Flags |= f.flag
		}
	}
	return 0
}
