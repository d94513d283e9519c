package store

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/spdk/store/sim"
)

// What is on the drive may be anything: nothing here may panic, hang or be believed without a check.

var fuzzSB = superblock{uuid: [16]byte{1}, blockSize: 512, blocks: 600, extentSize: 16 << 10, extents: 16, dataStart: 40, catalogs: [2]uint64{1, 17}, catalogSize: 8192}

func FuzzSuperblock(f *testing.F) {
	b := make([]byte, superBytes)
	fuzzSB.encode(b)
	f.Add(b, false)
	f.Fuzz(func(t *testing.T, b []byte, sign bool) {
		if sign && len(b) >= superBytes {
			le.PutUint32(b[superCRC:], superSum(b))
		}
		var sb superblock
		if sb.decode(b) != superGood {
			return
		}
		again := make([]byte, superBytes)
		sb.encode(again)
		var same superblock
		require.Equal(t, superGood, same.decode(again))
		require.Equal(t, sb, same)
	})
}

func FuzzCatalog(f *testing.F) {
	b := make([]byte, 8192)
	n := encodeCatalog(b, &fuzzSB, 7, 3, 9, []entry{{id: 1, name: "log"}, {id: 8, name: strings.Repeat("x", 255), begin: 5, known: mark{idx: 1, off: 512, epoch: 3, pos: 70, seq: 4}}})
	f.Add(b[:n], false)
	f.Fuzz(func(t *testing.T, b []byte, sign bool) {
		if n := uint32(len(b)); sign && n >= catHeader {
			le.PutUint32(b[12:], n)
			le.PutUint32(b[8:], sum(0, b[12:]))
		}
		c, ok := decodeCatalog(b, &fuzzSB)
		if !ok {
			return
		}
		again := make([]byte, len(b))
		n := encodeCatalog(again, &fuzzSB, c.generation, c.epoch, c.nextLog, c.entries)
		require.NotZero(t, n)
		same, ok := decodeCatalog(again[:n], &fuzzSB)
		require.True(t, ok)
		require.Equal(t, c, same)
	})
}

func FuzzExtent(f *testing.F) {
	b := make([]byte, 16<<10)
	h := extentHead{log: 1, idx: 3, pos: 4000, seq: 5, place: 2, epoch: 2, inside: true, back: mark{idx: 2, off: 512, epoch: 2, pos: 3000, seq: 5}}
	h.encode(b[:512], &fuzzSB)
	fr := fragment{n: 100, flags: flagLast, epoch: 2, seq: 5, pos: 4000, acked: 3, rest: 100}
	fr.encode(b[512:512+fr.bytes()], logSeed(&fuzzSB, 1))
	f.Add(b[:1024], false)
	f.Fuzz(func(t *testing.T, b []byte, sign bool) {
		if sign && len(b) >= 512 {
			copy(b[16:32], fuzzSB.uuid[:])
			le.PutUint32(b[8:], sum(0, b[12:extentHeader]))
		}
		var h extentHead
		if len(b) >= 512 && h.decode(b[:512], &fuzzSB, 2) && h.inside {
			require.Less(t, h.back.pos, h.pos)
			require.Less(t, uint64(h.back.off), fuzzSB.extentSize)
		}
		var fr fragment
		for off := 0; off < len(b); off += 8 {
			if fr.decode(b[off:], uint32(len(b)-off)) {
				require.LessOrEqual(t, int(fr.bytes()), len(b)-off)
				require.NotZero(t, fr.n)
			}
		}
	})
}

// fuzzDrive has two logs, the end of one cut off.
func fuzzDrive(t testing.TB) (*sim.Drive, [16]byte) {
	cfg := sim.Config{BlockSize: 512, Blocks: 600, MaxTransfer: 4096, Seed: 3}
	d := sim.New(cfg)
	uuid := [16]byte{7}
	require.Zero(t, Format(d, FormatOptions{ExtentSize: 16 << 10, CatalogSize: 8192, UUID: uuid}))
	r := &rig{TB: t, d: d}
	for range 2 {
		r.mount()
		for _, name := range []string{"a", "b"} {
			l, err := r.s.Open(name)
			if err != 0 {
				l = r.create(name)
			}
			for i := range 6 {
				require.Zero(t, r.append(l, strings.Repeat(name, 1+i*1700)))
			}
		}
		r.stop(false)
	}
	return r.d, uuid
}

// FuzzRecovery changes bytes of a drive, as edits says: four bytes for each, two of them the place. With sign the checksums of what was
// changed are made right, so that the content is looked at.
func FuzzRecovery(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0}, false)
	f.Add([]byte{40, 0, 90, 1, 40, 0, 91, 2, 2, 0, 8, 8}, true)
	f.Add([]byte{41, 0, 4, 255, 41, 0, 24, 9}, true)
	f.Add([]byte{17, 0, 100, 77, 1, 0, 100, 77}, true)
	f.Fuzz(fuzzRecovery)
}

func fuzzRecovery(t *testing.T, edits []byte, sign bool) {
	d, _ := fuzzDrive(t)
	for ; len(edits) >= 4; edits = edits[4:] {
		b := (uint64(edits[0]) | uint64(edits[1])<<8) % 600
		d.Flip(b*512+uint64(edits[2])%512, edits[3])
		if sign {
			signBlock(d, b)
		}
	}
	opt := Options{WriteChunks: 4, ReadChunks: 4}
	if _, err := Check(d, opt, func(Problem) {}, nil); err != 0 {
		_, err = Mount(d, opt)
		require.NotZero(t, err)
		return
	}
	s, err := Mount(d, opt)
	if err != 0 {
		return
	}
	r := &rig{TB: t, d: d, s: s}
	for _, name := range []string{"a", "b"} {
		l, err := s.Open(name)
		if err != 0 {
			continue
		}
		_, _ = r.readAll(l)
		_ = r.append(l, strings.Repeat("new", 5000))
		_, _ = r.readAll(l)
		if l.End() > l.Begin() {
			_ = l.Trim((l.Begin() + l.End()) / 2)
		}
	}
	_ = s.Unlink("a")
	_ = s.Close()
}

// TestRecoveryOfRandomDamage is some of FuzzRecovery, at every run.
func TestRecoveryOfRandomDamage(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 5))
	for i := range 3000 {
		edits := make([]byte, 4*(1+rnd.IntN(6)))
		for k := 0; k < len(edits); k += 4 {
			b := [...]int{0, 1, 17, 40 + 32*rnd.IntN(17), rnd.IntN(600)}[rnd.IntN(5)]
			edits[k], edits[k+1], edits[k+2], edits[k+3] = byte(b), byte(b>>8), byte(rnd.IntN(120)), byte(1<<rnd.IntN(8))
		}
		fuzzRecovery(t, edits, i%4 > 0)
	}
}

// signBlock makes the checksums in a block right, whatever it is.
func signBlock(d *sim.Drive, at uint64) {
	b := make([]byte, 16<<10)
	n := min(600-at, 32)
	d.Peek(at, b[:n*512])
	switch {
	case string(b[:8]) == superMagic:
		le.PutUint32(b[superCRC:], superSum(b))
	case string(b[:8]) == catMagic:
		le.PutUint32(b[8:], sum(0, b[12:max(12, min(le.Uint32(b[12:]), 8192))]))
	case string(b[:8]) == extentMagic:
		le.PutUint32(b[8:], sum(0, b[12:extentHeader]))
	default:
		var f fragment
		for _, id := range []uint64{1, 2} {
			if f.decode(b, uint32(n*512)) && f.seq%2 == id%2 {
				le.PutUint32(b, sum(logSeed(&superblock{uuid: [16]byte{7}}, id), b[4:f.bytes()]))
			}
		}
	}
	d.Poke(at, b[:512])
}
