package halves

// entry is a record as it is found in memory.
type entry struct{ record }

func (e *entry) known() Known {
	return Known{sum: e.sum, Taken: e.kind == kindTaken, ID: e.text()}
}

func (m *Memory) ownerOf(client hash) *owner {
	o := m.clients[client]
	if o == nil {
		o = &owner{entries: map[*entry]struct{}{}}
		m.clients[client] = o
	}
	return o
}

// insert puts an entry into the index; m.mu is held.
func (m *Memory) insert(e *entry) {
	m.index[e.to] = append(m.index[e.to], e)
	m.ownerOf(e.client).entries[e] = struct{}{}
	m.total++
}

// remove takes an entry out, from disk, too; m.mu is held.
func (m *Memory) remove(e *entry) {
	all := m.index[e.to]
	for i := range all {
		if all[i] == e {
			all = append(all[:i], all[i+1:]...)
			break
		}
	}
	if m.index[e.to] = all; len(all) == 0 {
		delete(m.index, e.to)
	}
	o := m.ownerOf(e.client)
	delete(o.entries, e)
	if o.size() == 0 {
		delete(m.clients, e.client)
	}
	m.total--
	m.disk.free(e.slot)
}

// replace puts a record in the place of one for the same recipient and content; m.mu is
// held.
func (m *Memory) replace(r record) {
	for _, e := range m.index[r.to] {
		if e.sum == r.sum {
			m.remove(e)
			break
		}
	}
	e := &entry{record: r}
	m.disk.put(&e.record)
	m.insert(e)
}

// evict forgets one of the client that has the most; false where there is none. m.mu is
// held.
func (m *Memory) evict() bool {
	o := m.largest()
	var oldest *entry
	for e := range o.entries {
		if oldest == nil || e.until.Before(oldest.until) {
			oldest = e
		}
	}
	if oldest == nil {
		return false
	}
	m.remove(oldest)
	m.counts.Evicted++
	return true
}

// sweep forgets what has ended, once in a while; m.mu is held.
func (m *Memory) sweep() {
	now := m.opt.Now()
	if now.Sub(m.swept) < sweepEach {
		return
	}
	m.swept = now
	for _, all := range m.index {
		for _, e := range append([]*entry(nil), all...) {
			if !now.Before(e.until) {
				m.remove(e)
			}
		}
	}
}
