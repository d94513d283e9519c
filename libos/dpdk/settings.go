package dpdk

import (
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet"
	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
	"github.com/libdmtr/libdmtr/runtime/config"
)

// settings makes the configuration of the stack from that of the library, which has been checked.
func settings(cfg *config.Config) (*inet.Config, error) {
	var secret [16]byte
	if _, err := unix.Getrandom(secret[:], 0); err != nil {
		return nil, err
	}
	n := &cfg.Network
	c := ip.Config{
		Gateway:    addrOf(n.Gateway),
		Known:      make(map[wire.Addr]wire.MAC),
		DisableARP: cfg.Catnip.DisableArp,
		MTU:        n.MTU,
		TTL:        n.TTL,
		DSCP:       n.DSCP,
		Secret:     secret,
	}
	c.Addr, c.Prefix = ownAddress(cfg)
	if n.Address == "" && c.Addr != 0 {
		// Older files know no networks: everybody is on the link.
		c.Routes = append(c.Routes, ip.Route{})
	}
	for to, by := range n.Routes {
		addr, prefix := network(to)
		c.Routes = append(c.Routes, ip.Route{Net: addr, Prefix: prefix, Gateway: addrOf(by)})
	}
	for mac, addr := range cfg.KnownHosts() {
		if m, err := net.ParseMAC(mac); err == nil && len(m) == len(wire.MAC{}) {
			c.Known[addrOf(addr)] = wire.MAC(m)
		}
	}
	return &inet.Config{IP: c, TCP: tcpSettings(cfg, secret)}, nil
}

// ownAddress is what the configuration says of it, 0 if nothing.
func ownAddress(cfg *config.Config) (addr wire.Addr, prefix int) {
	const usual = 24
	switch {
	case cfg.Network.Address != "":
		return network(cfg.Network.Address)
	case cfg.Catnip.MyIPv4Addr != "":
		return addrOf(cfg.Catnip.MyIPv4Addr), usual
	}
	return addrOf(cfg.Dpdk.Host), usual
}

func tcpSettings(cfg *config.Config, secret [16]byte) tcp.Config {
	const microsecond, millisecond, second = int64(1e3), int64(1e6), int64(1e9)
	t := &cfg.TCP
	c := tcp.Config{
		Secret:         secret,
		Congestion:     t.Congestion.String(),
		Nagle:          t.Nagle,
		SendBuffer:     t.SendBuffer,
		ReceiveBuffer:  t.ReceiveBuffer,
		MSS:            t.MSS,
		DelayedACK:     int64(t.DelayedAckMicros) * microsecond,
		MinRTO:         int64(t.RTOMinMillis) * millisecond,
		MaxRTO:         int64(t.RTOMaxMillis) * millisecond,
		ConnectTimeout: int64(t.ConnectSeconds) * second,
		UserTimeout:    int64(t.UserSeconds) * second,
		KeepIdle:       int64(t.Keepalive) * second,
		KeepInterval:   int64(t.KeepInterval) * second,
		KeepProbes:     t.KeepProbes,
		TimeWait:       int64(t.TimeWait) * second,
		FinWait:        int64(t.FinWait) * second,
		MaxConnections: t.Connections,
		MaxBacklog:     t.Backlog,
		MaxEmbryos:     t.HalfOpen,
		NoCookies:      !t.SynCookies,
		NoTimestamps:   !t.Timestamps,
		NoSACK:         !t.SACK,
		NoScale:        !t.WindowScale,
		FirstPort:      firstPort,
		LastPort:       lastPort,
	}
	if c.DelayedACK == 0 {
		c.DelayedACK = -1 // 0 would be the default
	}
	return c
}

// addrOf reads an address, which is good, or "".
func addrOf(s string) wire.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return 0
	}
	return wire.AddrFrom(a.As4())
}

// network reads an address with a prefix, which is good.
func network(s string) (wire.Addr, int) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return 0, 0
	}
	return wire.AddrFrom(p.Addr().As4()), p.Bits()
}
