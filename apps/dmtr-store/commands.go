package main

import (
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/libos/spdk/store"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

func (t *tool) format(args []string) error {
	extent, err := parseSize(t.extentSize)
	if err != nil {
		return err
	}
	made := false
	if len(args) == 2 {
		if made, err = t.makeFile(args[0], args[1]); err != nil {
			return err
		}
	}
	if err = t.formatDrive(extent); err != nil && made {
		_ = os.Remove(args[0])
	}
	return err
}

// makeFile makes a new file of a size; an old one that has this size already is as good.
func (t *tool) makeFile(path, text string) (made bool, err error) {
	size, err := parseSize(text)
	if err != nil {
		return false, err
	}
	if t.drive.Transport != config.SpdkFile {
		return false, fmt.Errorf("a size is for files only")
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		st, err := os.Stat(path)
		if err == nil && (!st.Mode().IsRegular() || uint64(st.Size()) != size) {
			err = fmt.Errorf("%s is there, and is no file of %d bytes", path, size)
		}
		return false, err
	}
	if err != nil {
		return false, err
	}
	err = errors.Join(f.Truncate(int64(size)), f.Close())
	if err != nil {
		_ = os.Remove(path)
	}
	return err == nil, err
}

func (t *tool) formatDrive(extent uint64) error {
	dev, err := t.open(true)
	if err != nil {
		return err
	}
	defer dev.Close()
	if !t.force {
		if err := t.foreign(dev); err != nil {
			return err
		}
	}
	if t.zeros {
		if err := t.writeZeros(dev); err != nil {
			return err
		}
	}
	switch err := store.Format(dev, store.FormatOptions{ExtentSize: extent, Force: t.force}); err {
	case 0:
		return nil
	case unix.EINVAL:
		return fmt.Errorf("%s: too small for a store, or for extents of this size, which must be a power of two", t.drive.DevAddr)
	default:
		return t.problem(err)
	}
}

// foreign refuses a drive that begins with something that is no store: the data of somebody else.
func (t *tool) foreign(dev block.Device) error {
	s, errno := store.Mount(dev, store.Options{ReadOnly: true})
	switch errno {
	case 0:
		_ = s // the drive is the store's, but it is not used any more
		return t.problem(unix.EEXIST)
	case store.ErrNotFormatted:
	case store.ErrVersion, store.ErrStructure:
		return t.problem(unix.EEXIST)
	default:
		return t.problem(errno)
	}
	info := dev.Info()
	n := min(uint64(max(64<<10, info.BlockSize)), info.Blocks*uint64(info.BlockSize))
	buf := dev.Alloc(int(n))
	if buf == nil {
		return t.problem(unix.ENOMEM)
	}
	defer dev.Free(buf)
	if errno := do(dev, &block.Request{Op: block.Read, Buf: buf}); errno != 0 {
		return t.problem(errno)
	}
	for _, b := range buf {
		if b != 0 {
			return fmt.Errorf("%s: holds something else; --force makes a store of it, and all that it has is lost", t.drive.DevAddr)
		}
	}
	return nil
}

// ended is told when a request, or a read, has ended.
type ended bool

func (e *ended) Done(*block.Request)  { *e = true }
func (e *ended) ReadDone(*store.Read) { *e = true }

// do does one request.
func do(dev block.Device, r *block.Request) abi.Errno {
	var e ended
	r.Owner = &e
	if err := dev.Submit(r); err != 0 {
		return err
	}
	for dev.Poll(); !e; dev.Poll() {
		dev.Arm()
		sleep(dev.Fd())
	}
	return r.Err
}

// sleep waits for a descriptor, but not for ever: some drives have timeouts to look after.
func sleep(fd int) {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	_, _ = unix.Poll(fds[:], 10)
}

func (t *tool) writeZeros(dev block.Device) error {
	info := dev.Info()
	buf := dev.Alloc(int(info.MaxTransfer))
	if buf == nil {
		return t.problem(unix.ENOMEM)
	}
	defer dev.Free(buf)
	bar := t.progress("writing zeros")
	defer bar.end()
	each := uint64(info.MaxTransfer / info.BlockSize)
	for at := uint64(0); at < info.Blocks; at += each {
		n := min(each, info.Blocks-at)
		if err := do(dev, &block.Request{Op: block.Write, Block: at, Buf: buf[:n*uint64(info.BlockSize)]}); err != 0 {
			return t.problem(err)
		}
		bar.set(at+n, info.Blocks)
	}
	if err := do(dev, &block.Request{Op: block.Flush}); err != 0 {
		return t.problem(err)
	}
	return nil
}

func (t *tool) list([]string) error {
	s, err := t.mount(false)
	if err != nil {
		return err
	}
	defer s.Close()
	i := s.Info()
	fmt.Fprintf(t.out, "store %x: %d extents of %d bytes, %d free; blocks of %d bytes; mounted %d times\n", i.UUID, i.Extents, i.ExtentSize, i.Free,
		i.BlockSize, i.Epoch)
	w := tabwriter.NewWriter(t.out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "begin\tend\trecords\textents\t  log")
	errno := s.List(func(l store.LogInfo) bool {
		fmt.Fprintf(w, "%d\t%d\t%d\t%d\t  %q", l.Begin, l.End, l.Records, l.Extents, l.Name)
		if l.Err != 0 {
			fmt.Fprintf(w, " cannot be opened: %v", l.Err)
		}
		fmt.Fprintln(w)
		return true
	})
	if err := w.Flush(); err != nil {
		return err
	}
	if errno != 0 {
		return t.problem(errno)
	}
	return nil
}

// readAll reads a log from a position on, piece by piece.
func readAll(s *store.Store, l *store.Log, from uint64, each func(data []byte) error) error {
	rd := l.NewReader()
	defer rd.Close()
	for pos := max(from, l.Begin()); pos < l.End(); {
		var e ended
		r := store.Read{Pos: pos, Max: 1 << 20, Owner: &e}
		if err := rd.Read(&r); err != 0 {
			return err
		}
		for s.Poll(); !e; s.Poll() {
			if !s.Arm() {
				sleep(s.Fd())
			}
		}
		if r.Err != 0 {
			return fmt.Errorf("at %d: %w", pos, r.Err)
		}
		err := each(unsafe.Slice((*byte)(r.Data), r.N))
		mem.Free(r.Data)
		if err != nil {
			return err
		}
		pos += r.N
	}
	return nil
}

func (t *tool) dump(args []string) error {
	s, err := t.mount(false)
	if err != nil {
		return err
	}
	defer s.Close()
	l, errno := s.Open(args[1])
	if errno != 0 {
		return fmt.Errorf("%q: %w", args[1], errno)
	}
	defer l.Close()
	if t.from > l.End() {
		return fmt.Errorf("%q ends at %d", args[1], l.End())
	}
	bar := t.progress("reading")
	defer bar.end()
	done := uint64(0)
	return readAll(s, l, t.from, func(data []byte) error {
		_, err := t.out.Write(data)
		done += uint64(len(data))
		bar.set(done, l.End()-max(l.Begin(), t.from))
		return err
	})
}

func (t *tool) check([]string) error {
	dev, err := t.open(t.repair)
	if err != nil {
		return err
	}
	defer dev.Close()
	if t.repair {
		repaired, errno := store.RepairSuperblock(dev)
		if errno != 0 {
			return t.problem(errno)
		}
		if repaired {
			fmt.Fprintln(t.out, "a damaged superblock has been written anew")
		}
	}
	bar := t.progress("reading")
	found, errno := store.Check(dev, store.Options{}, func(p store.Problem) {
		if p.Log == "" {
			fmt.Fprintln(t.out, p.Text)
		} else {
			fmt.Fprintf(t.out, "%q: %s\n", p.Log, p.Text)
		}
	}, bar.set)
	bar.end()
	if errno != 0 {
		return t.problem(errno)
	}
	if found.Problems > 0 {
		if !t.repair {
			fmt.Fprintln(t.out, "of this, --repair mends a damaged superblock")
		}
		return fmt.Errorf("%s is damaged", t.drive.DevAddr)
	}
	fmt.Fprintf(t.out, "%d logs, %d bytes: all is well\n", found.Logs, found.Bytes)
	return nil
}

func (t *tool) delete(args []string) error {
	s, err := t.mount(true)
	if err != nil {
		return err
	}
	errno := s.Unlink(args[1])
	if closing := s.Close(); errno == 0 {
		errno = closing
	}
	if errno != 0 {
		return fmt.Errorf("%q: %w", args[1], errno)
	}
	return nil
}
