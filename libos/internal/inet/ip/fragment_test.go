package ip

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

func datagram(n int, id uint16) frame {
	f := frame{id: id, data: make([]byte, n)}
	for i := range f.data {
		f.data[i] = byte(i*13 + i>>8)
	}
	return f
}

// piece is a part of a datagram as a fragment.
func (f frame) piece(from, to int, more bool) []byte {
	f.data, f.fragment = f.data[from:to], uint16(from/8)
	if more {
		f.fragment |= wire.MoreFragments
	}
	return f.bytes()
}

func TestReassembly(t *testing.T) {
	r := newRig(t, nil)
	id := uint16(0)
	for _, n := range []int{9, 16, 1481, 3000, 4000, 65515} {
		for _, size := range []int{8, 24, 512, 1480} {
			if n <= size || n/size > 3000 {
				continue
			}
			id++
			f := datagram(n, id)
			frames := split(f, size)
			for range 3 { // in order, in reverse, at random, each with copies
				r.udp.packets = nil
				r.feed(frames[:len(frames)-1]...)
				require.Empty(t, r.udp.packets)
				r.feed(frames[0])
				r.feed(frames[len(frames)-1])
				require.Len(t, r.udp.packets, 1)
				require.Equal(t, f.data, r.udp.packets[0].Data)
				require.Equal(t, f.data[:min(n, 8)], r.udp.packets[0].Data[:min(n, 8)])
				require.False(t, r.udp.packets[0].SumGood)
				for i, j := 0, len(frames)-1; i < j; i, j = i+1, j-1 {
					frames[i], frames[j] = frames[j], frames[i]
				}
				if size == 512 {
					rand.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
				}
			}
		}
	}
	assert.Empty(t, r.fragments.open)
	assert.Len(t, r.fragments.rooms, 1)
	assert.Zero(t, r.timers.Len())
	assert.Zero(t, r.counters.Overlaps+r.counters.FragmentsBad)
}

// TestFragmentsApart: what belongs together has the same addresses, protocol and identification.
func TestFragmentsApart(t *testing.T) {
	f := datagram(2000, 1)
	for _, change := range []func(*frame){
		func(f *frame) { f.id++ },
		func(f *frame) { f.proto = wire.ProtoTCP },
		func(f *frame) { f.from = other },
		func(f *frame) { f.to, f.dst = 0xffffffff, wire.Broadcast },
	} {
		r := newRig(t, nil)
		g := f
		change(&g)
		r.feed(f.piece(0, 1000, true), g.piece(1000, 2000, false))
		assert.Empty(t, r.udp.packets)
		assert.Empty(t, r.tcp.packets)
		r.feed(g.piece(0, 1000, true), f.piece(1000, 2000, false))
		assert.Equal(t, 2, len(r.udp.packets)+len(r.tcp.packets))
	}
}

func TestFragmentsBad(t *testing.T) {
	f := datagram(4000, 5)
	other := datagram(4000, 5)
	for i := range other.data {
		other.data[i] ^= 0xff
	}
	for _, c := range []struct {
		name   string
		frames [][]byte
		count  string
	}{
		{"no data", [][]byte{f.piece(8, 8, true)}, "FragmentsBad"},
		{"odd length amid", [][]byte{f.piece(0, 1001, true)}, "FragmentsBad"},
		{"giant", [][]byte{changed(f.piece(0, 100, false), func(b []byte) { b[20], b[21] = 0x1f, 0xff; resum(b) })}, "FragmentsBad"},
		{"overlap of the end", [][]byte{f.piece(0, 1000, true), f.piece(992, 2000, true)}, "Overlaps"},
		{"overlap of the beginning", [][]byte{f.piece(1000, 2000, true), f.piece(0, 1008, true)}, "Overlaps"},
		{"around", [][]byte{f.piece(504, 1000, true), f.piece(0, 1480, true)}, "Overlaps"},
		{"within, with other bytes", [][]byte{f.piece(0, 1480, true), other.piece(504, 1000, true)}, "Overlaps"},
		{"same place, other bytes", [][]byte{f.piece(0, 1000, true), other.piece(0, 1000, true)}, "Overlaps"},
		{"two ends", [][]byte{f.piece(2000, 3000, false), f.piece(3000, 4000, false)}, "Overlaps"},
		{"behind the end", [][]byte{f.piece(2000, 3000, false), f.piece(3000, 4000, true)}, "Overlaps"},
		{"end before what is there", [][]byte{f.piece(3000, 4000, true), f.piece(2000, 3000, false)}, "Overlaps"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.feed(split(datagram(4000, 4), 1480)...) // leaves the same bytes behind
			require.Len(t, r.udp.packets, 1)
			r.udp.packets, r.counters = nil, Counters{}
			r.feed(c.frames...)
			r.counts(map[string]uint64{c.count: 1})
			if c.count == "Overlaps" { // what follows does not revive it
				r.counters = Counters{}
				r.feed(f.piece(0, 1000, true), f.piece(1000, 2000, true), f.piece(2000, 3000, true), f.piece(3000, 4000, false))
				r.counts(map[string]uint64{"FragmentsLate": 4})
				assert.Empty(t, r.udp.packets)
			}
			r.wait(16 * second)
			assert.Empty(t, r.fragments.open)
			assert.Zero(t, r.timers.Len())
		})
	}
}

// TestGiant: the classic that is longer than 65535 bytes when it is put together.
func TestGiant(t *testing.T) {
	r := newRig(t, nil)
	f := datagram(65528, 9)
	frames := split(f, 1480)
	r.feed(frames[:len(frames)-1]...)
	r.feed(changed(frames[len(frames)-1], func(b []byte) { binary.BigEndian.PutUint16(b[20:], 0x1fff); resum(b) }))
	assert.Empty(t, r.udp.packets)
	assert.Equal(t, uint64(1), r.counters.FragmentsBad)
	assert.Nil(t, r.fragments.open[0].room, "given up")
}

func TestReassemblyTimeout(t *testing.T) {
	r := newRig(t, nil)
	r.knows(peer, peerMAC)
	f := datagram(3000, 1)
	r.feed(f.piece(0, 1480, true))
	r.wait(5 * second)
	g := datagram(3000, 2)
	r.feed(g.piece(1480, 2960, true))
	r.wait(9 * second)
	assert.Empty(t, r.sent())
	r.wait(2 * second)
	out := r.sent()
	require.Len(t, out, 1)
	m := wire.ICMP(r.sound(out[0]).Payload())
	assert.Equal(t, []byte{11, 1}, []byte(m[:2]))
	assert.Equal(t, f.piece(0, 8, true)[34:], []byte(m[28:]))
	r.wait(6 * second)
	assert.Empty(t, r.sent(), "without its first fragment, nobody would know it")
	r.counts(map[string]uint64{"Timeouts": 2, "TimeoutsOut": 1})
	assert.False(t, r.fragments.timer.Armed())
}

func TestCrowded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Datagrams, c.DatagramsFrom = 20, 4 })
	mine := datagram(2000, 1)
	mine.from = other
	r.feed(mine.piece(0, 1480, true))
	for i := range 1000 { // one sender crowds out itself only
		f := datagram(3000, uint16(i))
		r.feed(f.piece(0, 1480, true))
	}
	assert.Equal(t, uint64(1000-4), r.counters.Crowded)
	r.feed(mine.piece(1480, 2000, false))
	assert.Len(t, r.udp.packets, 1)
	for i := range 1000 {
		f := datagram(3000, 1)
		f.from = addr(172, 16, byte(i>>8), byte(i))
		r.feed(f.piece(0, 1480, true))
	}
	assert.Len(t, r.fragments.open, 20)
	assert.LessOrEqual(t, len(r.fragments.rooms), 20)
	r.wait(16 * second)
	assert.Empty(t, r.fragments.open)
	assert.Len(t, r.fragments.rooms, 20)
	assert.Len(t, r.fragments.idle, 20)
}

// model is reassembly done simply: a map of bytes.
type model struct {
	bytes map[int]byte
	total int
	dead  bool
}

// add returns the datagram if it is complete.
func (m *model) add(offset int, data []byte, more bool) []byte {
	if len(data) == 0 || (more && len(data)%8 != 0) {
		return nil
	}
	end := offset + len(data)
	if end > maxPayload {
		m.dead = len(m.bytes) > 0 || m.dead
		return nil
	}
	if m.dead {
		return nil
	}
	high, same, there := 0, 0, 0
	for i := range m.bytes {
		high = max(high, i+1)
	}
	for i, b := range data {
		if have, ok := m.bytes[offset+i]; ok {
			there++
			if have == b {
				same++
			}
		}
	}
	blockTaken := false // a block that is there in part counts as there
	if there == 0 {
		_, blockTaken = m.bytes[(end-1)&^7]
	}
	switch {
	case more && m.total != 0 && end > m.total, !more && m.total != 0 && m.total != end, !more && high > end:
		m.dead = true
	case (there > 0 && there < len(data)) || same != there || blockTaken:
		m.dead = true
	}
	if m.dead {
		return nil
	}
	if !more {
		m.total = end
	}
	for i, b := range data {
		m.bytes[offset+i] = b
	}
	if m.total == 0 || len(m.bytes) != m.total {
		return nil
	}
	out := make([]byte, m.total)
	for i := range out {
		out[i] = m.bytes[i]
	}
	m.bytes, m.total = map[int]byte{}, 0
	return out
}

// FuzzReassembly compares with the model. Each 4 bytes of the input are a fragment.
func FuzzReassembly(f *testing.F) {
	f.Add([]byte{0, 1, 8, 1, 1, 0, 5, 1})
	f.Add([]byte{0, 1, 8, 1, 0, 1, 8, 1, 1, 0, 5, 1})
	f.Add([]byte{0, 1, 16, 1, 1, 0, 5, 2})
	f.Fuzz(compare)
}

// TestModel does the same with what comes at random.
func TestModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	in := make([]byte, 200)
	for range 300 {
		few := 1 + rnd.IntN(20)
		for i := 0; i < len(in); i += 4 {
			in[i], in[i+1], in[i+2], in[i+3] = byte(rnd.IntN(few)), byte(rnd.IntN(4)), byte(8*rnd.IntN(8)), byte(rnd.IntN(30)/29)
			if rnd.IntN(few) == 0 {
				in[i+2] += byte(rnd.IntN(8))
			}
			if rnd.IntN(few) != 0 {
				in[i+1] = 1
			}
		}
		compare(t, in)
	}
}

func compare(t *testing.T, in []byte) {
	r := newRig(t, nil)
	m := model{bytes: map[int]byte{}}
	for ; len(in) >= 4 && len(r.udp.packets) < 20; in = in[4:] {
		offset, more, n, fill := int(in[0])*8, in[1]&1 != 0, int(in[2]), in[3]
		if in[1]&2 != 0 {
			offset = 8191*8 - offset
		}
		data := bytes.Repeat([]byte{fill & 1}, n)
		fr := frame{id: 7, data: data, fragment: uint16(offset / 8)}
		if more {
			fr.fragment |= wire.MoreFragments
		}
		if fr.fragment == 0 {
			continue // is no fragment
		}
		before := len(r.udp.packets)
		r.feed(fr.bytes())
		if want := m.add(offset, data, more); want != nil {
			require.Len(t, r.udp.packets, before+1)
			require.Equal(t, want, r.udp.packets[before].Data)
		} else {
			require.Len(t, r.udp.packets, before)
		}
		require.LessOrEqual(t, len(r.fragments.open), 1)
	}
}

// TestFragmentStorm: overlapping, giant, repeated and unfinished fragments from many senders, mixed with sound datagrams.
// Memory is bounded, and what is delivered is what was sent.
func TestFragmentStorm(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	r := newRig(t, func(c *Config) { c.Prefix = 8 })
	sound := 0
	r.udp.each = func(k *Packet) {
		if k.Src == peer {
			n := int(binary.BigEndian.Uint16(k.Data))
			require.Equal(t, n, len(k.Data))
			sound++
		}
		r.udp.packets = nil
	}
	for i := range 3000 {
		f := datagram(16+rnd.IntN(3000), uint16(i))
		binary.BigEndian.PutUint16(f.data, uint16(len(f.data)))
		frames := split(f, 8*(1+rnd.IntN(185)))
		rnd.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
		for range 20 {
			g := frame{from: addr(10, 1, 0, byte(rnd.IntN(50))), id: uint16(rnd.IntN(20)), data: make([]byte, rnd.IntN(1480))}
			g.data = append(g.data, byte(rnd.IntN(2)))
			g.fragment = uint16(rnd.IntN(200)) | uint16(rnd.IntN(2))<<13
			if rnd.IntN(10) == 0 {
				g.fragment = uint16(rnd.IntN(1 << 14))
			}
			r.feed(g.bytes())
		}
		r.feed(frames...)
		r.at += int64(rnd.IntN(int(100 * ms)))
	}
	assert.Equal(t, 3000, sound)
	assert.LessOrEqual(t, len(r.fragments.open), 64)
	assert.LessOrEqual(t, len(r.fragments.open)+len(r.fragments.idle), 64)
	assert.LessOrEqual(t, len(r.fragments.rooms), 64)
	r.wait(20 * second)
	for _, n := range []uint64{r.counters.Overlaps, r.counters.FragmentsBad, r.counters.FragmentsLate, r.counters.Timeouts, r.counters.Crowded} {
		assert.NotZero(t, n)
	}
	assert.Empty(t, r.fragments.open)
}
