package verbs

// tableSize is how many entries a table has at most. Entry 0 stays free, so that no handle is 0.
const tableSize = 1 << 16

// keepFree is how many are free before one is used again, if there is room.
const keepFree = 64

// table gives things handles: an index, and a generation, by which a handle whose thing is gone is known. The index that has been free
// longest is taken first.
type table[T any] struct {
	entries    []entry[T]
	head, tail uint16 // of the free ones; 0: none
	used       int
}

type entry[T any] struct {
	thing      T
	generation uint16 // 15 bits, so that handles are positive as an int32, too
	next       uint16 // if free
	used       bool
}

// add returns a handle, or 0 if there is no room.
func (t *table[T]) add(thing T) uint32 {
	i := t.head
	switch {
	case len(t.entries)-1-t.used >= keepFree || len(t.entries) == tableSize && i != 0:
		if t.head = t.entries[i].next; t.head == 0 {
			t.tail = 0
		}
	case len(t.entries) < tableSize:
		if len(t.entries) == 0 {
			t.entries = append(t.entries, entry[T]{})
		}
		i = uint16(len(t.entries))
		t.entries = append(t.entries, entry[T]{})
	default:
		return 0
	}
	e := &t.entries[i]
	e.thing, e.used = thing, true
	t.used++
	return uint32(e.generation)<<16 | uint32(i)
}

// get returns what has the handle.
func (t *table[T]) get(handle uint32) (thing T, ok bool) {
	i := handle & (tableSize - 1)
	if int(i) >= len(t.entries) {
		return thing, false
	}
	e := &t.entries[i]
	if !e.used || uint32(e.generation) != handle>>16 {
		return thing, false
	}
	return e.thing, true
}

// remove takes it out.
func (t *table[T]) remove(handle uint32) {
	if _, ok := t.get(handle); !ok {
		return
	}
	i := uint16(handle)
	t.entries[i] = entry[T]{generation: (t.entries[i].generation + 1) & 0x7fff}
	t.used--
	if t.tail == 0 {
		t.head = i
	} else {
		t.entries[t.tail].next = i
	}
	t.tail = i
}

// all visits a copy of all that is there, which visit may remove.
func (t *table[T]) all(visit func(T)) {
	for _, e := range append([]entry[T]{}, t.entries...) {
		if e.used {
			visit(e.thing)
		}
	}
}
