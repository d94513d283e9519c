package store

import (
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// This is a stand-in that keeps everything in memory, until the real one comes.

type record struct {
	pos  uint64
	data []byte
}

// Store is a mounted store.
type Store struct {
	dev   block.Device
	logs  map[string]*Log
	begun []*Append
	reads []*Read
}

// Log is a log that is open.
type Log struct {
	s          *Store
	name       string
	begin, end uint64
	count      uint64
	records    []record
}

// Reader reads a log, one read after the other; it is fast when each begins where the last one ended.
type Reader struct{ log *Log }

var formatted = map[block.Device]bool{}
var kept = map[block.Device]map[string]*Log{}

// Format makes an empty store of the drive; it blocks. EEXIST: there is one, and o.Force is not set. EINVAL: the options make no sense, or
// the drive is too small. Whatever was on the drive is lost.
func Format(dev block.Device, o FormatOptions) abi.Errno {
	if formatted[dev] && !o.Force {
		return unix.EEXIST
	}
	formatted[dev] = true
	kept[dev] = map[string]*Log{}
	return 0
}

// Mount reads what the drive holds; it blocks. The drive is the store's until Close, which closes it, too; if Mount fails, it stays the
// caller's. EMEDIUMTYPE: there is no store. EPROTONOSUPPORT: it is of an unknown version. EUCLEAN: both superblocks or both catalogs are
// damaged. ENOMEM: no buffers. Damage that concerns one log only shows when that is opened.
func Mount(dev block.Device, o Options) (*Store, abi.Errno) {
	if !formatted[dev] {
		return nil, ErrNotFormatted
	}
	return &Store{dev: dev, logs: kept[dev]}, 0
}

// Info describes the store.
func (s *Store) Info() Info { return Info{BlockSize: s.dev.Info().BlockSize, ExtentSize: 1 << 20} }

// Open gives the log of that name; it blocks. Who opens it several times gets the same Log, and closes it as often. ENOENT: there is none.
// ENAMETOOLONG, EINVAL: what cannot be a name. EUCLEAN: of what is known to be durable something is not there.
// A log that takes no more appends because a write failed takes them again once it has been opened anew.
func (s *Store) Open(name string) (*Log, abi.Errno) {
	if l := s.logs[name]; l != nil {
		return l, 0
	}
	return nil, unix.ENOENT
}

// Create makes a log and opens it; it blocks. The log is there after any crash. EEXIST; ENOSPC: no room for names; ENAMETOOLONG, EINVAL: what
// cannot be a name.
func (s *Store) Create(name string) (*Log, abi.Errno) {
	if s.logs[name] != nil {
		return nil, unix.EEXIST
	}
	l := &Log{s: s, name: name}
	s.logs[name] = l
	return l, 0
}

// Unlink takes the name of a log away; it blocks. Who has the log open may go on with it; when it is closed, or after a crash, its
// space is free. ENOENT.
func (s *Store) Unlink(name string) abi.Errno {
	if s.logs[name] == nil {
		return unix.ENOENT
	}
	delete(s.logs, name)
	return 0
}

// List calls f for each log until it returns false; it blocks, because it looks at those that nobody has opened yet.
func (s *Store) List(f func(i LogInfo) bool) abi.Errno {
	for name, l := range s.logs {
		if !f(LogInfo{Name: name, Begin: l.begin, End: l.end, Records: l.count}) {
			break
		}
	}
	return 0
}

// Poll does what can be done now, and calls the owners of requests that have ended.
func (s *Store) Poll() {
	s.dev.Poll()
	begun, reads := s.begun, s.reads
	s.begun, s.reads = nil, nil
	for _, a := range begun {
		a.Owner.Appended(a)
	}
	for _, r := range reads {
		r.Owner.ReadDone(r)
	}
}

// Idle tells whether no request waits, so that Poll would do nothing.
func (s *Store) Idle() bool { return len(s.begun)+len(s.reads) == 0 }

// Arm sees to it that Fd becomes readable when Poll has work. True: Poll has work already, so do not sleep.
func (s *Store) Arm() bool { s.dev.Arm(); return !s.Idle() }

// Fd is the descriptor to sleep on.
func (s *Store) Fd() int { return s.dev.Fd() }

// Close waits for what is under way, with ECANCELED for what has not begun, stores where logs end, and closes the drive; it blocks. It
// calls the owners of all requests. The error is that of the last steps: appends that were acknowledged are durable all the same.
func (s *Store) Close() abi.Errno {
	s.Poll()
	s.dev.Close()
	return 0
}

// Append appends a record of a.SGA and sets a.Pos and a.End. From then on it is the last of the log, unless it fails. Errors at once, and then
// the request has not begun: ENOSPC: the drive is full; EMSGSIZE: longer than Options.MaxRecord; EROFS; or the error of an earlier append, if
// the log takes no more. Later errors: EIO, ETIMEDOUT, ENODEV, ECANCELED: whether the record is in the log shows when it is
// opened anew. An empty record is not stored, and ends when all before it have.
func (l *Log) Append(a *Append) abi.Errno {
	a.Pos = l.end
	r := record{pos: l.end}
	for i := uint32(0); i < a.SGA.NumSegs; i++ {
		r.data = append(r.data, a.SGA.Bytes(i)...)
	}
	l.end += uint64(len(r.data))
	a.End, a.Err = l.end, 0
	if len(r.data) > 0 {
		l.count++
		l.records = append(l.records, r)
	}
	l.s.begun = append(l.s.begun, a)
	return 0
}

// Cancel takes a back if nothing of it has been taken over, and then its owner is not called. False: it goes on; some or all of it has been,
// and the rest of its memory is needed until it ends.
func (l *Log) Cancel(a *Append) bool { return false }

// Begin is the oldest position kept.
func (l *Log) Begin() uint64 { return l.begin }

// End is the position behind the last record that is durable, up to which reads get data.
func (l *Log) End() uint64 { return l.end }

// Tail is the position behind the last record appended, durable or not, where the next one will be.
func (l *Log) Tail() uint64 { return l.end }

// Trim forgets all before pos, which is the oldest position from then on; it blocks. Space comes back in extents, and only if no record of the
// extent is needed. EINVAL: pos is less than Begin or more than End.
func (l *Log) Trim(pos uint64) abi.Errno {
	if pos < l.begin || pos > l.end {
		return unix.EINVAL
	}
	l.begin = pos
	return 0
}

// Close ends the use of a Log, one for each Open or Create; what was appended goes on. It blocks only if the log was unlinked.
func (l *Log) Close() abi.Errno { return 0 }

// NewReader makes a Reader, which remembers where it was. There is one for each position that moves independently.
func (l *Log) NewReader() *Reader { return &Reader{log: l} }

// Read begins to read what follows r.Pos in its record. Errors at once: EINVAL: r.Pos is less than Begin or more than End, or r.Max is 0. Errors
// of the end: EBADMSG: the record is not as it was written; EUCLEAN: there is no record where one must be; ENOMEM; EIO, ETIMEDOUT, ENODEV;
// EINVAL: trimmed meanwhile; ECANCELED.
func (rd *Reader) Read(r *Read) abi.Errno {
	l := rd.log
	if r.Pos < l.begin || r.Pos > l.end || r.Max == 0 {
		return unix.EINVAL
	}
	r.Err, r.Data, r.N = 0, nil, 0
	for _, rec := range l.records {
		if r.Pos >= rec.pos && r.Pos-rec.pos < uint64(len(rec.data)) {
			rest := rec.data[r.Pos-rec.pos:]
			r.N = min(r.Max, uint64(len(rest)))
			r.Data = mem.Alloc(r.N)
			copy(bytesAt(r.Data, r.N), rest)
		}
	}
	l.s.reads = append(l.s.reads, r)
	return 0
}

// Cancel takes r back: its owner is not called.
func (rd *Reader) Cancel(r *Read) {
	for i, x := range rd.log.s.reads {
		if x == r {
			rd.log.s.reads = append(rd.log.s.reads[:i], rd.log.s.reads[i+1:]...)
			return
		}
	}
}

// Close ends the use of a Reader, with ECANCELED for its reads.
func (rd *Reader) Close() {}
