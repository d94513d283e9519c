package fake

import (
	"maps"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/rdma/verbs"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// Device implements verbs.Device.
type Device struct {
	f        *Fabric
	addr     [4]byte
	dead     bool
	mrs      map[uint32]region
	ids      map[verbs.ID]*ident
	ahs      map[uint32][4]byte
	key      uint32
	lastID   verbs.ID
	happened []event
	done     []verbs.Completion
	posted   []*qp // with requests that are not flushed
}

type region struct {
	mr    verbs.MR
	write bool
}

// ident is an ID.
type ident struct {
	dev         *Device
	id          verbs.ID
	local, peer abi.SockaddrIn
	listening   bool
	datagram    bool
	backlog     int
	gone        bool
	asked       bool   // it is of a request that is not answered yet, or made
	other       *ident // at the other end
	qp          *qp
	at          int64 // of the last event
}

// Addr is the address of the device.
func (d *Device) Addr() [4]byte { return d.addr }

// Attr implements verbs.Device.
func (d *Device) Attr() verbs.Attr {
	a := d.f.Attr
	a.Addr = d.addr
	return a
}

// Register implements verbs.Device.
func (d *Device) Register(p unsafe.Pointer, n uint64, peers verbs.Access) (verbs.MR, abi.Errno) {
	if d.f.Unregistrable == 0 {
		return verbs.MR{}, unix.ENOMEM
	}
	if d.f.Unregistrable > 0 {
		d.f.Unregistrable--
	}
	d.key++
	mr := verbs.MR{Handle: d.key, LKey: d.key, RKey: d.key | 1<<31, Addr: uint64(uintptr(p)), Len: n}
	d.mrs[mr.LKey] = region{mr, peers&verbs.RemoteWrite != 0}
	return mr, 0
}

// Deregister implements verbs.Device.
func (d *Device) Deregister(mr verbs.MR) {
	if _, ok := d.mrs[mr.LKey]; !ok && !d.dead {
		d.f.Wrong = append(d.f.Wrong, "deregistered twice")
	}
	delete(d.mrs, mr.LKey)
}

// memory is the bytes of an SGE, or nil if they are not registered.
func (d *Device) memory(lkey uint32, addr uint64, n uint32, remote bool) []byte {
	r, ok := d.mrs[lkey]
	if !ok || remote && !r.write || addr < r.mr.Addr || addr+uint64(n) < addr || addr+uint64(n) > r.mr.Addr+r.mr.Len {
		return nil
	}
	return bytesAt(addr, n)
}

func (d *Device) newID() *ident {
	d.lastID++
	i := &ident{dev: d, id: d.lastID, local: abi.SockaddrIn{Family: unix.AF_INET, Addr: d.addr}}
	d.ids[i.id] = i
	return i
}

// place takes a port.
func (d *Device) place(i *ident, addr *abi.SockaddrIn) abi.Errno {
	if addr.Addr != d.addr && addr.Addr != [4]byte{} {
		return unix.EADDRNOTAVAIL
	}
	if i.local.Port = addr.Port; addr.Port == [2]byte{} {
		i.local.Port = d.f.freePort()
	}
	for _, o := range d.ids {
		if o != i && o.datagram == i.datagram && o.local.Port == i.local.Port && (o.listening || o.datagram) {
			return unix.EADDRINUSE
		}
	}
	return 0
}

// Listen implements verbs.Device.
func (d *Device) Listen(addr *abi.SockaddrIn, backlog int) (verbs.ID, abi.Errno) {
	i := d.newID()
	if err := d.place(i, addr); err != 0 {
		delete(d.ids, i.id)
		return 0, err
	}
	i.listening, i.backlog = true, backlog
	return i.id, 0
}

// Dial implements verbs.Device.
func (d *Device) Dial(addr, local *abi.SockaddrIn) (verbs.ID, abi.Errno) {
	i := d.newID()
	if i.local.Port = d.f.freePort(); local != nil && local.Port != [2]byte{} {
		i.local.Port = local.Port
	}
	i.peer = *addr
	if d.f.device(addr.Addr) == nil {
		d.f.tell(i, &verbs.Event{Type: verbs.EventAddrError, Errno: unix.EHOSTUNREACH}, nil)
	} else {
		d.f.tell(i, &verbs.Event{Type: verbs.EventResolved}, nil)
	}
	return i.id, 0
}

// CreateQP implements verbs.Device.
func (d *Device) CreateQP(id verbs.ID, p *verbs.QPParams) abi.Errno {
	i := d.ids[id]
	if i == nil || i.qp != nil {
		return unix.EINVAL
	}
	i.qp = newQP(i, p)
	return 0
}

// Connect implements verbs.Device.
func (d *Device) Connect(id verbs.ID, private []byte) abi.Errno {
	i := d.ids[id]
	if i == nil || i.qp == nil || len(private) > verbs.MaxPrivateConnect {
		return unix.EINVAL
	}
	d.Flush()
	i.asked = true
	to := d.f.device(i.peer.Addr)
	if to != nil {
		for _, l := range to.ids {
			if l.listening && l.local.Port == i.peer.Port {
				r := to.newID()
				r.local.Port, r.peer, r.other, r.asked = l.local.Port, i.local, i, true
				i.other = r
				ev := &verbs.Event{Type: verbs.EventConnectRequest, Listener: l.id, Peer: r.peer, Local: r.local}
				d.f.tell(r, ev, private)
				return 0
			}
		}
	}
	d.f.tell(i, &verbs.Event{Type: verbs.EventRejected, Errno: refusal, Status: 8}, nil)
	return 0
}

// Accept implements verbs.Device.
func (d *Device) Accept(id verbs.ID, private []byte) abi.Errno {
	i := d.ids[id]
	if i == nil || i.qp == nil || !i.asked || len(private) > verbs.MaxPrivateAccept {
		return unix.EINVAL
	}
	d.Flush()
	i.asked = false
	o := i.other
	if o.gone {
		d.f.tell(i, &verbs.Event{Type: verbs.EventUnreachable, Errno: unix.ETIMEDOUT}, nil)
		return 0
	}
	i.qp.peer, o.qp.peer = o.qp, i.qp
	d.f.tell(o, &verbs.Event{Type: verbs.EventEstablished}, private)
	i.at = max(i.at, o.at)
	d.f.tell(i, &verbs.Event{Type: verbs.EventEstablished}, nil)
	return 0
}

// Reject implements verbs.Device.
func (d *Device) Reject(id verbs.ID, private []byte) abi.Errno {
	i := d.ids[id]
	if i == nil || !i.asked || len(private) > verbs.MaxPrivateReject {
		return unix.EINVAL
	}
	if !i.other.gone {
		d.f.tell(i.other, &verbs.Event{Type: verbs.EventRejected, Errno: refusal, Status: 28}, private)
	}
	i.asked = false
	d.Destroy(id)
	return 0
}

// Disconnect implements verbs.Device.
func (d *Device) Disconnect(id verbs.ID) {
	i := d.ids[id]
	if i == nil || i.qp == nil || i.qp.peer == nil {
		return
	}
	d.Flush()
	d.f.tell(i.qp.peer.owner, &verbs.Event{Type: verbs.EventDisconnected}, nil)
	d.f.tell(i, &verbs.Event{Type: verbs.EventDisconnected}, nil)
	i.qp.part()
}

// end takes away what belongs to an ID. silent: the other end hears nothing of it.
func (d *Device) end(i *ident, silent bool) {
	i.gone = true
	if o := i.other; i.asked && o != nil && !o.gone && o.asked && !silent {
		d.f.tell(o, &verbs.Event{Type: verbs.EventRejected, Errno: refusal, Status: 28}, nil)
	}
	if i.qp != nil {
		i.qp.end()
	}
}

// Destroy implements verbs.Device.
func (d *Device) Destroy(id verbs.ID) {
	i := d.ids[id]
	if i == nil {
		return
	}
	if i.qp != nil && i.qp.peer != nil {
		d.f.tell(i.qp.peer.owner, &verbs.Event{Type: verbs.EventDisconnected}, nil)
	}
	delete(d.ids, id)
	d.end(i, false)
	n := 0
	for _, c := range d.done {
		if c.ID != id {
			d.done[n] = c
			n++
		}
	}
	d.done = d.done[:n]
}

// Name implements verbs.Device.
func (d *Device) Name(id verbs.ID) (local, peer abi.SockaddrIn) {
	if i := d.ids[id]; i != nil {
		return i.local, i.peer
	}
	return
}

// Datagram implements verbs.Device.
func (d *Device) Datagram(local *abi.SockaddrIn, p *verbs.QPParams) (verbs.ID, abi.Errno) {
	i := d.newID()
	i.datagram = true
	if err := d.place(i, local); err != 0 {
		delete(d.ids, i.id)
		return 0, err
	}
	i.qp = newQP(i, p)
	return i.id, 0
}

// QPN implements verbs.Device.
func (d *Device) QPN(id verbs.ID) (qpn, qkey uint32) {
	if i := d.ids[id]; i != nil && i.qp != nil {
		return i.qp.n, 0x11
	}
	return 0, 0
}

// Resolve implements verbs.Device.
func (d *Device) Resolve(from verbs.ID, addr *abi.SockaddrIn) (verbs.ID, abi.Errno) {
	i := d.newID()
	ev := &verbs.Event{Type: verbs.EventUnreachable, Errno: refusal}
	if to := d.f.device(addr.Addr); to != nil {
		for _, o := range to.ids {
			if o.datagram && o.local.Port == addr.Port {
				ev = &verbs.Event{Type: verbs.EventResolved, AH: d.handle(addr.Addr), QPN: o.qp.n, QKey: 0x11}
			}
		}
	}
	d.f.tell(i, ev, nil)
	return i.id, 0
}

func (d *Device) handle(addr [4]byte) uint32 {
	d.key++
	d.ahs[d.key] = addr
	return d.key
}

// NewAH implements verbs.Device.
func (d *Device) NewAH(_ verbs.ID, addr *abi.SockaddrIn) (uint32, abi.Errno) {
	return d.handle(addr.Addr), 0
}

// FreeAH implements verbs.Device.
func (d *Device) FreeAH(ah uint32) {
	if _, ok := d.ahs[ah]; !ok && !d.dead {
		d.f.Wrong = append(d.f.Wrong, "address handle freed twice")
	}
	delete(d.ahs, ah)
}

// Poll implements verbs.Device.
func (d *Device) Poll(c []verbs.Completion, e []verbs.Event) (nc, ne int) {
	d.Flush()
	d.f.run()
	nc = copy(c, d.done)
	d.done = d.done[:copy(d.done, d.done[nc:])]
	for ne < len(e) && len(d.happened) > 0 {
		h := d.happened[0]
		d.happened = d.happened[:copy(d.happened, d.happened[1:])]
		if !h.to.gone {
			e[ne] = h.ev
			ne++
		}
	}
	return nc, ne
}

// Fds implements verbs.Device: tests do not sleep.
func (d *Device) Fds() []int { return nil }

// Arm implements verbs.Device.
func (d *Device) Arm() {}

// Counters implements verbs.Device.
func (d *Device) Counters(func(string, uint64)) {}

// Close implements verbs.Device.
func (d *Device) Close() {
	for _, id := range slices.Sorted(maps.Keys(d.ids)) {
		d.Destroy(id)
	}
	d.dead = true
}
