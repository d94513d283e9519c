package nvme

import (
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/spdk/block"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// fake is a controller in memory of this process, and the bus that leads to it. A goroutine steps it until pause.
type fake struct {
	mu     sync.Mutex // around a step, and what a test changes meanwhile
	regs   []byte
	pages  map[uint64][]byte // what the drive reaches, by address on the bus
	next   uint64
	step1  sync.WaitGroup
	paused atomic.Bool

	disk       []byte
	controller [identifyBytes]byte
	namespace  [identifyBytes]byte
	nsid       uint32

	admin, io  half
	lost       []completion // for commands that were swallowed, as they would have been
	ready      bool
	commands   []command // of I/O, as they came
	adminCodes []byte

	// What a test may change.
	scatter   bool                             // pages of later chunks lie anywhere
	noMemory  bool                             // for chunks
	onIO      func(c *command) answer          // how a command of I/O is treated
	onAdmin   func(c *command, a *answer)      // the same, after what happens without
	tamper    func(c *completion) []completion // what is sent instead
	deaf      bool                             // CC.EN has no effect
	gone      bool
	fatal     bool
	resets    int // by the bus
	resetable bool
	wasCut    bool
	closed    bool
	shut      int // orderly shutdowns
	strays    int // accesses to memory that is not the drive's
}

// half is a queue pair as the controller sees it.
type half struct {
	sq, cq     uint64
	size       int
	head, tail int
	phase      uint32
}

// answer is what becomes of a command.
type answer struct {
	code    uint16
	result  uint32
	swallow bool // no completion; abort brings it
}

// fakeCap is CAP: 256 entries, doorbells 8 bytes apart, the NVM command set. Its limit of time, in units of 500 ms, is to be added.
const fakeCap = 255 | 1<<32 | 1<<37

func newFake() *fake {
	f := &fake{
		regs: aligned(8192), pages: map[uint64][]byte{}, next: chunkBytes, disk: make([]byte, 4<<20), nsid: 1, resetable: true,
	}
	f.putCap(fakeCap | 20<<24)
	copy(f.controller[4:], "serial              ")
	copy(f.controller[24:], "A drive of memory")
	f.controller[77] = 5 // MDTS: 128 KiB
	f.controller[512], f.controller[513] = 0x66, 0x44
	f.controller[520] = 4 // Dataset Management
	binary.LittleEndian.PutUint64(f.namespace[:], uint64(len(f.disk)>>9))
	f.namespace[130] = 9
	return f
}

func aligned(n int) []byte {
	b := make([]byte, n+hostPage)
	at := -uintptr(unsafe.Pointer(&b[0])) & (hostPage - 1)
	return b[at : int(at)+n : int(at)+n]
}

func (f *fake) reg(at int) *uint32 { return (*uint32)(unsafe.Pointer(&f.regs[at])) }

func (f *fake) putCap(v uint64) {
	atomic.StoreUint32(f.reg(regCAP), uint32(v))
	atomic.StoreUint32(f.reg(regCAP+4), uint32(v>>32))
}

func (f *fake) registers() []byte { return f.regs }

func (f *fake) memory(n int) (*chunk, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.noMemory {
		return nil, unix.ENOMEM
	}
	c := &chunk{mem: aligned(n), pages: make([]uint64, n>>hostPageShift)}
	for i := range c.pages {
		at := i
		if f.scatter && len(f.pages) > 0 && f.next > chunkBytes {
			at = len(c.pages) - 1 - i
		}
		c.pages[i] = f.next + uint64(at)<<hostPageShift
		f.pages[c.pages[i]] = c.mem[i<<hostPageShift : (i+1)<<hostPageShift]
	}
	f.next += uint64(n)
	return c, nil
}

func (f *fake) release(c *chunk) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range c.pages {
		delete(f.pages, p)
	}
}

func (f *fake) cut() {
	f.mu.Lock()
	f.wasCut = true
	f.mu.Unlock()
}

func (f *fake) reset() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resets++
	if f.resetable {
		f.deaf = false
	}
	return f.resetable
}

func (f *fake) close() {
	f.pause()
	f.closed = true
}

// run steps the controller until pause.
func (f *fake) run() {
	f.paused.Store(false)
	f.step1.Add(1)
	go func() {
		defer f.step1.Done()
		for !f.paused.Load() {
			if !f.step() {
				time.Sleep(10 * time.Microsecond)
			}
			runtime.Gosched()
		}
	}()
}

func (f *fake) pause() {
	f.paused.Store(true)
	f.step1.Wait()
}

// with changes the fake while it runs.
func (f *fake) with(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// at is memory that the drive reaches, within one page.
func (f *fake) at(address uint64, n int) []byte {
	page := f.pages[address&^(hostPage-1)]
	if page == nil || f.wasCut {
		f.strays++
		return make([]byte, hostPage)
	}
	in := int(address & (hostPage - 1))
	return page[in : in+n]
}

// step does what there is to do, and says whether there was anything.
func (f *fake) step() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone {
		for at := 0; at < 64; at += 4 {
			atomic.StoreUint32(f.reg(at), gone)
		}
		return false
	}
	cc := atomic.LoadUint32(f.reg(regCC))
	if on := cc&ccEnable != 0; on != f.ready && !f.deaf {
		f.enable(on)
	}
	status := uint32(0)
	if f.ready {
		status |= cstsReady
	}
	if f.fatal {
		status |= cstsFatal
	}
	if f.ready && cc&ccShutdownMask != 0 {
		if atomic.LoadUint32(f.reg(regCSTS))&cstsShutdownMask == 0 {
			f.shut++
		}
		status |= cstsShutdownDone
	}
	atomic.StoreUint32(f.reg(regCSTS), status)
	return f.ready && !f.fatal && f.serve()
}

// enable starts the controller or resets it.
func (f *fake) enable(on bool) {
	f.ready = on
	f.fatal = false
	f.io, f.lost = half{}, nil
	if !on {
		for at := regDoorbell; at < regDoorbell+32; at += 4 {
			atomic.StoreUint32(f.reg(at), 0)
		}
		return
	}
	f.admin = half{sq: f.get64(regASQ), cq: f.get64(regACQ), size: int(atomic.LoadUint32(f.reg(regAQA))&0xfff) + 1, phase: 1}
}

func (f *fake) get64(at int) uint64 {
	return uint64(atomic.LoadUint32(f.reg(at))) | uint64(atomic.LoadUint32(f.reg(at+4)))<<32
}

// serve takes all commands that were announced.
func (f *fake) serve() (did bool) {
	for id, h := range []*half{&f.admin, &f.io} {
		for h.size > 0 && int(atomic.LoadUint32(f.reg(regDoorbell+16*id))) != h.head {
			did = true
			c := *(*command)(unsafe.Pointer(&f.at(h.sq+uint64(64*h.head), 64)[0]))
			h.head = (h.head + 1) % h.size
			var a answer
			if id == 0 {
				a = f.doAdmin(&c)
			} else {
				f.commands = append(f.commands, c)
				if f.onIO != nil {
					a = f.onIO(&c)
				}
				if a == (answer{}) {
					a.code = f.doIO(&c)
				}
			}
			e := completion{result: a.result, queue: uint32(h.head) | uint32(id)<<16, status: c.head>>16 | uint32(a.code)<<17}
			if a.swallow {
				f.lost = append(f.lost, e)
				continue
			}
			f.complete(h, e)
		}
	}
	return did
}

func (f *fake) complete(h *half, e completion) {
	all := []completion{e}
	if h == &f.io && f.tamper != nil {
		all = f.tamper(&e)
	}
	for _, e := range all {
		h.put(f, e)
	}
}

// put writes a completion, its phase last.
func (h *half) put(f *fake, e completion) {
	out := (*completion)(unsafe.Pointer(&f.at(h.cq+uint64(16*h.tail), 16)[0]))
	out.result, out.queue = e.result, e.queue
	atomic.StoreUint32(&out.status, e.status&^(1<<16)|h.phase<<16)
	if h.tail++; h.tail == h.size {
		h.tail, h.phase = 0, h.phase^1
	}
}

func (f *fake) doAdmin(c *command) (a answer) {
	op := byte(c.head)
	f.adminCodes = append(f.adminCodes, op)
	switch op {
	case opIdentify:
		page := f.at(c.prp1, hostPage)
		clear(page)
		switch c.dw10 {
		case cnsController:
			copy(page, f.controller[:])
		case cnsNamespace:
			if c.nsid == f.nsid {
				copy(page, f.namespace[:])
			}
		case cnsActive:
			if c.nsid < f.nsid {
				binary.LittleEndian.PutUint32(page, f.nsid)
			}
		}
	case opCreateCQ:
		f.io.cq, f.io.phase = c.prp1, 1
	case opCreateSQ:
		f.io.sq, f.io.size = c.prp1, int(c.dw10>>16)+1
	case opAbort:
		a.result = 1
		for i, e := range f.lost {
			if e.id() == uint16(c.dw10>>16) {
				f.lost = append(f.lost[:i], f.lost[i+1:]...)
				e.status |= statusAborted << 17
				f.complete(&f.io, e)
				a.result = 0
				break
			}
		}
	}
	if f.onAdmin != nil {
		f.onAdmin(c, &a)
	}
	return a
}

func (f *fake) doIO(c *command) uint16 {
	if c.nsid != f.nsid {
		return statusNamespace
	}
	first, n := uint64(c.dw10)|uint64(c.dw11)<<32, uint64(c.dw12&0xffff)+1
	shift := f.namespace[130]
	op := byte(c.head)
	if op == opDataset {
		for i := range c.dw10&0xff + 1 {
			r := f.at(c.prp1+uint64(16*i), 16)
			at, length := binary.LittleEndian.Uint64(r[8:])<<shift, uint64(binary.LittleEndian.Uint32(r[4:]))<<shift
			clear(f.disk[at : at+length])
		}
		return 0
	}
	if op == opFlush {
		return 0
	}
	if (first+n)<<shift > uint64(len(f.disk)) {
		return 0x080
	}
	data := f.disk[first<<shift : (first+n)<<shift]
	for at, size := c.prp1, hostPage-c.prp1&(hostPage-1); len(data) > 0; size = hostPage {
		part := data[:min(uint64(len(data)), size)]
		mem := f.at(at, len(part))
		if op == opRead {
			copy(mem, part)
		} else {
			copy(part, mem)
		}
		switch data = data[len(part):]; {
		case len(data) == 0:
		case at == c.prp1 && len(data) <= hostPage:
			at = c.prp2
		default:
			return f.list(c.prp2, data, op)
		}
		if at&(hostPage-1) != 0 && len(data) > 0 {
			return 0x013 // PRP Offset Invalid
		}
	}
	return 0
}

// list moves what a list of PRPs describes.
func (f *fake) list(at uint64, data []byte, op byte) uint16 {
	for ; len(data) > 0; at += 8 {
		p := binary.LittleEndian.Uint64(f.at(at, 8))
		if p&(hostPage-1) != 0 {
			return 0x013
		}
		n := min(len(data), hostPage)
		mem := f.at(p, n)
		if op == opRead {
			copy(mem, data[:n])
		} else {
			copy(data[:n], mem)
		}
		data = data[n:]
	}
	return 0
}

// owner collects what ends.
type owner struct {
	ended []*block.Request
	then  func(r *block.Request)
}

func (o *owner) Done(r *block.Request) {
	o.ended = append(o.ended, r)
	if o.then != nil {
		o.then(r)
	}
}

// rig is a drive on a fake that runs.
type rig struct {
	*testing.T
	*Device
	fake  *fake
	owner owner
}

// shortTimeout is for what is never answered; a busy machine may take as long for what is.
const shortTimeout = 300 * time.Millisecond

// newRig opens a drive on a fake, after change.
func newRig(t *testing.T, change func(f *fake)) *rig {
	f := newFake()
	if change != nil {
		change(f)
	}
	f.run()
	d, err := open(f, Config{Address: "fake", Namespace: f.nsid})
	require.NoError(t, err)
	r := &rig{T: t, Device: d, fake: f}
	t.Cleanup(func() {
		if !f.closed {
			d.Close()
		}
		require.True(t, f.closed && f.wasCut)
		require.Zero(t, f.strays)
		require.Empty(t, f.pages)
	})
	return r
}

// submit gives the drive a request.
func (r *rig) submit(req *block.Request) *block.Request {
	req.Owner = &r.owner
	require.Equal(r, abi.Errno(0), r.Submit(req))
	return req
}

// ends polls until so many requests have ended, and returns them.
func (r *rig) ends(n int) []*block.Request {
	for end := time.Now().Add(10 * time.Second); len(r.owner.ended) < n; {
		r.Poll()
		require.True(r, time.Now().Before(end), "%d of %d ended", len(r.owner.ended), n)
		runtime.Gosched()
	}
	out := r.owner.ended
	r.owner.ended = nil
	require.Len(r, out, n)
	return out
}

// does submits a request, waits for its end and returns its error.
func (r *rig) does(req *block.Request) abi.Errno {
	r.submit(req)
	return r.ends(1)[0].Err
}
