package store

import (
	"crypto/rand"
	"math/bits"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// plan lays out a drive, or fails with EINVAL.
func plan(info block.Info, o FormatOptions) (sb superblock, err abi.Errno) {
	bs := uint64(info.BlockSize)
	sb = superblock{uuid: o.UUID, blockSize: info.BlockSize, blocks: info.Blocks, extentSize: o.ExtentSize, catalogSize: o.CatalogSize}
	if bs == 0 || info.Blocks < 8 || info.Blocks > 1<<62/bs {
		return sb, unix.EINVAL
	}
	size := info.Blocks * bs
	if sb.catalogSize == 0 {
		sb.catalogSize = min(max(size/1024, 16<<10), 1<<20)
	}
	sb.catalogSize = (sb.catalogSize + bs - 1) &^ (bs - 1)
	if sb.extentSize == 0 {
		sb.extentSize = max(1<<20, 1<<bits.Len64((size-1)>>16), 16*bs)
	}
	if sb.extentSize < minExtentBlocks*bs || sb.extentSize > maxExtent {
		return sb, unix.EINVAL
	}
	sb.catalogs = [2]uint64{1, 1 + sb.catalogSize/bs}
	sb.dataStart = (1 + 2*sb.catalogSize/bs + 7) &^ 7
	if sb.dataStart+1 >= info.Blocks {
		return sb, unix.EINVAL
	}
	sb.extents = min((info.Blocks-1-sb.dataStart)/(sb.extentSize/bs), maxExtents)
	if !sb.sound() {
		return sb, unix.EINVAL
	}
	for sb.uuid == [16]byte{} {
		_, _ = rand.Read(sb.uuid[:]) // never fails
	}
	return sb, 0
}

// Format makes an empty store of the drive; it blocks. EEXIST: there is one, of any version, and o.Force is not set. EINVAL: the options make
// no sense, or the drive is too small. Whatever was on the drive is lost. Logs of an older store with the same UUID would come back to
// life, so the UUID should be left to chance.
func Format(dev block.Device, o FormatOptions) abi.Errno {
	sb, err := plan(dev.Info(), o)
	if err != 0 {
		return err
	}
	s, err := attach(dev, Options{})
	if err != 0 {
		return err
	}
	defer s.release()
	if !o.Force {
		look := s.lookForSuper()
		switch {
		case look.err != 0:
			return look.err
		case look.kinds != [2]superKind{superNone, superNone}:
			return unix.EEXIST
		}
	}
	s.sb = sb
	bs := int(sb.blockSize)
	buf := s.scratch[:bs]
	clear(buf)
	// While it is being formatted the drive has no store.
	for _, b := range [...]uint64{0, sb.blocks - 1} {
		if err := s.transfer(block.Write, b, buf); err != 0 {
			return err
		}
	}
	s.discard(0, sb.dataStart+sb.extents*(sb.extentSize/uint64(bs)))
	s.epoch, s.nextLog = 0, 1
	if err := s.writeCatalog(nil); err != 0 {
		return err
	}
	sb.encode(buf)
	for _, b := range [...]uint64{sb.blocks - 1, 0} {
		if err := s.transfer(block.Write, b, buf); err != 0 {
			return err
		}
	}
	return 0
}

// superLook is what was found in the two places of superblocks: the first block, and the last.
type superLook struct {
	kinds [2]superKind
	sbs   [2]superblock
	err   abi.Errno // of reading both
}

func (s *Store) lookForSuper() (l superLook) {
	buf := s.scratch[:s.info.BlockSize]
	failed := 0
	for i, b := range [...]uint64{0, s.info.Blocks - 1} {
		if err := s.transfer(block.Read, b, buf); err != 0 {
			failed++
			l.err = err
			l.kinds[i] = superDamaged
			continue
		}
		l.kinds[i] = l.sbs[i].decode(buf)
		if l.kinds[i] == superNone && i == 1 && l.kinds[0] == superGood && l.sbs[0].blocks < s.info.Blocks {
			// The drive has grown since it was formatted.
			if err := s.transfer(block.Read, l.sbs[0].blocks-1, buf); err == 0 {
				l.kinds[i] = l.sbs[i].decode(buf)
			}
		}
	}
	if failed < 2 {
		l.err = 0
	}
	return l
}

// choose gives the superblock that counts.
func (l *superLook) choose(info block.Info) (superblock, abi.Errno) {
	good := -1
	for i, k := range l.kinds {
		if k == superGood {
			good = i
			break
		}
	}
	switch {
	case l.err != 0:
		return superblock{}, l.err
	case l.kinds[0] == superOther || l.kinds[1] == superOther:
		return superblock{}, ErrVersion
	case l.kinds[0] == superGood && l.kinds[1] == superGood && l.sbs[0] != l.sbs[1]:
		return superblock{}, ErrStructure
	case good >= 0 && (l.sbs[good].blockSize != info.BlockSize || l.sbs[good].blocks > info.Blocks):
		return superblock{}, ErrStructure
	case good >= 0:
		return l.sbs[good], 0
	case l.kinds[0] == superDamaged || l.kinds[1] == superDamaged:
		return superblock{}, ErrStructure
	}
	return superblock{}, ErrNotFormatted
}

// RepairSuperblock writes the good copy of the superblock over one that is damaged; it blocks. It reports whether there was something to
// do. The errors are those of Mount.
func RepairSuperblock(dev block.Device) (repaired bool, err abi.Errno) {
	s, err := attach(dev, Options{})
	if err != 0 {
		return false, err
	}
	defer s.release()
	look := s.lookForSuper()
	sb, err := look.choose(dev.Info())
	if err != 0 {
		return false, err
	}
	for i, b := range [...]uint64{0, sb.blocks - 1} {
		if look.kinds[i] != superGood {
			buf := s.scratch[:sb.blockSize]
			sb.encode(buf)
			if err := s.transfer(block.Write, b, buf); err != 0 {
				return false, err
			}
			repaired = true
		}
	}
	return repaired, 0
}
