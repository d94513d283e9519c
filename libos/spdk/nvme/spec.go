package nvme

import "golang.org/x/sys/unix"

// Properties of the controller, by their offset in BAR 0 (NVMe Base Specification 2.0, 3.1.3), and the first doorbell (NVMe over PCIe
// Transport Specification 1.0, 3.1.2).
const (
	regCAP      = 0x00 // 64 bits, Controller Capabilities
	regCC       = 0x14 // Controller Configuration
	regCSTS     = 0x1c // Controller Status
	regAQA      = 0x24 // Admin Queue Attributes
	regASQ      = 0x28 // 64 bits, Admin Submission Queue Base Address
	regACQ      = 0x30 // 64 bits, Admin Completion Queue Base Address
	regDoorbell = 0x1000
)

// Fields of CC (3.1.3.5). Queue entries have 2^6 and 2^4 bytes.
const (
	ccEnable       = 1 << 0
	ccPageShift    = 7 // MPS: 2^(12+MPS) bytes
	ccShutdownMask = 3 << 14
	ccShutdown     = 1 << 14 // SHN: normal
	ccEntrySizes   = 6<<16 | 4<<20
)

// Fields of CSTS (3.1.3.6).
const (
	cstsReady        = 1 << 0
	cstsFatal        = 1 << 1
	cstsShutdownMask = 3 << 2
	cstsShutdownDone = 2 << 2
)

// gone is what any property of a drive reads as that is no longer there.
const gone = ^uint32(0)

// Opcodes of admin commands (Base Specification 2.0, section 5) and of the NVM command set (NVM Command Set Specification 1.0, 3.2;
// Base Specification, 7.1).
const (
	opCreateSQ    = 0x01
	opCreateCQ    = 0x05
	opIdentify    = 0x06
	opAbort       = 0x08
	opSetFeatures = 0x09

	opFlush   = 0x00
	opWrite   = 0x01
	opRead    = 0x02
	opDataset = 0x09
)

// What Identify may ask for (5.17.1).
const (
	cnsNamespace  = 0x00
	cnsController = 0x01
	cnsActive     = 0x02
)

const (
	featureQueues  = 0x07    // Number of Queues (5.27.1.5)
	contiguous     = 1       // PC of Create I/O Completion Queue and Submission Queue
	forceUnit      = 1 << 30 // FUA, in dword 12 of Write
	deallocate     = 1 << 2  // AD, in dword 11 of Dataset Management
	datasetRanges  = 256     // at most, in one Dataset Management
	datasetRange   = 16      // bytes of one
	maxRangeBlocks = 1<<32 - 1
	identifyBytes  = 4096
)

// command is an entry of a submission queue (3.3.3.1).
type command struct {
	head uint32 // opcode, command identifier << 16
	nsid uint32
	_    [2]uint32
	_    uint64 // metadata
	prp1 uint64 // where the data is (4.1.1)
	prp2 uint64
	dw10 uint32
	dw11 uint32
	dw12 uint32
	_    [3]uint32
}

// completion is an entry of a completion queue (3.3.3.2).
type completion struct {
	result uint32
	_      uint32
	queue  uint32 // head of the submission queue, its identifier << 16
	status uint32 // command identifier, phase << 16, status << 17
}

// id is the command identifier.
func (c *completion) id() uint16 { return uint16(c.status) }

// code is the status: its code and type, 0 if all went well. The bits More, Do Not Retry and the retry delay are not in it.
func (c *completion) code() uint16 { return uint16(c.status>>17) & 0x7ff }

// Codes of a status, type << 8 | code (3.3.3.2.1; NVM Command Set Specification, 1.4).
const (
	statusAborted      = 0x007 // Command Abort Requested
	statusNamespace    = 0x00b // Invalid Namespace or Format
	statusCapacity     = 0x081 // Capacity Exceeded
	statusSizeExceeded = 0x183 // Command Size Limit Exceeded
)

// errnoOf is what a status means to who submitted the request. Whatever is not listed, all media errors among it, is EIO.
func errnoOf(code uint16) unix.Errno {
	switch code {
	case 0:
		return 0
	case statusNamespace:
		return unix.ENODEV
	case statusCapacity:
		return unix.ENOSPC
	}
	return unix.EIO
}
