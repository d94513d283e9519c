package nvme

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests of VFIO (linux/vfio.h).
const (
	vfioGetAPIVersion  = ';'<<8 | 100
	vfioCheckExtension = ';'<<8 | 101
	vfioSetIOMMU       = ';'<<8 | 102
	vfioGroupStatus    = ';'<<8 | 103
	vfioGroupContainer = ';'<<8 | 104
	vfioGroupDevice    = ';'<<8 | 106
	vfioRegionInfo     = ';'<<8 | 108
	vfioDeviceReset    = ';'<<8 | 111
	vfioIOMMUInfo      = ';'<<8 | 112
	vfioMapDMA         = ';'<<8 | 113
	vfioUnmapDMA       = ';'<<8 | 114

	vfioType1v2  = 3
	vfioNoIOMMU  = 8
	groupViable  = 1
	mapReadWrite = 3
	mmapable     = 4
	infoHasCaps  = 2
	capRanges    = 1

	regionBAR0   = 0
	regionConfig = 7
	barLimit     = 1 << 24 // bytes of BAR 0 that are mapped, at most

	pciCommand      = 4 // offset in the configuration space
	commandMemory   = 1 << 1
	commandMaster   = 1 << 2
	commandNoINTx   = 1 << 10
	pageMapPresent  = 1 << 63
	pageMapFrame    = 1<<55 - 1
	largePages2MiB  = 21 << unix.MAP_HUGE_SHIFT
	msiWindow       = 0xfee00000 // where writes are interrupts on x86
	msiWindowEnd    = 0xfeefffff
	lastWithoutCaps = 1<<39 - 1 // address bits of the narrowest IOMMU
)

type regionInfo struct {
	argsz, flags, index, capOffset uint32
	size, offset                   uint64
}

type dmaMap struct {
	argsz, flags      uint32
	vaddr, iova, size uint64
}

type dmaUnmap struct {
	argsz, flags uint32
	iova, size   uint64
}

// addressRange is one of addresses on the bus, with its last one.
type addressRange struct{ first, last uint64 }

// vfio is a drive behind VFIO. It implements bus.
type vfio struct {
	container, group, device int

	guarded bool
	config  int64 // offset of the configuration space in the device's file
	bar     []byte
	ranges  []addressRange // that the IOMMU translates
	chunks  []addressRange // in use, by address
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	return int(n), nonzero(errno)
}

// ioctlNumber is ioctl for requests that take a number.
func ioctlNumber(fd int, request, arg uintptr) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, arg)
	return int(n), nonzero(errno)
}

func nonzero(errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

// openVFIO takes the drive that cfg names, and writes its address in full into cfg.
func openVFIO(cfg *Config) (*vfio, error) {
	f, err := findFunction("/", cfg.Address)
	if err != nil {
		return nil, err
	}
	cfg.Address = f.address
	if !f.guarded && !cfg.AllowNoIOMMU {
		return nil, fmt.Errorf("no IOMMU guards memory against %s, and it is not allowed to go without: %w", f.address, unix.EPERM)
	}
	v := &vfio{container: -1, group: -1, device: -1, guarded: f.guarded}
	if err := v.attach(f); err != nil {
		v.close()
		return nil, err
	}
	if err := v.mapRegisters(); err != nil {
		v.close()
		return nil, fmt.Errorf("%s: %w", f.address, err)
	}
	return v, nil
}

// attach opens the group and its device.
func (v *vfio) attach(f function) (err error) {
	const containerPath = "/dev/vfio/vfio"
	if v.group, err = unix.Open(f.group, unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return openError(f.group, err)
	}
	if v.container, err = unix.Open(containerPath, unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return openError(containerPath, err)
	}
	kind := uintptr(vfioType1v2)
	if !f.guarded {
		kind = vfioNoIOMMU
	}
	if version, err := ioctlNumber(v.container, vfioGetAPIVersion, 0); err != nil || version != 0 {
		return fmt.Errorf("VFIO of another version (%d): %w", version, unix.ENOTSUP)
	}
	if has, err := ioctlNumber(v.container, vfioCheckExtension, kind); err != nil || has == 0 {
		return fmt.Errorf("VFIO does not know this IOMMU; is vfio_iommu_type1 loaded? %w", unix.ENOTSUP)
	}
	status := [2]uint32{8, 0}
	if _, err := ioctl(v.group, vfioGroupStatus, unsafe.Pointer(&status)); err != nil {
		return fmt.Errorf("%s: %w", f.group, err)
	}
	if status[1]&groupViable == 0 {
		return fmt.Errorf("other devices of the IOMMU group of %s (%s) have drivers of the kernel; bind them to %s: %w", f.address, f.group, vfioPCI, unix.EBUSY)
	}
	container := int32(v.container)
	if _, err := ioctl(v.group, vfioGroupContainer, unsafe.Pointer(&container)); err != nil {
		return fmt.Errorf("VFIO container: %w", err)
	}
	if _, err := ioctlNumber(v.container, vfioSetIOMMU, kind); err != nil {
		return fmt.Errorf("VFIO IOMMU (a machine that does not map interrupts anew needs allow_unsafe_interrupts): %w", err)
	}
	if f.guarded {
		v.ranges = v.addressRanges()
	}
	name, err := unix.BytePtrFromString(f.address)
	if err != nil {
		return err
	}
	v.device, err = ioctl(v.group, vfioGroupDevice, unsafe.Pointer(name))
	if err != nil {
		v.device = -1
		return fmt.Errorf("VFIO device %s: %w", f.address, err)
	}
	return nil
}

// addressRanges asks which addresses the IOMMU translates.
func (v *vfio) addressRanges() []addressRange {
	answer := make([]byte, 4096)
	binary.LittleEndian.PutUint32(answer, uint32(len(answer)))
	if _, err := ioctl(v.container, vfioIOMMUInfo, unsafe.Pointer(&answer[0])); err == nil {
		if ranges := parseRanges(answer); len(ranges) > 0 {
			return ranges
		}
	}
	return []addressRange{{0, msiWindow - 1}, {msiWindowEnd + 1, lastWithoutCaps}}
}

// parseRanges reads the ranges in an answer to VFIO_IOMMU_GET_INFO: a chain of capabilities, each with id, version, offset of the next.
func parseRanges(b []byte) (ranges []addressRange) {
	if len(b) < 20 || binary.LittleEndian.Uint32(b[4:])&infoHasCaps == 0 {
		return nil
	}
	at := uint64(binary.LittleEndian.Uint32(b[16:]))
	for range 16 {
		if at < 20 || at+16 > uint64(len(b)) {
			return nil
		}
		if binary.LittleEndian.Uint16(b[at:]) == capRanges {
			for n, p := binary.LittleEndian.Uint32(b[at+8:]), at+16; n > 0 && p+16 <= uint64(len(b)); n, p = n-1, p+16 {
				ranges = append(ranges, addressRange{binary.LittleEndian.Uint64(b[p:]), binary.LittleEndian.Uint64(b[p+8:])})
			}
			return ranges
		}
		at = uint64(binary.LittleEndian.Uint32(b[at+4:]))
	}
	return nil
}

// mapRegisters maps BAR 0 and lets the drive answer and reach memory.
func (v *vfio) mapRegisters() error {
	config := regionInfo{argsz: 32, index: regionConfig}
	bar := regionInfo{argsz: 32, index: regionBAR0}
	for _, info := range []*regionInfo{&config, &bar} {
		if _, err := ioctl(v.device, vfioRegionInfo, unsafe.Pointer(info)); err != nil {
			return fmt.Errorf("VFIO region %d: %w", info.index, err)
		}
	}
	v.config = int64(config.offset)
	if bar.flags&mmapable == 0 || bar.size == 0 {
		return fmt.Errorf("VFIO cannot map the drive's registers: %w", unix.ENOTSUP)
	}
	if err := v.command(commandMemory|commandMaster|commandNoINTx, 0); err != nil {
		return err
	}
	size := min(bar.size, barLimit)
	p, err := unix.MmapPtr(v.device, int64(bar.offset), nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mapping of the drive's registers: %w", err)
	}
	v.bar = unsafe.Slice((*byte)(p), size)
	_ = unix.Madvise(v.bar, unix.MADV_DONTFORK)
	return nil
}

// command sets and clears bits of the PCI command register.
func (v *vfio) command(set, clear uint16) error {
	var b [2]byte
	if n, err := unix.Pread(v.device, b[:], v.config+pciCommand); n != 2 {
		return fmt.Errorf("PCI configuration space: %w", short(err))
	}
	binary.LittleEndian.PutUint16(b[:], binary.LittleEndian.Uint16(b[:])&^clear|set)
	if n, err := unix.Pwrite(v.device, b[:], v.config+pciCommand); n != 2 {
		return fmt.Errorf("PCI configuration space: %w", short(err))
	}
	return nil
}

// short is err, or EIO if a call did less than it should without saying why.
func short(err error) error {
	if err == nil {
		return unix.EIO
	}
	return err
}

func (v *vfio) registers() []byte { return v.bar }

// memory implements bus. With an IOMMU any memory will do; VFIO pins it. Without, it must be large pages, which stay where they are.
func (v *vfio) memory(n int) (*chunk, error) {
	const flags = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_POPULATE
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(n), unix.PROT_READ|unix.PROT_WRITE, flags|unix.MAP_HUGETLB|largePages2MiB)
	if err != nil && v.guarded {
		p, err = unix.MmapPtr(-1, 0, nil, uintptr(n), unix.PROT_READ|unix.PROT_WRITE, flags)
	}
	if err != nil {
		return nil, err
	}
	c := &chunk{mem: unsafe.Slice((*byte)(p), n), pages: make([]uint64, n>>hostPageShift)}
	_ = unix.Madvise(c.mem, unix.MADV_DONTFORK) // a child would get copies, and write to them in vain
	if v.guarded {
		err = v.mapChunk(c)
	} else {
		err = physical(c)
	}
	if err != nil {
		_ = unix.MunmapPtr(p, uintptr(n))
		return nil, err
	}
	return c, nil
}

// mapChunk lets the IOMMU translate the first free addresses.
func (v *vfio) mapChunk(c *chunk) error {
	iova, place, ok := firstFree(v.ranges, v.chunks, uint64(len(c.mem)))
	if !ok {
		return unix.ENOMEM
	}
	m := dmaMap{argsz: 32, flags: mapReadWrite, vaddr: uint64(c.base()), iova: iova, size: uint64(len(c.mem))}
	if _, err := ioctl(v.container, vfioMapDMA, unsafe.Pointer(&m)); err != nil {
		return err
	}
	used := addressRange{iova, iova + m.size - 1}
	v.chunks = append(v.chunks[:place], append([]addressRange{used}, v.chunks[place:]...)...)
	for i := range c.pages {
		c.pages[i] = iova + uint64(i)<<hostPageShift
	}
	return nil
}

// firstFree finds n addresses within ranges that none of used, which is in order, has; they begin at a multiple of chunkBytes. Address 0
// is not given out. place is where in used they belong.
func firstFree(ranges, used []addressRange, n uint64) (first uint64, place int, ok bool) {
	for _, r := range ranges {
		at := (max(r.first, chunkBytes) + chunkBytes - 1) &^ (chunkBytes - 1)
		place = 0
		for place < len(used) && used[place].last < at {
			place++
		}
		for at >= r.first && at <= r.last && r.last-at >= n-1 {
			if place == len(used) || used[place].first > at+n-1 {
				return at, place, true
			}
			at = (used[place].last + chunkBytes) &^ (chunkBytes - 1)
			place++
		}
	}
	return 0, 0, false
}

// physical asks the kernel where the pages of c are.
func physical(c *chunk) error {
	file, err := os.Open(filepath.Join("/proc/self", "pagemap"))
	if err != nil {
		return err
	}
	defer file.Close()
	b := make([]byte, 8*len(c.pages))
	if _, err := file.ReadAt(b, int64(c.base()>>hostPageShift*8)); err != nil {
		return err
	}
	for i := range c.pages {
		entry := binary.LittleEndian.Uint64(b[8*i:])
		if entry&pageMapPresent == 0 || entry&pageMapFrame == 0 {
			return unix.EPERM // without CAP_SYS_ADMIN all frames are 0
		}
		c.pages[i] = entry & pageMapFrame << hostPageShift
	}
	return nil
}

// release implements bus.
func (v *vfio) release(c *chunk) {
	if v.guarded {
		m := dmaUnmap{argsz: 24, iova: c.pages[0], size: uint64(len(c.mem))}
		_, _ = ioctl(v.container, vfioUnmapDMA, unsafe.Pointer(&m))
		for i := range v.chunks {
			if v.chunks[i].first == c.pages[0] {
				v.chunks = append(v.chunks[:i], v.chunks[i+1:]...)
				break
			}
		}
	}
	_ = unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(c.mem)), uintptr(len(c.mem)))
}

// cut implements bus.
func (v *vfio) cut() { _ = v.command(0, commandMaster) }

// reset implements bus.
func (v *vfio) reset() bool {
	if _, err := ioctlNumber(v.device, vfioDeviceReset, 0); err != nil {
		return false
	}
	return v.command(commandMemory|commandMaster|commandNoINTx, 0) == nil
}

// close implements bus. The kernel resets the drive's function when its file is closed.
func (v *vfio) close() {
	if v.bar != nil {
		_ = unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(v.bar)), uintptr(len(v.bar)))
		v.bar = nil
	}
	for _, fd := range []int{v.device, v.group, v.container} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}
