package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
)

var (
	errNoLibOS   = errors.New("unknown libOS")
	errNoStorage = errors.New("unknown libOS for files")
)

// pciAddress is domain:bus:device.function, as in /sys/bus/pci/devices. Few programs need it: it is not compiled at each start.
const pciAddress = `^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$`

// LibOSName gives the proper name of a libOS. Whether it is built in is for the caller to find out.
func LibOSName(name string) (string, error) {
	switch name {
	case "posix", "dpdk", "raw", "rdma", "spdk":
		return name, nil
	case "lwip":
		return "dpdk", nil
	}
	return "", fmt.Errorf("%w %q, the choice is [posix dpdk lwip raw rdma spdk]", errNoLibOS, clip(name))
}

// check says which key has a value out of its range, and puts names and addresses in their usual form.
func (c *Config) check() (key string, err error) {
	if c.LibOS != "" {
		if c.LibOS, err = LibOSName(c.LibOS); err != nil {
			return "libos", err
		}
	}
	switch c.Storage {
	case "", "posix", "spdk":
	default:
		return "storage", fmt.Errorf("%w %q, the choice is [posix spdk]", errNoStorage, clip(c.Storage))
	}
	switch {
	case c.Spdk.Transport != SpdkFile && c.Spdk.Transport != SpdkPCIe:
		return "spdk.transport", fmt.Errorf("%q is no transport, the choice is [%s %s]", clip(c.Spdk.Transport), SpdkFile, SpdkPCIe)
	case c.Spdk.Transport == SpdkPCIe && c.Spdk.DevAddr != "" && !regexp.MustCompile(pciAddress).MatchString(c.Spdk.DevAddr):
		return "spdk.devAddr", fmt.Errorf("%q is no PCI address, as 0000:01:00.0", clip(c.Spdk.DevAddr))
	}
	for _, r := range c.ranges() {
		if r.v < r.lo || r.v > r.hi {
			return r.key, fmt.Errorf("%d is not between %d and %d", r.v, r.lo, r.hi)
		}
	}
	return c.checkAddrs()
}

type numRange struct {
	key       string
	v, lo, hi int
}

func (c *Config) ranges() []numRange {
	return append([]numRange{
		{"spin_us", c.SpinMicros, 0, 1_000_000},
		{"limits.max_message", c.Limits.MaxMessage, 1, 1 << 30},
		{"limits.max_pop", c.Limits.MaxPop, 1, c.Limits.MaxMessage},
		{"limits.queues", c.Limits.Queues, 1, 1 << 20},
		{"limits.tokens", c.Limits.Tokens, 64, 1 << 20},
		{"limits.memory_queue", c.Limits.MemoryQueue, 1, 1 << 24},
		{"rdma.receive_buffers", c.Rdma.ReceiveBuffers, 2, 4096},
		{"rdma.buffer_bytes", c.Rdma.BufferBytes, 256, 1 << 20},
		{"rdma.rendezvous_bytes", c.Rdma.RendezvousBytes, 4096, 1 << 30},
		{"rdma.datagram_buffers", c.Rdma.DatagramBuffers, 1, 4096},
		{"rdma.linger_ms", c.Rdma.LingerMillis, 0, 60_000},
		{"rdma.keepalive_ms", c.Rdma.KeepaliveMillis, 0, 3_600_000},
		{"rdma.resolve_ms", c.Rdma.ResolveMillis, 1, 3_600_000},
		{"spdk.namespace", c.Spdk.Namespace, 1, 1<<32 - 2},
	}, c.netRanges()...)
}

func (c *Config) checkAddrs() (key string, err error) {
	for _, a := range []struct{ key, v string }{
		{"catnip.my_ipv4_addr", c.Catnip.MyIPv4Addr},
		{"dpdk.host", c.Dpdk.Host},
		{"network.gateway", c.Network.Gateway},
		{"raw.kernel_address", c.Raw.KernelAddress},
	} {
		if a.v != "" && !isIPv4(a.v) {
			return a.key, fmt.Errorf("%q is no IPv4 address", clip(a.v))
		}
	}
	for _, t := range []struct {
		key string
		m   map[string]string
	}{
		{"dpdk.known_hosts", c.Dpdk.KnownHosts},
		{"lwip.known_hosts", c.Lwip.KnownHosts},
		{"catnip.arp_table", c.Catnip.ArpTable},
	} {
		if err := checkHosts(t.m); err != nil {
			return t.key, err
		}
	}
	return c.checkNetwork()
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// checkHosts checks a table of MAC to IPv4 and writes the MACs as net.HardwareAddr does.
func checkHosts(m map[string]string) error {
	for _, k := range sortedKeys(m) { // the same file gives the same message
		mac, err := net.ParseMAC(k)
		if err != nil || len(mac) != 6 {
			return fmt.Errorf("%q is no MAC address", clip(k))
		}
		ip := m[k]
		if !isIPv4(ip) {
			return fmt.Errorf("%q is no IPv4 address", clip(ip))
		}
		delete(m, k)
		if old, ok := m[mac.String()]; ok && old != ip {
			return fmt.Errorf("two addresses for %v", mac)
		}
		m[mac.String()] = ip
	}
	return nil
}
