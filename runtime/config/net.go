package config

import (
	"fmt"
	"net/netip"

	"go.yaml.in/yaml/v3"
)

// Network is the place of the own TCP/IP stack in its network, for the libOSes dpdk and raw.
type Network struct {
	Address string            `yaml:"address"` // own, with the length of the network's prefix
	Gateway string            `yaml:"gateway"`
	Routes  map[string]string `yaml:"routes"` // network to gateway
	MTU     int               `yaml:"mtu"`    // 0: that of the device
	TTL     int               `yaml:"ttl"`
	DSCP    int               `yaml:"dscp"` // of all packets
	Pcap    string            `yaml:"pcap"` // file for what comes and goes
}

// Raw is the device of the raw libOS.
type Raw struct {
	Device        RawDevice `yaml:"device"`
	Interface     string    `yaml:"interface"`
	KernelAddress string    `yaml:"kernel_address"` // of the kernel's side of a tap
}

// TCP is how the own stack does TCP.
type TCP struct {
	Congestion       Congestion `yaml:"congestion"`
	Nagle            bool       `yaml:"nagle"`
	SendBuffer       int        `yaml:"send_buffer"` // bytes of a connection, at most
	ReceiveBuffer    int        `yaml:"receive_buffer"`
	MSS              int        `yaml:"mss"` // 0: as the MTU allows
	DelayedAckMicros int        `yaml:"delayed_ack_us"`
	RTOMinMillis     int        `yaml:"rto_min_ms"`
	RTOMaxMillis     int        `yaml:"rto_max_ms"`
	ConnectSeconds   int        `yaml:"connect_timeout_s"`
	UserSeconds      int        `yaml:"user_timeout_s"` // without progress of what was sent
	Keepalive        int        `yaml:"keepalive_s"`    // silence before the first probe; 0: none
	KeepInterval     int        `yaml:"keepalive_interval_s"`
	KeepProbes       int        `yaml:"keepalive_probes"`
	TimeWait         int        `yaml:"time_wait_s"`
	FinWait          int        `yaml:"fin_wait_s"`
	ExitMillis       int        `yaml:"exit_ms"` // for the peers to take what was pushed last
	Connections      int        `yaml:"connections"`
	Backlog          int        `yaml:"backlog"`   // caps that of dmtr_listen
	HalfOpen         int        `yaml:"half_open"` // connections of one listener that await the third segment
	SynCookies       bool       `yaml:"syn_cookies"`
	Timestamps       bool       `yaml:"timestamps"`
	SACK             bool       `yaml:"sack"`
	WindowScale      bool       `yaml:"window_scale"`
}

func defaultTCP() TCP {
	return TCP{
		SendBuffer:       1 << 20,
		ReceiveBuffer:    1 << 20,
		DelayedAckMicros: 40_000,
		RTOMinMillis:     200,
		RTOMaxMillis:     60_000,
		ConnectSeconds:   180,
		UserSeconds:      300,
		KeepInterval:     75,
		KeepProbes:       9,
		TimeWait:         60,
		FinWait:          60,
		ExitMillis:       1000,
		Connections:      65536,
		Backlog:          4096,
		HalfOpen:         1024,
		SynCookies:       true,
		Timestamps:       true,
		SACK:             true,
		WindowScale:      true,
	}
}

func (c *Config) netRanges() []numRange {
	t := &c.TCP
	return []numRange{
		{"network.mtu", c.Network.MTU, 0, 65535},
		{"network.ttl", c.Network.TTL, 1, 255},
		{"network.dscp", c.Network.DSCP, 0, 63},
		{"dpdk.sleep_us", c.Dpdk.SleepMicros, 1, 1_000_000},
		{"dpdk.max_sleep_us", c.Dpdk.MaxSleepMicros, c.Dpdk.SleepMicros, 1_000_000},
		{"tcp.send_buffer", t.SendBuffer, 4096, 1 << 30},
		{"tcp.receive_buffer", t.ReceiveBuffer, 4096, 1 << 30},
		{"tcp.mss", t.MSS, 0, 65495},
		{"tcp.delayed_ack_us", t.DelayedAckMicros, 0, 499_999},
		{"tcp.rto_min_ms", t.RTOMinMillis, 1, 60_000},
		{"tcp.rto_max_ms", t.RTOMaxMillis, max(t.RTOMinMillis, 1000), 600_000},
		{"tcp.connect_timeout_s", t.ConnectSeconds, 1, 86400},
		{"tcp.user_timeout_s", t.UserSeconds, 1, 86400},
		{"tcp.keepalive_s", t.Keepalive, 0, 86400},
		{"tcp.keepalive_interval_s", t.KeepInterval, 1, 86400},
		{"tcp.keepalive_probes", t.KeepProbes, 1, 127},
		{"tcp.time_wait_s", t.TimeWait, 1, 600},
		{"tcp.fin_wait_s", t.FinWait, 1, 86400},
		{"tcp.exit_ms", t.ExitMillis, 0, 60_000},
		{"tcp.connections", t.Connections, 1, 1 << 20},
		{"tcp.backlog", t.Backlog, 1, 65535},
		{"tcp.half_open", t.HalfOpen, 1, 65535},
	}
}

func isIPv4(s string) bool {
	ip, err := netip.ParseAddr(s)
	return err == nil && ip.Is4()
}

func isNetwork(s string) bool {
	p, err := netip.ParsePrefix(s)
	return err == nil && p.Addr().Is4()
}

// checkNetwork checks the addresses of the section network.
func (c *Config) checkNetwork() (key string, err error) {
	n := &c.Network
	if n.Address != "" && !isNetwork(n.Address) {
		return "network.address", fmt.Errorf("%q is no IPv4 address with a prefix, as 192.0.2.1/24", clip(n.Address))
	}
	if len(c.Raw.Interface) > 15 {
		return "raw.interface", fmt.Errorf("%q has more than 15 bytes", clip(c.Raw.Interface))
	}
	if n.MTU != 0 && n.MTU < minMTU {
		return "network.mtu", fmt.Errorf("%d is neither 0 nor between %d and 65535", n.MTU, minMTU)
	}
	if m := c.TCP.MSS; m != 0 && m < minMSS {
		return "tcp.mss", fmt.Errorf("%d is neither 0 nor between %d and 65495", m, minMSS)
	}
	for _, to := range sortedKeys(n.Routes) {
		if !isNetwork(to) {
			return "network.routes", fmt.Errorf("%q is no IPv4 network, as 192.0.2.0/24", clip(to))
		}
		if !isIPv4(n.Routes[to]) {
			return "network.routes", fmt.Errorf("%q is no IPv4 address", clip(n.Routes[to]))
		}
	}
	return "", nil
}

const (
	minMTU = 576
	minMSS = 88
)

// Congestion names the algorithm of congestion control.
type Congestion uint8

// Algorithms.
const (
	CongestionCubic Congestion = iota // RFC 9438
	CongestionReno                    // RFC 5681
)

var congestionNames = []string{"cubic", "reno"}

func (c Congestion) String() string { return name(congestionNames, int(c)) }

// UnmarshalYAML reads the name of an algorithm.
func (c *Congestion) UnmarshalYAML(n *yaml.Node) error {
	i, err := enumNode("congestion control", congestionNames, n)
	*c = Congestion(i)
	return err
}

// RawDevice is the kind of device of the raw libOS.
type RawDevice uint8

// Kinds of devices.
const (
	RawTap    RawDevice = iota // a tap that the library makes, with the kernel at its other end
	RawPacket                  // an interface of the kernel, by AF_PACKET
)

var rawNames = []string{"tap", "packet"}

func (d RawDevice) String() string { return name(rawNames, int(d)) }

// UnmarshalYAML reads the name of a kind.
func (d *RawDevice) UnmarshalYAML(n *yaml.Node) error {
	i, err := enumNode("raw device", rawNames, n)
	*d = RawDevice(i)
	return err
}
