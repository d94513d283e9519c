//go:build !race

package nvme

import "unsafe"

// store32 writes a register, by a plain store: that of sync/atomic is an exchange, which reads the register too and locks the bus. What
// was stored before is visible to the drive before, since this processor keeps the order of stores; and the compiler moves none past a
// call. The memory must be aligned.
//
//go:noescape
func store32(p unsafe.Pointer, v uint32)
