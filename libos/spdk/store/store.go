// Package store keeps named logs on a drive: append a record, learn when no loss of power can take it away, read from any position.
//
// # Words
//
// A log is a sequence of bytes that only grows at its end and is forgotten at its beginning (Trim). Positions are counted in bytes of data
// appended since the log was created; the first byte ever is 0. What one Append brings is a record: after a crash it is there whole or not
// at all. What is acknowledged (an Append ended with 0) is there after any crash, in order; what was not may be there, whole, and behind all
// that was acknowledged before it. See docs/storage.md for the format of the drive and why that is so.
//
// # Call order
//
// Format once, then Mount. Open or Create give a Log; Append and Read hand a request to it, which has the request, and the memory it
// names, until Poll calls its Owner. Poll does all the work and is the only one who calls owners, so Append may be called from everywhere,
// owners included. Appends of one log end in the order they were made, and reads of one Reader in theirs. Before the caller sleeps it
// calls Arm; then readability of Fd says that Poll has work. Close ends everything.
//
// Append, Read, Poll and Arm never block or allocate (but the block that a Read gives comes from mem.Alloc). All others, marked "blocks",
// poll the drive until they are done, for Options.Timeout at most; owners are not called meanwhile, but by the next Poll.
//
// # Threading
//
// Nothing locks: one thread at a time is inside a Store, its Logs and its Device.
package store

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
)

// MaxName is how many bytes the name of a log may have. Any byte but NUL may be in it.
const MaxName = 255

// FormatOptions say how to format a drive; zero fields are chosen.
type FormatOptions struct {
	ExtentSize  uint64 // bytes, a power of two: what logs get space in. 0: 1 MiB, or more if there would be more than 65536 extents
	CatalogSize uint64 // bytes of each of the two catalogs, which have all names: some 400 bytes for the longest. 0: up to 1 MiB
	UUID        [16]byte
	// Force formats a drive that has a store of this format already. Without it Format gives EEXIST then.
	Force bool
}

// Options say how to use a store; zero fields are chosen.
type Options struct {
	WriteChunks int           // buffers for appends, each of a commit; 32
	ReadChunks  int           // buffers for reads; 32
	ChunkSize   int           // bytes of either; 128 KiB, and never more than a transfer of the drive or an extent
	MaxRecord   uint64        // bytes; 64 MiB
	Timeout     time.Duration // of whatever blocks; 30 s
	// ReadOnly is for tools: nothing is written, and Append, Create, Unlink and Trim give EROFS.
	ReadOnly bool
	// Progress, if not nil, hears how much of the drive Mount has looked at.
	Progress func(done, total uint64)
}

// Append is a request to append a record. Who makes it keeps it, and may use it again once it has ended.
type Append struct {
	SGA   *abi.SGArray // the record: all its segments, in order; read anew whenever some of it is taken over
	Owner interface{ Appended(a *Append) }

	Err abi.Errno // how it ended
	Pos uint64    // set by Log.Append: position of the first byte of the record, and
	End uint64    // of what comes behind the last

	appendState
}

// Read is a request to read. Who makes it keeps it, and may use it again once it has ended.
type Read struct {
	Pos   uint64 // from here on
	Max   uint64 // bytes at most, at least 1
	Owner interface{ ReadDone(r *Read) }

	Err abi.Errno // how it ended
	// Data are the N bytes from Pos on that belong to one record, in a block from mem.Alloc that is now the owner's. N is 0, and Data
	// nil, if Pos is the end of what is durable.
	Data unsafe.Pointer
	N    uint64

	readState
}

// LogInfo is what List tells.
type LogInfo struct {
	Name       string
	Begin, End uint64    // positions: the oldest byte kept, and the end
	Records    uint64    // appended ever
	Extents    uint64    // that it occupies
	Err        abi.Errno // why the log cannot be opened, or 0
}

// Info is what a store says of itself.
type Info struct {
	UUID                   [16]byte
	BlockSize              uint32
	ExtentSize             uint64
	Extents, Free          uint64
	Epoch, CatalogCapacity uint64 // mounts so far; bytes for names
}

// Errors, beside what the drive says (EIO, ETIMEDOUT, ENODEV).
const (
	ErrNotFormatted = unix.EMEDIUMTYPE     // no store on this drive
	ErrVersion      = unix.EPROTONOSUPPORT // a store of a version that this code does not know
	ErrStructure    = unix.EUCLEAN         // what must be on the drive is not: nothing is overwritten
	ErrData         = unix.EBADMSG         // a record is not as it was written
)
