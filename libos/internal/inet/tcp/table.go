package tcp

// table finds connections and small records by key: open addressing, at most half full.
type table struct {
	slots  []slot
	n      int
	secret secret
}

// slot holds a Conn or a mini, or neither.
type slot struct {
	key  key
	conn *Conn
	mini *mini
}

func (s *slot) empty() bool { return s.conn == nil && s.mini == nil }

func newTable(s secret) table { return table{slots: make([]slot, 64), secret: s} }

func (t *table) home(k key) int { return int(t.secret.key(k, useTable)) & (len(t.slots) - 1) }

// find returns the slot with the key, or nil. It is valid until the next change of the table.
func (t *table) find(k key) *slot { return t.from(t.home(k), k) }

// from is find for who knows the home of the key.
func (t *table) from(home int, k key) *slot {
	mask := len(t.slots) - 1
	for i := home; ; i = (i + 1) & mask {
		s := &t.slots[i&mask]
		if s.empty() {
			return nil
		}
		if s.key.is(k) {
			return s
		}
	}
}

// put stores one of c and m under a key, in place of what was there.
func (t *table) put(k key, c *Conn, m *mini) {
	if s := t.find(k); s != nil {
		s.conn, s.mini = c, m
		return
	}
	if 2*(t.n+1) > len(t.slots) {
		old := t.slots
		t.slots = make([]slot, 2*len(old))
		for i := range old {
			if !old[i].empty() {
				t.place(old[i])
			}
		}
	}
	t.place(slot{k, c, m})
	t.n++
}

func (t *table) place(s slot) {
	mask := len(t.slots) - 1
	i := t.home(s.key)
	for !t.slots[i].empty() {
		i = (i + 1) & mask
	}
	t.slots[i] = s
}

// remove empties the slot of a key, and moves up those that had to go past it.
func (t *table) remove(k key) {
	s := t.find(k)
	if s == nil {
		return
	}
	t.n--
	mask := len(t.slots) - 1
	hole := t.home(k)
	for t.slots[hole].key != k || t.slots[hole].empty() {
		hole = (hole + 1) & mask
	}
	for i := (hole + 1) & mask; !t.slots[i].empty(); i = (i + 1) & mask {
		if h := t.home(t.slots[i].key); (i-h)&mask >= (i-hole)&mask {
			t.slots[hole] = t.slots[i]
			hole = i
		}
	}
	t.slots[hole] = slot{}
}
