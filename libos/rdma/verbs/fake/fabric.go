// Package fake is RDMA devices in memory that can reach each other, for tests: always the same for the same seed, with time of its own,
// and merciless. It fails the test's protocol where hardware would only sometimes: memory is read when it is sent and written when it
// arrives, both only if it is registered at that moment, and a message that finds no receive buffer is counted.
//
// # Threading
//
// All devices of a Fabric are used from one thread. Each Poll of any of them is a step of time.
package fake

import (
	"container/heap"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/rdma/verbs"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// Step is how long a step of time is, in nanoseconds.
const Step = 1000

// Fabric joins devices.
type Fabric struct {
	// Delay is how many steps a message takes at most; how many it takes is chosen at random from 1 on. 0: none, it is there at once.
	Delay int
	// Attr is what devices that join say of themselves.
	Attr verbs.Attr
	// RNR is how many messages came for which there was no receive buffer.
	RNR int
	// Wrong is what a device was asked to do with memory that is not registered for it, or beyond its bounds.
	Wrong []string
	// Unregistrable makes Register fail once it has counted down to 0; below 0: never.
	Unregistrable int

	rng   *rand.Rand
	step  int64
	devs  []*Device
	later events
	seq   uint64
	port  uint16
	busy  []*qp
	qpns  map[uint32]*qp
}

// New makes a fabric. The same seed gives the same delays.
func New(seed uint64) *Fabric {
	return &Fabric{
		Attr: verbs.Attr{Name: "fake", MaxInline: 220, MaxSGE: verbs.MaxSGE, MaxWR: 8192, MaxCQE: 1 << 20, MaxQP: 1 << 16, PortMTU: 4096},
		rng:  rand.New(rand.NewPCG(seed, 1)), port: 32768, qpns: make(map[uint32]*qp), Unregistrable: -1,
	}
}

// Now is the time, in nanoseconds.
func (f *Fabric) Now() int64 { return f.step * Step }

// Join makes a device with an address of its own, 198.18.0.1 and so on.
func (f *Fabric) Join() *Device {
	d := &Device{f: f, mrs: make(map[uint32]region), ids: make(map[verbs.ID]*ident), ahs: make(map[uint32][4]byte)}
	f.devs = append(f.devs, d)
	d.addr = [4]byte{198, 18, byte(len(f.devs) >> 8), byte(len(f.devs))}
	return d
}

func (f *Fabric) device(addr [4]byte) *Device {
	for _, d := range f.devs {
		if d.addr == addr && !d.dead {
			return d
		}
	}
	return nil
}

func (f *Fabric) delay() int64 {
	if f.Delay == 0 {
		return 0
	}
	return 1 + f.rng.Int64N(int64(f.Delay))
}

// event is an event on its way.
type event struct {
	at  int64
	seq uint64
	to  *ident
	ev  verbs.Event
}

type events []event

func (h events) Len() int { return len(h) }
func (h events) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h events) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *events) Push(x any)   { *h = append(*h, x.(event)) }
func (h *events) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}

// tell sends an event. The connection manager takes its own way, so it may overtake messages, but not other events of the same ID.
func (f *Fabric) tell(to *ident, ev *verbs.Event, private []byte) {
	ev.ID, ev.PrivateLen = to.id, 0
	if len(private) > 0 {
		ev.PrivateLen = uint8(min(len(private)+20, 200)) // with zeros behind, as real ones have
		copy(ev.Private[:], private)
	}
	to.at = max(to.at, f.step+f.delay())
	f.seq++
	heap.Push(&f.later, event{to.at, f.seq, to, *ev})
}

// run makes a step of time.
func (f *Fabric) run() {
	f.step++
	for len(f.later) > 0 && f.later[0].at <= f.step {
		e := heap.Pop(&f.later).(event)
		if !e.to.gone {
			e.to.dev.happened = append(e.to.dev.happened, e)
		}
	}
	n := 0
	for i := 0; i < len(f.busy); i++ { // others may be added
		q := f.busy[i]
		q.run()
		if q.idle() {
			q.busy = false
		} else {
			f.busy[n] = q
			n++
		}
	}
	clear(f.busy[n:])
	f.busy = f.busy[:n]
}

func (f *Fabric) freePort() [2]byte {
	var p [2]byte
	binary.BigEndian.PutUint16(p[:], f.port)
	f.port = 32768 + (f.port-32767)%28000
	return p
}

// Kill is the end of a device's process: nothing of it is left, and its peers are told, or not if the network is gone as well.
func (f *Fabric) Kill(d *Device, silent bool) {
	d.dead = true
	for _, id := range slices.Sorted(maps.Keys(d.ids)) {
		i := d.ids[id]
		if q := i.qp; q != nil && q.peer != nil && !silent {
			f.tell(q.peer.owner, &verbs.Event{Type: verbs.EventDisconnected}, nil)
		}
		d.end(i, silent)
	}
	clear(d.ids)
	clear(d.mrs)
	clear(d.ahs)
	d.happened, d.done = nil, nil
}

// Left is what a device still holds.
type Left struct{ IDs, QPs, MRs, AHs int }

// Left counts what a device still holds.
func (d *Device) Left() Left {
	l := Left{IDs: len(d.ids), MRs: len(d.mrs), AHs: len(d.ahs)}
	for _, i := range d.ids {
		if i.qp != nil {
			l.QPs++
		}
	}
	return l
}

// refusal is the errno of a request that nobody answers.
const refusal = abi.Errno(unix.ECONNREFUSED)
