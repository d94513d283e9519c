// Package block is what the store needs of a drive: reads and writes of whole blocks that go on while the program does something else.
//
// # Call order
//
// Submit hands a Request to the Device, which has it, and the memory of its Buf, until it calls the owner's Done. Poll calls Done for
// all that have ended; nothing else does. Requests under way at the same time may end, and reach the drive, in any order. Arm comes
// before the caller sleeps: from then on, an end that Poll has not seen yet shows as readiness of Fd.
//
// # Threading
//
// Nothing locks: one thread at a time is inside a Device and all that uses it.
package block

import "github.com/libdmtr/libdmtr/runtime/abi"

// Op is what a Request asks for.
type Op uint8

// The operations of a drive.
const (
	// Read fills Buf from Block on.
	Read Op = iota
	// Write stores Buf from Block on. It may be torn by a loss of power: any of the blocks then have the old or the new content.
	Write
	// Flush makes durable what all writes that ended before it was submitted have stored. Block and Buf do not count.
	Flush
	// Discard tells the drive that nobody needs Count blocks from Block on, which then have any content.
	Discard
)

// Info describes a drive. It stays the same as long as the Device is open.
type Info struct {
	BlockSize   uint32 // bytes, a power of two, 512 to 65536
	Blocks      uint64
	MaxTransfer uint32 // bytes of one Read or Write at most, a multiple of BlockSize
	Depth       int    // requests under way at once, at least 1
}

// Request is one command. Who submits it keeps it, so it can be used again once it has ended.
type Request struct {
	Op      Op
	Durable bool   // of a Write: it ends only when no loss of power can take back what it has stored
	Block   uint64 // the first
	Count   uint64 // of a Discard: blocks
	Buf     []byte // of a Read or Write: whole blocks, within memory from Device.Alloc
	Owner   Owner
	Err     abi.Errno // how it ended: 0, EIO, ETIMEDOUT, ENODEV if the drive has gone, ENOSPC of a file that cannot grow

	Slot uint32   // for the Device
	Next *Request // for the Device while it has the Request, else for the Owner
}

// Owner is told when its requests end. It may submit others meanwhile.
type Owner interface{ Done(r *Request) }

// Device is a drive, or part of one, that this process alone uses.
type Device interface {
	Info() Info
	// Alloc returns n bytes, n a multiple of BlockSize, that the drive can reach: zeros, page-aligned, outside the Go heap. It is for
	// the start, not for the data path; nil if there are none.
	Alloc(n int) []byte
	Free(buf []byte)
	// Submit starts r or fails, and then does not keep it: EAGAIN while Depth others are under way, EINVAL for a request outside of
	// the drive or of its limits, ENODEV if the drive has gone. The drive may learn of it as late as the next Poll or Arm, so that
	// several cost one notification.
	Submit(r *Request) abi.Errno
	Poll()
	Arm()
	Fd() int
	// Close waits for what is under way, as long as the device's limits of time allow, and releases everything.
	Close()
}
