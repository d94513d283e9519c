package nvme

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// swallow has the drive keep commands with an opcode to itself, until told otherwise.
func swallow(op byte) func(c *command) answer {
	return func(c *command) answer { return answer{swallow: byte(c.head) == op} }
}

func TestAbort(t *testing.T) {
	r := newRig(t, func(f *fake) { f.onIO = swallow(opFlush) })
	r.timeout = int64(shortTimeout)
	assert.Equal(t, unix.ETIMEDOUT, r.does(&block.Request{Op: block.Flush}))
	r.timeout = int64(defaultTimeout)
	s := r.Stats()
	assert.Equal(t, []uint64{1, 1, 0}, []uint64{s.Timeouts, s.Aborts, s.Resets})
	assert.Zero(t, r.does(&block.Request{Op: block.Read, Buf: r.Alloc(512)}))
}

// A drive that does not abort is reset: what is late ends with ETIMEDOUT, what else it has with EIO, what comes meanwhile goes on.
func TestReset(t *testing.T) {
	r := newRig(t, func(f *fake) {
		f.onIO = swallow(opFlush)
		f.tamper = func(e *completion) []completion {
			if e.code() == statusAborted {
				return nil // nor is it aborted
			}
			return []completion{*e}
		}
	})
	r.timeout = int64(shortTimeout)
	late := r.submit(&block.Request{Op: block.Flush})
	r.Poll()
	for r.phase == phaseRunning && r.Stats().Aborts == 0 {
		r.Poll()
	}
	other := r.submit(&block.Request{Op: block.Flush})
	for r.phase == phaseRunning {
		r.Poll()
	}
	r.timeout = int64(defaultTimeout)
	r.fake.with(func() { r.fake.onIO, r.fake.tamper = nil, nil })
	held := r.submit(&block.Request{Op: block.Flush})
	r.ends(3)
	assert.Equal(t, unix.ETIMEDOUT, late.Err)
	assert.Contains(t, []abi.Errno{unix.EIO, unix.ETIMEDOUT}, other.Err)
	assert.Zero(t, held.Err)
	assert.Equal(t, uint64(1), r.Stats().Resets)
}

// dead checks that a request under way ends with ENODEV, others are not taken, and the drive no longer reaches memory.
func dead(t *testing.T, r *rig, happens func()) {
	r.fake.with(func() { r.fake.onIO = swallow(opFlush) })
	req := r.submit(&block.Request{Op: block.Flush})
	r.fake.with(happens)
	assert.Same(t, req, r.ends(1)[0])
	assert.Contains(t, []abi.Errno{unix.ENODEV, unix.ETIMEDOUT}, req.Err)
	assert.Equal(t, unix.ENODEV, r.Submit(&block.Request{Op: block.Flush}))
	assert.True(t, r.fake.wasCut)
}

func TestGone(t *testing.T) {
	r := newRig(t, nil)
	dead(t, r, func() { r.fake.gone = true })
}

func TestStuck(t *testing.T) {
	r := newRig(t, nil)
	r.caps.timeout = int64(shortTimeout)
	dead(t, r, func() { r.fake.fatal, r.fake.deaf, r.fake.resetable = true, true, false })
	assert.Equal(t, 1, r.fake.resets)

	r = newRig(t, func(f *fake) { f.putCap(fakeCap | 1<<24) }) // the bus helps
	r.fake.with(func() { r.fake.fatal, r.fake.deaf, r.fake.onIO = true, true, swallow(opFlush) })
	assert.Equal(t, unix.EIO, r.does(&block.Request{Op: block.Flush}))
	r.fake.with(func() { r.fake.onIO = nil })
	assert.Zero(t, r.does(&block.Request{Op: block.Flush}))
}

// Completions of what was not asked for lead to a reset, and nothing ends twice or for somebody else.
func TestBadCompletions(t *testing.T) {
	for name, bad := range map[string]func(e completion) []completion{
		"no such command": func(e completion) []completion { e.status ^= 0x3ff; return []completion{e} },
		"an older one":    func(e completion) []completion { e.status ^= 1 << 12; return []completion{e} },
		"other queue":     func(e completion) []completion { e.queue ^= 3 << 16; return []completion{e} },
		"head outside":    func(e completion) []completion { e.queue |= 0xffff; return []completion{e} },
		"twice":           func(e completion) []completion { return []completion{e, e} },
	} {
		r := newRig(t, nil)
		r.fake.with(func() {
			r.fake.tamper = func(e *completion) []completion { r.fake.tamper = nil; return bad(*e) }
		})
		want := abi.Errno(unix.EIO)
		if name == "twice" {
			want = 0
		}
		assert.Equal(t, want, r.does(&block.Request{Op: block.Flush}), name)
		r.does(&block.Request{Op: block.Flush}) // may be what the second completion is noticed with
		assert.Zero(t, r.does(&block.Request{Op: block.Flush}), name)
		assert.Equal(t, []uint64{1, 1}, []uint64{r.Stats().Faults, r.Stats().Resets}, name)
	}
}

func TestNamespaceChanges(t *testing.T) {
	r := newRig(t, nil)
	r.fake.with(func() { r.fake.fatal, r.fake.namespace[130], r.fake.onIO = true, 12, swallow(opFlush) })
	assert.Equal(t, unix.EIO, r.does(&block.Request{Op: block.Flush}))
	for r.phase != phaseDead {
		r.Poll()
	}
	assert.Equal(t, unix.ENODEV, r.Submit(&block.Request{Op: block.Flush}))
}

func TestOpenRefuses(t *testing.T) {
	le := binary.LittleEndian
	for name, c := range map[string]struct {
		want   error
		change func(f *fake)
	}{
		"gone":             {unix.ENODEV, func(f *fake) { f.gone = true; f.putCap(1<<64 - 1) }},
		"no NVM commands":  {unix.ENOTSUP, func(f *fake) { f.putCap(255 | 1<<24) }},
		"one entry":        {unix.EPROTO, func(f *fake) { f.putCap(1<<24 | 1<<37) }},
		"large pages":      {unix.ENOTSUP, func(f *fake) { f.putCap(255 | 1<<37 | 8<<48) }},
		"far doorbells":    {unix.EPROTO, func(f *fake) { f.putCap(255 | 1<<37 | 11<<32) }},
		"does not start":   {unix.EIO, func(f *fake) { f.deaf = true; f.putCap(fakeCap | 1<<24) }},
		"no memory":        {unix.ENOMEM, func(f *fake) { f.noMemory = true }},
		"entry sizes":      {unix.ENOTSUP, func(f *fake) { f.controller[512] = 0x77 }},
		"not active":       {unix.ENODEV, func(f *fake) { f.onAdmin = func(c *command, _ *answer) { f.nsid = 2 } }},
		"empty":            {unix.ENODEV, func(f *fake) { clear(f.namespace[:8]) }},
		"metadata":         {unix.ENOTSUP, func(f *fake) { f.namespace[128] = 8 }},
		"protection":       {unix.ENOTSUP, func(f *fake) { f.namespace[29] = 1 }},
		"no such format":   {unix.EPROTO, func(f *fake) { f.namespace[26] = 3 }},
		"small blocks":     {unix.ENOTSUP, func(f *fake) { f.namespace[130] = 8 }},
		"large blocks":     {unix.ENOTSUP, func(f *fake) { f.namespace[130] = 17 }},
		"too many blocks":  {unix.EPROTO, func(f *fake) { le.PutUint64(f.namespace[:], 1<<55) }},
		"write-protected":  {unix.EROFS, func(f *fake) { f.namespace[99] = 1 }},
		"tiny transfers":   {unix.EPROTO, func(f *fake) { f.controller[77], f.namespace[130] = 1, 16 }},
		"identify refused": {unix.EIO, func(f *fake) { f.onAdmin = func(c *command, a *answer) { a.code = 2 } }},
		"no answer":        {unix.EIO, func(f *fake) { f.onAdmin = func(c *command, a *answer) { a.swallow = true } }},
	} {
		f := newFake()
		c.change(f)
		f.run()
		cfg := Config{Address: "fake", Namespace: 1}
		if name == "no answer" {
			cfg.Timeout = shortTimeout
		}
		_, err := open(f, cfg)
		assert.ErrorIs(t, err, c.want, name)
		assert.True(t, f.closed && f.wasCut, name)
		assert.Empty(t, f.pages, name)
	}
}

// A former process left the controller running, and its queues full.
func TestTakesOver(t *testing.T) {
	f := newFake()
	f.run()
	_, err := open(f, Config{Address: "fake", Namespace: 1})
	require.NoError(t, err)
	f.pause()
	f.pages, f.wasCut = map[uint64][]byte{}, false
	f.run()
	d, err := open(f, Config{Address: "fake", Namespace: 1})
	require.NoError(t, err)
	d.Close()
	assert.Equal(t, 1, f.shut)
	assert.Zero(t, f.strays)
}

func TestFirstFree(t *testing.T) {
	const m = chunkBytes
	ranges := []addressRange{{0, 4*m - 1}, {5*m + 1, 8*m - 1}}
	for _, c := range []struct {
		used  []addressRange
		n     uint64
		first uint64
		place int
		ok    bool
	}{
		{nil, m, m, 0, true},
		{nil, 3 * m, m, 0, true},
		{nil, 4 * m, 0, 0, false},
		{[]addressRange{{m, 2*m - 1}}, m, 2 * m, 1, true},
		{[]addressRange{{2 * m, 3*m - 1}}, m, m, 0, true},
		{[]addressRange{{2 * m, 3*m - 1}}, 2 * m, 6 * m, 1, true},
		{[]addressRange{{m, 4*m - 1}, {6 * m, 8*m - 1}}, m, 0, 0, false},
	} {
		first, place, ok := firstFree(ranges, c.used, c.n)
		assert.Equal(t, c.ok, ok, "%+v", c)
		if ok {
			assert.Equal(t, []any{c.first, c.place}, []any{first, place}, "%+v", c)
		}
	}
	first, _, ok := firstFree([]addressRange{{0, 1<<64 - 1}}, nil, m)
	assert.True(t, ok && first == m)
}

// Whatever Identify gives, what is taken from it makes sense.
func FuzzIdentify(f *testing.F) {
	good := newFake()
	f.Add(uint64(255|1<<24|1<<37), good.controller[:], good.namespace[:])
	f.Fuzz(func(t *testing.T, capabilities uint64, controllerData, namespaceData []byte) {
		var a, b [identifyBytes]byte
		copy(a[:], controllerData)
		copy(b[:], namespaceData)
		limits, err := parseCaps(capabilities)
		if err != nil {
			return
		}
		ctrl, err := parseController(&a, limits)
		if err != nil {
			return
		}
		info, err := parseNamespace(&b, &ctrl)
		if err != nil {
			return
		}
		size := uint64(info.BlockSize)
		require.True(t, size >= 512 && size <= 65536 && size&(size-1) == 0)
		require.True(t, info.MaxTransfer >= info.BlockSize && info.MaxTransfer <= maxTransfer && uint64(info.MaxTransfer)%size == 0)
		require.True(t, info.Blocks > 0 && info.Blocks <= maxBytes/size)
		for _, c := range ctrl.Model + ctrl.Serial + ctrl.Firmware {
			require.True(t, c >= ' ' && c <= '~')
		}
	})
}

func FuzzRanges(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 2})
	f.Fuzz(func(t *testing.T, b []byte) { parseRanges(b) })
}
