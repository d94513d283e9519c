package nvme

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
)

const (
	minBlockShift = 9
	maxBlockShift = 16
	maxPageShift  = 16
	maxBytes      = 1<<63 - 1 // of a namespace, so that every position in it is an int64
	maxNLB        = 1 << 16   // blocks of one command: its field has 16 bits
	// maxTransfer is what one list of PRPs describes, wherever in its page the first byte lies: 512 entries.
	maxTransfer = 512 << hostPageShift
)

// caps is what CAP says (3.1.3.1).
type caps struct {
	entries   int  // of a queue, at most
	pageShift uint // of the pages that PRPs count in
	stride    uint // bytes from one doorbell to the next
	timeout   int64
	minPage   uint // log2 of the unit of MDTS
}

// parseCaps reads CAP. Only queues in this process' memory and the NVM command set are of use.
func parseCaps(v uint64) (caps, error) {
	c := caps{
		entries: int(v&0xffff) + 1,
		stride:  4 << (v >> 32 & 15),
		timeout: max(int64(v>>24&0xff), 1) * 500e6,
		minPage: 12 + uint(v>>48&15),
	}
	c.pageShift = c.minPage
	switch {
	case v == 1<<64-1:
		return c, fmt.Errorf("the drive does not answer: %w", unix.ENODEV)
	case v>>37&1 == 0:
		return c, fmt.Errorf("the drive has no NVM command set: %w", unix.ENOTSUP)
	case c.entries < 2:
		return c, fmt.Errorf("the drive says that its queues have one entry: %w", unix.EPROTO)
	case c.pageShift > maxPageShift:
		return c, fmt.Errorf("the drive wants pages of %d KiB: %w", 1<<(c.pageShift-10), unix.ENOTSUP)
	}
	return c, nil
}

// controller is what the driver needs of Identify Controller (5.17.2.1).
type controller struct {
	Identity
	transfer uint64 // MDTS in bytes
	shutdown int64  // RTD3E in nanoseconds
	discards bool
}

// Identity names a drive, for messages.
type Identity struct{ Serial, Model, Firmware string }

// printable is a field of text as people may read it: a drive may hold anything there.
func printable(b []byte) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, strings.TrimRight(string(b), " \x00"))
	return strings.TrimSpace(clean)
}

// parseController reads what Identify Controller gave.
func parseController(b *[identifyBytes]byte, c caps) (controller, error) {
	out := controller{
		Identity: Identity{Serial: printable(b[4:24]), Model: printable(b[24:64]), Firmware: printable(b[64:72])},
		transfer: maxTransfer,
		shutdown: int64(binary.LittleEndian.Uint32(b[88:])) * 1000,
		discards: binary.LittleEndian.Uint16(b[520:])>>2&1 == 1,
	}
	if shift := b[77]; shift != 0 && uint(shift)+c.minPage < 32 {
		out.transfer = min(out.transfer, 1<<(uint(shift)+c.minPage))
	}
	// The sizes of queue entries that the drive wants at least, and takes at most.
	for i, shift := range [2]byte{6, 4} {
		if sizes := b[512+i]; sizes&15 > shift || sizes>>4 < shift {
			return out, fmt.Errorf("the drive wants queue entries of other sizes (%#x): %w", sizes, unix.ENOTSUP)
		}
	}
	return out, nil
}

// hasNamespace says whether a list of active namespaces from nsid-1 on (CNS 02h) begins with nsid. The list is in order.
func hasNamespace(b *[identifyBytes]byte, nsid uint32) bool {
	return binary.LittleEndian.Uint32(b[:]) == nsid
}

// parseNamespace reads what Identify Namespace gave (NVM Command Set Specification 1.0, 4.1.5.1).
func parseNamespace(b *[identifyBytes]byte, c *controller) (block.Info, error) {
	format := int(b[26] & 15)
	if b[25] >= 16 {
		format |= int(b[26]>>5&3) << 4
	}
	lbaf := binary.LittleEndian.Uint32(b[128+4*format:])
	shift := uint(lbaf >> 16 & 0xff)
	info := block.Info{Blocks: binary.LittleEndian.Uint64(b[:])}
	switch {
	case info.Blocks == 0:
		return info, fmt.Errorf("the namespace has no blocks: %w", unix.ENODEV)
	case format > int(b[25]):
		return info, fmt.Errorf("the namespace has format %d of %d: %w", format, int(b[25])+1, unix.EPROTO)
	case lbaf&0xffff != 0:
		return info, fmt.Errorf("the namespace has %d bytes of metadata with each block; format it without: %w", lbaf&0xffff, unix.ENOTSUP)
	case b[29]&7 != 0:
		return info, fmt.Errorf("the namespace has protection information; format it without: %w", unix.ENOTSUP)
	case shift < minBlockShift || shift > maxBlockShift:
		return info, fmt.Errorf("the namespace has blocks of 2^%d bytes: %w", shift, unix.ENOTSUP)
	case info.Blocks > maxBytes>>shift:
		return info, fmt.Errorf("the namespace says it has %d blocks of %d bytes: %w", info.Blocks, 1<<shift, unix.EPROTO)
	case b[99]&1 != 0:
		return info, fmt.Errorf("the namespace is write-protected: %w", unix.EROFS)
	}
	info.BlockSize = 1 << shift
	info.MaxTransfer = uint32(min(c.transfer, maxNLB<<shift)) &^ (info.BlockSize - 1)
	if info.MaxTransfer == 0 {
		return info, fmt.Errorf("the drive moves no more than %d bytes at a time, less than a block: %w", c.transfer, unix.EPROTO)
	}
	return info, nil
}
