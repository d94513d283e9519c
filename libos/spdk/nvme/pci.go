package nvme

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	sysDevices = "sys/bus/pci/devices"
	classNVMe  = "0x0108" // mass storage, non-volatile memory
	vfioPCI    = "vfio-pci"
)

// function is what the kernel says about a PCI function.
type function struct {
	address string
	group   string // the file of its VFIO group
	guarded bool   // by an IOMMU
}

// fullAddress is an address on the PCI bus with its domain, 0000:00:03.0, or "" if it is none.
func fullAddress(s string) string {
	s = strings.ToLower(s)
	if strings.Count(s, ":") == 1 {
		s = "0000:" + s
	}
	const form = "xxxx:xx:xx.x"
	if len(s) != len(form) {
		return ""
	}
	for i, c := range []byte(form) {
		if c != 'x' && s[i] != c || c == 'x' && !strings.ContainsRune("0123456789abcdef", rune(s[i])) {
			return ""
		}
	}
	return s
}

// findFunction looks at a PCI function below root, which is "/" but for tests: it must be an NVMe drive that VFIO has.
func findFunction(root, address string) (f function, err error) {
	if f.address = fullAddress(address); f.address == "" {
		return f, fmt.Errorf("%q is no address on the PCI bus, such as 0000:00:03.0: %w", address, unix.EINVAL)
	}
	folder := filepath.Join(root, sysDevices, f.address)
	class, err := os.ReadFile(filepath.Join(folder, "class"))
	if err != nil {
		return f, fmt.Errorf("there is no PCI device %s: %w", f.address, unix.ENODEV)
	}
	if !strings.HasPrefix(string(class), classNVMe) {
		return f, fmt.Errorf("%s is no NVMe drive: %w", f.address, unix.ENODEV)
	}
	switch driver := linkName(folder, "driver"); driver {
	case vfioPCI:
	case "":
		return f, fmt.Errorf("%s has no driver; bind it to %s: %w", f.address, vfioPCI, unix.ENODEV)
	default:
		return f, fmt.Errorf("%s is in use by the driver %s of the kernel; unmount it and bind it to %s: %w", f.address, driver, vfioPCI, unix.EBUSY)
	}
	group := linkName(folder, "iommu_group")
	if group == "" {
		return f, fmt.Errorf("%s has no IOMMU group; is the IOMMU on (intel_iommu=on, amd_iommu=on)? %w", f.address, unix.ENOTSUP)
	}
	name, _ := os.ReadFile(filepath.Join(folder, "iommu_group", "name"))
	f.guarded = strings.TrimSpace(string(name)) != "vfio-noiommu"
	f.group = filepath.Join(root, "dev/vfio", group)
	if !f.guarded {
		f.group = filepath.Join(root, "dev/vfio", "noiommu-"+group)
	}
	return f, nil
}

// linkName is the last part of where a link leads; "" if there is none.
func linkName(folder, name string) string {
	to, err := os.Readlink(filepath.Join(folder, name))
	if err != nil {
		return ""
	}
	return filepath.Base(to)
}

// openError says what it means that a file of VFIO cannot be opened.
func openError(path string, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("another process has the drive (%s): %w", path, err)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("there is no %s; is the module vfio-pci loaded? %w", path, unix.ENODEV)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("this process may not open %s: %w", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}
