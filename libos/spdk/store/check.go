package store

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// Problem is something that Check has found.
type Problem struct {
	Log  string    // that it concerns; "": the store
	Err  abi.Errno // what programs get: ErrStructure, ErrData, EIO ...; 0 if another copy serves
	Text string
}

// CheckReport is the result of Check.
type CheckReport struct {
	Info     Info
	Logs     int
	Bytes    uint64 // of data that were read and found good
	Problems int
}

// Check reads everything that is in use and reports what is not as it should be; it blocks, and writes nothing. progress, if not nil, hears
// how many bytes of extents have been read. The error is why there is nothing that could be checked, as of Mount. It is for a drive that
// nobody uses.
func Check(dev block.Device, o Options, report func(p Problem), progress func(done, total uint64)) (c CheckReport, err abi.Errno) {
	o.ReadOnly = true
	s, err := attach(dev, o)
	if err != 0 {
		return c, err
	}
	defer s.release()
	tell := func(log string, err abi.Errno, format string, args ...any) {
		c.Problems++
		report(Problem{log, err, fmt.Sprintf(format, args...)})
	}
	look := s.lookForSuper()
	if s.sb, err = look.choose(s.info); err != 0 {
		return c, err
	}
	for i, name := range [...]string{"first", "last"} {
		if look.kinds[i] != superGood {
			tell("", 0, "the %s superblock is damaged; the other one serves", name)
		}
	}
	s.checkCatalogs(tell)
	if err = s.mount(); err != 0 {
		return c, err
	}
	c.Info, c.Logs = s.Info(), len(s.logs)
	var total, done uint64
	for i := range s.extents {
		switch s.extents[i].log {
		case nil:
		case unusable:
			tell("", 0, "extent %d cannot be read", i)
		default:
			total += s.sb.extentSize
		}
	}
	logs := make([]*Log, 0, len(s.logs))
	for _, l := range s.logs {
		logs = append(logs, l)
	}
	slices.SortFunc(logs, func(a, b *Log) int { return cmp.Compare(a.id, b.id) })
	for _, l := range logs {
		if err := l.prepare(); err != 0 {
			tell(l.name, err, "its end cannot be told; at least %d bytes were durable", l.known.pos)
		} else if err := l.check(&c, tell); err != 0 {
			return c, err
		}
		if done += l.extents * s.sb.extentSize; progress != nil {
			progress(done, total)
		}
	}
	return c, s.broken
}

func (s *Store) checkCatalogs(tell func(string, abi.Errno, string, ...any)) {
	var generations [2]uint64
	for i := range s.sb.catalogs {
		c, ok, err := s.readCatalogAt(i)
		switch generations[i] = c.generation; {
		case err != 0:
			tell("", 0, "catalog %d cannot be read: %v", i, err)
		case !ok:
			tell("", 0, "catalog %d is damaged", i)
			generations[i] = 0
		}
	}
	if a, b := generations[0], generations[1]; a != 0 && b != 0 && a != b {
		tell("", 0, "the catalogs differ: something was cut off, and the next mount puts it right")
	}
}

// checkRead is a Read that is waited for.
type checkRead struct {
	Read
	done bool
}

// ReadDone is that of the Read.
func (r *checkRead) ReadDone(*Read) { r.done = true }

// check reads all of a log. Behind damage it goes on with the next extent.
func (l *Log) check(c *CheckReport, tell func(string, abi.Errno, string, ...any)) abi.Errno {
	s := l.s
	rd := l.NewReader()
	defer rd.Close()
	for pos := l.begin; pos < l.durPos; {
		r := &checkRead{}
		r.Pos, r.Max, r.Owner = pos, 1<<20, r
		if err := rd.Read(&r.Read); err != 0 {
			return err
		}
		if err := s.wait(func() bool { s.tell(); return r.done }); err != 0 {
			return err
		}
		mem.Free(r.Data)
		if r.Err == 0 {
			pos += r.N
			c.Bytes += r.N
			continue
		}
		next := l.durPos
		for p := l.first; p != noExtent; p = s.extents[p].next {
			if e := &s.extents[p]; e.pos > pos {
				next = min(e.pos, next)
				break
			}
		}
		tell(l.name, r.Err, "from position %d on, before %d: %v", pos, next, r.Err)
		pos = next
	}
	return 0
}
