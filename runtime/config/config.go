// Package config reads what a user may set: the environment, the arguments of dmtr_init and a YAML file.
// docs/configuration.md describes every key; TestDocumented keeps the two together.
package config

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Config is everything that can be set. Load fills in the defaults.
type Config struct {
	LibOS      string             `yaml:"libos"`   // "" if nothing names one; never the alias lwip
	Storage    string             `yaml:"storage"` // libOS of files; "" for that of the network
	Wait       WaitMode           `yaml:"wait"`
	SpinMicros int                `yaml:"spin_us"`
	Framing    Framing            `yaml:"framing"`
	Ports      map[uint16]Framing `yaml:"ports"`
	Limits     Limits             `yaml:"limits"`
	Posix      Posix              `yaml:"posix"`
	Network    Network            `yaml:"network"`
	TCP        TCP                `yaml:"tcp"`
	Raw        Raw                `yaml:"raw"`
	Dpdk       Dpdk               `yaml:"dpdk"`
	Rdma       Rdma               `yaml:"rdma"`
	Lwip       Lwip               `yaml:"lwip"`
	Catnip     Catnip             `yaml:"catnip"`
	Spdk       Spdk               `yaml:"spdk"`
}

// Limits bound what programs and peers can make the library hold.
type Limits struct {
	MaxMessage  int `yaml:"max_message"`  // bytes of one array in message mode
	MaxPop      int `yaml:"max_pop"`      // bytes of one pop in stream mode and from files
	Queues      int `yaml:"queues"`       // open queues
	Tokens      int `yaml:"tokens"`       // tokens, pending and completed
	MemoryQueue int `yaml:"memory_queue"` // arrays waiting in one memory queue
}

// Posix is for the posix libOS.
type Posix struct {
	IOUring bool `yaml:"io_uring"` // false: files go through a worker thread
}

// Dpdk is for the dpdk libOS.
type Dpdk struct {
	EalInit        []string          `yaml:"eal_init"`
	Port           string            `yaml:"port"`         // name of the Ethernet device; "" for the first
	SleepMicros    int               `yaml:"sleep_us"`     // of a wait that looks at a device without a descriptor, at first
	MaxSleepMicros int               `yaml:"max_sleep_us"` // and after a while with nothing
	Host           string            `yaml:"host"`         // own IPv4 address, if network.address and catnip.my_ipv4_addr are not set
	KnownHosts     map[string]string `yaml:"known_hosts"`  // MAC to IPv4
}

// Rdma is for the rdma libOS.
type Rdma struct {
	Device          string `yaml:"device"`           // name of the RDMA device; "" for the first
	ReceiveBuffers  int    `yaml:"receive_buffers"`  // of a connection, and so what a peer may send ahead of the pops
	BufferBytes     int    `yaml:"buffer_bytes"`     // of each of them
	RendezvousBytes int    `yaml:"rendezvous_bytes"` // segments from this size on go straight from memory to memory
	DatagramBuffers int    `yaml:"datagram_buffers"` // of a datagram socket
	LingerMillis    int    `yaml:"linger_ms"`        // for the last words of a closed connection
	KeepaliveMillis int    `yaml:"keepalive_ms"`     // until a silent peer is asked for a sign of life; 0: never
	ResolveMillis   int    `yaml:"resolve_ms"`       // how long the QP of an address of datagrams is believed to be there
}

// Lwip is the older home of dpdk.known_hosts.
type Lwip struct {
	KnownHosts map[string]string `yaml:"known_hosts"`
}

// Catnip has the addresses of the own TCP/IP stack.
type Catnip struct {
	MyIPv4Addr string            `yaml:"my_ipv4_addr"`
	ArpTable   map[string]string `yaml:"arp_table"` // MAC to IPv4
	DisableArp bool              `yaml:"disable_arp"`
}

// Spdk names the drive of the spdk libOS.
type Spdk struct {
	Transport string `yaml:"transport"` // SpdkFile or SpdkPCIe
	DevAddr   string `yaml:"devAddr"`   // path of the file or block device; PCI address, as 0000:01:00.0
	Namespace int    `yaml:"namespace"` // of an NVMe device by PCIe
	NoIOMMU   bool   `yaml:"no_iommu"`  // take one that no IOMMU confines
}

// How the spdk libOS reaches its drive.
const (
	SpdkFile = "file"
	SpdkPCIe = "PCIe"
)

// Default is the configuration with nothing set.
func Default() *Config {
	return &Config{
		SpinMicros: 50,
		Limits: Limits{
			MaxMessage:  64 << 20,
			MaxPop:      16 << 10,
			Queues:      1 << 16,
			Tokens:      1 << 18,
			MemoryQueue: 1 << 16,
		},
		Posix:   Posix{IOUring: true},
		Network: Network{TTL: 64},
		TCP:     defaultTCP(),
		Dpdk:    Dpdk{SleepMicros: 100, MaxSleepMicros: 1000},
		Rdma: Rdma{ReceiveBuffers: 16, BufferBytes: 8 << 10, RendezvousBytes: 128 << 10, DatagramBuffers: 64, LingerMillis: 1000,
			KeepaliveMillis: 5000, ResolveMillis: 1000},
		Spdk: Spdk{Transport: SpdkFile, Namespace: 1},
	}
}

// FramingFor is the framing of a TCP or UDP port: the local one of an accepted connection and of a bound
// UDP socket, the remote one of a connection made.
func (c *Config) FramingFor(port uint16) Framing {
	if f, ok := c.Ports[port]; ok {
		return f
	}
	return c.Framing
}

// KnownHosts joins all tables of known neighbours, MAC to IPv4.
func (c *Config) KnownHosts() map[string]string {
	all := make(map[string]string)
	for _, m := range []map[string]string{c.Lwip.KnownHosts, c.Dpdk.KnownHosts, c.Catnip.ArpTable} {
		for mac, ip := range m {
			all[mac] = ip
		}
	}
	return all
}

// WaitMode says what a waiting call does while there is nothing to report.
type WaitMode uint8

// Wait modes, with the values of the enum in capi/shared.h.
const (
	WaitAdaptive WaitMode = iota // spin for SpinMicros, then sleep
	WaitSpin                     // never sleep
	WaitBlock                    // never spin
)

var waitNames = []string{"adaptive", "spin", "block"}

func (w WaitMode) String() string { return name(waitNames, int(w)) }

// UnmarshalYAML reads the name of a mode.
func (w *WaitMode) UnmarshalYAML(n *yaml.Node) error {
	i, err := enumNode("wait mode", waitNames, n)
	*w = WaitMode(i)
	return err
}

// Framing says how arrays lie on a byte stream or in a datagram.
type Framing uint8

// Framings. Auto means: the first bytes received decide; sockets that connect use message mode.
const (
	FramingAuto Framing = iota
	FramingMessage
	FramingStream
)

var framingNames = []string{"auto", "message", "stream"}

func (f Framing) String() string { return name(framingNames, int(f)) }

// UnmarshalYAML reads the name of a framing.
func (f *Framing) UnmarshalYAML(n *yaml.Node) error {
	i, err := enumNode("framing", framingNames, n)
	*f = Framing(i)
	return err
}

func name(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("unknown(%d)", i)
}

func enum(what string, names []string, s string) (int, error) {
	for i, n := range names {
		if n == s {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%q is no %s, the choice is %v", clip(s), what, names)
}

func enumNode(what string, names []string, n *yaml.Node) (int, error) {
	i, err := enum(what, names, n.Value)
	if err != nil || n.Kind != yaml.ScalarNode {
		return 0, fmt.Errorf("line %d: %q is no %s, the choice is %v", n.Line, clip(n.Value), what, names)
	}
	return i, nil
}
