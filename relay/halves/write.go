package halves

import (
	"errors"
	"time"
)

// How long somebody waits for the disk. A client waits for an answer that long, and its
// next try is better than a session that hangs.
const (
	diskTime = 10 * time.Second
	mendTime = 30 * time.Second
	// atOnce is how many slots are taken from memory and written at one time.
	atOnce = 1024
)

// write makes the file as long as what was reserved needs, and writes what has changed.
func (m *Memory) write() error {
	m.disk.io.Lock()
	defer m.disk.io.Unlock()
	if err := m.grow(); err != nil {
		return err
	}
	return m.flush()
}

// grow makes slots until there are as many as were reserved; io is held. A disk that is
// full is found out here, while nothing depends on the new ones.
func (m *Memory) grow() error {
	d := m.disk
	for {
		m.mu.Lock()
		f, at, enough, err := d.file, len(d.held), len(d.unused) >= d.reserved, d.err
		m.mu.Unlock()
		if err != nil || enough {
			return err
		}
		_, err = f.WriteAt(make([]byte, growBy*slotSize), headSize+int64(at)*slotSize)
		m.mu.Lock()
		if d.fail(err); err == nil {
			d.grown(growBy)
		}
		m.mu.Unlock()
	}
}

// flush writes what has changed; io is held.
func (m *Memory) flush() error {
	d := m.disk
	for {
		m.mu.Lock()
		f, err := d.file, d.err
		var all []piece
		if err == nil {
			all = d.pieces(atOnce, m.keys)
		}
		m.mu.Unlock()
		if err != nil || len(all) == 0 {
			return err
		}
		for _, p := range all {
			if _, err = f.WriteAt(p.b, p.at); err != nil {
				break
			}
		}
		m.mu.Lock()
		d.fail(err)
		m.mu.Unlock()
	}
}

// sync has what was written reach the disk, for all who wait for it.
func (m *Memory) sync() error {
	m.mu.Lock()
	file, err := m.disk.file, m.disk.err
	m.mu.Unlock()
	if err != nil {
		return err
	}
	err = file.Sync()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disk.fail(err)
	return err
}

// commit has what was changed while there were so many faults on the disk. An error that
// came since may be about it, even if the system has told somebody else.
func (m *Memory) commit(faults int) error {
	if m.disk == nil {
		return nil
	}
	err := m.written()
	if err == nil {
		err = m.inTime(m.syncing.ask(diskTime))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil && m.disk.faults != faults {
		err = errDisk
	}
	return err
}

// written has what was changed written, and not synced.
func (m *Memory) written() error { return m.inTime(m.writing.ask(diskTime)) }

// inTime notes that the disk did not answer, so that nobody else waits for it.
func (m *Memory) inTime(err error) error {
	if err == errSlow {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.disk.fail(err)
	}
	return err
}

// kept is commit, and where that fails everything is written anew before it is given up,
// unless Redis has it, too.
func (m *Memory) kept(faults int) error {
	err := m.commit(faults)
	if err == nil || err == errSlow || m.shared != nil {
		return err
	}
	return m.mending.ask(diskTime)
}

// mend opens the file, or writes everything into it once more, and syncs it; it does
// nothing to a file that is well.
func (m *Memory) mend() error {
	m.mu.Lock()
	well, closed := m.disk.ready(), m.disk.closed
	m.mu.Unlock()
	if well {
		return nil
	}
	if closed {
		return errDisk
	}
	err := m.renew()
	if err == nil {
		err = m.sync()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		err = m.disk.err // of others meanwhile
	}
	m.disk.unproven = m.disk.unproven && err != nil
	return err
}

// renew opens the file or writes it anew.
func (m *Memory) renew() error {
	d := m.disk
	d.io.Lock()
	defer d.io.Unlock()
	m.mu.Lock()
	d.unproven = true
	opened := d.file != nil
	if opened {
		d.again()
	}
	m.mu.Unlock()
	if !opened {
		if err := m.load(); err != nil {
			return err
		}
	}
	return m.fill()
}

// load opens the file and takes over what it holds; io is held.
func (m *Memory) load() error {
	d := m.disk
	c, aside, err := d.load()
	if aside != nil || err != nil {
		m.opt.Log.Error("memory of halves", "err", errors.Join(aside, err))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		d.err = err
		d.faults++
		return err
	}
	d.file, d.err, d.head = c.file, nil, len(c.keys) == 0
	if len(c.keys) > 0 && len(m.index) == 0 {
		m.keys = c.keys
	} else if len(c.keys) > 0 { // what is known by now has another key
		m.keys = append(c.keys, m.keys[0])
		d.head = true
	}
	m.take(&c)
	return nil
}

// take takes over the records of a file; m.mu is held.
func (m *Memory) take(c *contents) {
	d, now := m.disk, m.opt.Now()
	d.held, d.unused, d.dirty = make([]*record, c.slots), nil, map[int]struct{}{}
	for i := range c.found {
		r := &c.found[i]
		switch {
		case r.kind == kindBegun:
			m.counts.Crashed += int64(r.n)
			m.opt.Log.Warn("the relay ended while a message was on its way to several domains; its next try may make second copies", "id", r.text(), "recipients", r.n)
			d.dirty[r.slot] = struct{}{}
		case !now.Before(r.until):
			d.dirty[r.slot] = struct{}{}
		default:
			e := &entry{record: *r}
			d.held[e.slot] = &e.record
			m.insert(e)
		}
	}
	for slot, r := range d.held {
		if r == nil {
			d.unused = append(d.unused, slot)
		}
	}
}

// fill gives a slot to what was remembered while there was none, and writes all; io is
// held.
func (m *Memory) fill() error {
	m.mu.Lock()
	n := 0
	for _, all := range m.index {
		for _, e := range all {
			if e.slot < 0 {
				n++
			}
		}
	}
	m.disk.reserved += n
	m.mu.Unlock()
	err := m.grow()
	m.mu.Lock()
	m.disk.reserved -= n
	for _, all := range m.index {
		for _, e := range all {
			if e.slot < 0 {
				m.disk.put(&e.record)
			}
		}
	}
	m.mu.Unlock()
	if err != nil {
		return err
	}
	return m.flush()
}

// close writes what is left and closes the file.
func (m *Memory) close() {
	if m.disk == nil {
		return
	}
	m.writing.ask(diskTime)
	for _, l := range []*lane{&m.mending, &m.writing, &m.syncing} {
		l.wait(diskTime)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disk.closed = true
	if m.disk.file != nil {
		m.disk.file.Close()
		m.disk.file, m.disk.err = nil, errDisk
		m.disk.faults++
	}
}
