package halves

import (
	"context"
	"errors"
)

// Begun is a message on its way to several domains, with room for what may have to
// be remembered of it. Exactly one of Keep and End is called.
type Begun struct {
	m      *Memory
	client string
	owner  hash
	id     string
	n      int
	mark   record // on disk; slot -1: it has none there
}

// Begin makes room for n recipients of a message, and leaves a mark that tells of a
// crash. On an error nothing must be sent to several domains.
func (m *Memory) Begin(ctx context.Context, client, id string, n int) (*Begun, error) {
	b := &Begun{m: m, client: client, id: id, n: n, mark: record{slot: -1}}
	if err := m.reserve(b); err != nil {
		return nil, err
	}
	if m.shared == nil {
		return b, nil
	}
	if err := m.shared.reserve(ctx, b.owner, id, n, m.opt.Now()); err != nil {
		m.release(b)
		return nil, err
	}
	return b, nil
}

// reserve makes room in this process and on the disk.
func (m *Memory) reserve(b *Begun) error {
	m.mu.Lock()
	m.sweep()
	b.owner = keyed(m.keys[0], "client", b.client)
	if err := m.room(b.owner, b.n); err != nil {
		m.mu.Unlock()
		return err
	}
	for m.total+b.n > m.opt.total && m.evict() {
	}
	m.ownerOf(b.owner).reserved += b.n
	m.total += b.n
	if m.disk != nil {
		m.disk.reserved += b.n + 1
	}
	m.mu.Unlock()
	if err := m.mark(b); err != nil && m.shared == nil {
		m.release(b)
		return err
	}
	return nil
}

// mark has the mark of b written, and room behind it.
func (m *Memory) mark(b *Begun) error {
	m.mu.Lock()
	ready, short := m.disk.ready(), m.disk != nil && len(m.disk.unused) < m.disk.reserved
	m.mu.Unlock()
	if !ready {
		return errDisk
	}
	if short {
		if err := m.written(); err != nil {
			return err
		}
	}
	b.mark = record{kind: kindBegun, n: b.n, client: b.owner, slot: -1, until: m.opt.Now()}
	copy(b.mark.id[:], b.id)
	m.mu.Lock()
	m.disk.put(&b.mark)
	m.mu.Unlock()
	return m.written()
}

// release gives the room back; the mark goes.
func (m *Memory) release(b *Begun) {
	m.mu.Lock()
	m.giveBack(b)
	m.disk.free(b.mark.slot)
	m.mu.Unlock()
	m.writing.begin()
}

// giveBack gives the room back and leaves the mark; m.mu is held.
func (m *Memory) giveBack(b *Begun) {
	m.disk.unreserve(b.n + 1)
	m.total -= b.n
	o := m.ownerOf(b.owner)
	o.reserved -= b.n
	if o.size() == 0 {
		delete(m.clients, b.owner)
	}
}

// End says that nothing has to be remembered.
func (b *Begun) End(ctx context.Context) {
	b.m.release(b)
	if b.m.shared != nil {
		b.m.shared.cancel(ctx, b.owner, b.id, b.n)
	}
}

// Keep remembers the ends of recipients of a sender's message before the client hears
// of them. They are known in this process whatever happens; the error says where
// they are not, which has been counted, and is ErrUnwritten where that is everywhere else.
func (b *Begun) Keep(ctx context.Context, from string, content [32]byte, parts []Part) error {
	m := b.m
	records := b.records(from, content, parts)
	m.mu.Lock()
	for i := range records {
		m.replace(records[i])
	}
	m.giveBack(b)
	m.counts.Kept += int64(len(parts))
	faults := 0
	if m.disk != nil {
		faults = m.disk.faults
	}
	m.mu.Unlock()
	errDisk := m.kept(faults) // the mark stays until then: one that is left tells of a crash
	var errShared error
	if m.shared != nil {
		errShared = m.shared.keep(ctx, b.owner, b.id, b.n, records, m.opt.Now())
	}
	m.mu.Lock()
	m.disk.free(b.mark.slot)
	if errShared != nil {
		m.counts.Unshared += int64(len(parts))
	}
	err := errors.Join(errDisk, errShared)
	if errDisk != nil && (m.shared == nil || errShared != nil) {
		m.counts.Unwritten += int64(len(parts))
		err = errors.Join(ErrUnwritten, err)
	}
	m.mu.Unlock()
	m.writing.begin()
	return err
}

func (b *Begun) records(from string, content [32]byte, parts []Part) (all []record) {
	m := b.m
	m.mu.Lock()
	defer m.mu.Unlock()
	until, sum := m.opt.Now().Add(keepFor), contentHash(m.keys[0], content)
	for _, p := range parts {
		r := record{kind: kindRefused, to: recipientHash(m.keys[0], b.client, from, p.To), sum: sum, client: b.owner, until: until, slot: -1}
		if p.Taken {
			r.kind = kindTaken
		} else {
			r.until = m.opt.Now().Add(refusedFor)
		}
		copy(r.id[:], b.id)
		all = append(all, r)
	}
	return all
}
