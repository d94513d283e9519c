// Package timer is a wheel of timers that a poll loop drives: time is given to it, and it starts nothing by itself.
//
// # Call order
//
// NewWheel, then any order of Set, Stop and Advance. Remove comes before the memory of a timer is given away.
//
// # Threading
//
// A wheel and its timers belong to one thread.
//
// # How it works
//
// Time is cut into ticks. A timer waits in a list of the highest base-64 digit in which its tick differs from the
// present one, so lists of low digits come up before those of high ones, and a bitmap per digit finds the next. A
// list of a high digit is spread over lower ones when its time comes. Moving a timer to a later time, or stopping
// it, leaves it in its list; it is put right when the list comes up. That is rare: a connection re-arms its timers
// with every packet and seldom lets one expire.
package timer

import "math/bits"

// Owner is told when a timer expires. It may set, stop or remove any timer then.
type Owner interface {
	Expired(t *Timer, now int64)
}

// Never is a time that does not come.
const Never = int64(1<<63 - 1)

const (
	tickBits  = 16 // a tick is 65.5 µs
	digitBits = 6
	digits    = (63 - tickBits + digitBits - 1) / digitBits
	slots     = 1 << digitBits
	dueList   = digits * slots // the list that Advance is working on
)

// Timer is one timer, part of what it belongs to. It must not be copied once it was set.
type Timer struct {
	Owner Owner

	prev, next *Timer
	at         int64  // when it expires
	due        int64  // the at with which it was put into its list, which is never later than at
	list       uint16 // 1 + the index of the list; 0: in none
	armed      bool
}

// Armed tells whether the timer is to expire.
func (t *Timer) Armed() bool { return t.armed }

// At is when the timer expires, Never if it is not armed.
func (t *Timer) At() int64 {
	if !t.armed {
		return Never
	}
	return t.at
}

type list struct{ head, tail *Timer }

// Wheel holds timers.
type Wheel struct {
	soon   int64  // nothing in a list is due before
	tick   uint64 // the present
	armed  int
	filled [digits]uint64 // which lists have timers
	lists  [digits*slots + 1]list
}

// NewWheel makes an empty wheel whose time is now.
func NewWheel(now int64) *Wheel {
	return &Wheel{soon: Never, tick: tickOf(now)}
}

func tickOf(at int64) uint64 { return uint64(max(at, 0)) >> tickBits }

// Len is the number of armed timers.
func (w *Wheel) Len() int { return w.armed }

// Next is a lower bound of the times of the armed timers; Never if there is none.
func (w *Wheel) Next() int64 {
	if w.armed == 0 {
		return Never
	}
	return w.soon
}

// Set lets the timer expire at that time, instead of any other it was set to. If that time has come already, the
// timer expires in this Advance or the next.
func (w *Wheel) Set(t *Timer, at int64) {
	if !t.armed {
		t.armed = true
		w.armed++
	}
	t.at = at
	if t.list == 0 || at < t.due {
		w.requeue(t)
	}
}

// Stop lets the timer not expire.
func (w *Wheel) Stop(t *Timer) {
	if t.armed {
		t.armed = false
		w.armed--
	}
}

// Remove stops the timer and lets the wheel forget about it.
func (w *Wheel) Remove(t *Timer) {
	w.Stop(t)
	if t.list != 0 {
		w.unlink(t)
	}
}

// Advance moves the present on and tells the owners of the timers whose time has come, earlier ticks first.
func (w *Wheel) Advance(now int64) {
	if now >= w.soon {
		w.advance(now)
	}
}

func (w *Wheel) advance(now int64) {
	end := tickOf(now)
	for {
		i, start := w.first()
		if start > end {
			break
		}
		w.tick = start
		w.takeDue(i)
		for t := w.lists[dueList].head; t != nil; t = w.lists[dueList].head {
			w.unlink(t)
			switch {
			case !t.armed:
			case t.at > now || tickOf(t.at) > w.tick:
				w.requeue(t)
			default:
				w.Stop(t)
				t.Owner.Expired(t, now)
			}
		}
		if start == end && i < slots {
			break // what is in this list again has to wait for more time, or for the next call
		}
	}
	w.tick = max(w.tick, end) // for new timers to find lists of low digits
	w.soon = w.earliest()
}

// first finds the list that comes up next, and its tick.
func (w *Wheel) first() (i int, start uint64) {
	for d, f := range &w.filled {
		if f != 0 {
			s, shift := bits.TrailingZeros64(f), d*digitBits
			return d*slots + s, (w.tick>>shift&^(slots-1) | uint64(s)) << shift
		}
	}
	return 0, 1 << 63
}

// earliest finds the new w.soon.
func (w *Wheel) earliest() int64 {
	i, start := w.first()
	if start >= 1<<63 {
		return Never
	}
	if i >= slots {
		return int64(start << tickBits) // when the list is spread
	}
	at := Never
	for t := w.lists[i].head; t != nil; t = t.next {
		at = min(at, t.due)
	}
	return at
}

// requeue puts the timer into the list of its time.
func (w *Wheel) requeue(t *Timer) {
	if t.list != 0 {
		w.unlink(t)
	}
	t.due = t.at
	w.soon = min(w.soon, t.at)
	tick := max(tickOf(t.at), w.tick)
	d := 0
	if diff := tick ^ w.tick; diff != 0 {
		d = (bits.Len64(diff) - 1) / digitBits
	}
	s := int(tick >> (d * digitBits) & (slots - 1))
	w.filled[d] |= 1 << s
	i := d*slots + s
	t.list = uint16(i + 1)
	l := &w.lists[i]
	t.prev, t.next = l.tail, nil
	if l.tail == nil {
		l.head = t
	} else {
		l.tail.next = t
	}
	l.tail = t
}

// unlink takes the timer out of its list.
func (w *Wheel) unlink(t *Timer) {
	i := int(t.list) - 1
	l := &w.lists[i]
	if t.prev == nil {
		l.head = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		l.tail = t.prev
	} else {
		t.next.prev = t.prev
	}
	if l.head == nil && i < dueList {
		w.filled[i/slots] &^= 1 << (i % slots)
	}
	t.prev, t.next, t.list = nil, nil, 0
}

// takeDue moves the timers of a list to the list of what is due.
func (w *Wheel) takeDue(i int) {
	w.lists[dueList], w.lists[i] = w.lists[i], list{}
	w.filled[i/slots] &^= 1 << (i % slots)
	for t := w.lists[dueList].head; t != nil; t = t.next {
		t.list = dueList + 1
	}
}
