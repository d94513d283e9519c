package nvme

import (
	"sync/atomic"
	"unsafe"
)

// load32 reads a register.
func load32(p unsafe.Pointer) uint32 { return atomic.LoadUint32((*uint32)(p)) }
