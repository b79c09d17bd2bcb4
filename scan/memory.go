package scan

import (
	"sync"
	"time"
)

const (
	// remember is how long a clean verdict is known.
	remember = 15 * time.Minute
	// maxRemembered verdicts are kept of one scanner; beyond that the older half
	// of them is forgotten.
	maxRemembered = 10_000
)

// memory holds clean verdicts of one scanner in two generations, so that the
// oldest go without a search.
type memory struct {
	mu       sync.Mutex
	new, old map[digest]remembered
	turned   time.Time // when old was new
}

// remembered is a clean verdict; the event of its scan has the symbols.
type remembered struct {
	at    time.Time
	score float64
}

func newMemory() *memory { return &memory{new: map[digest]remembered{}} }

func (m *memory) get(d digest, now time.Time) (r remembered, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok = m.new[d]
	if !ok {
		r, ok = m.old[d]
	}
	return r, ok && now.Sub(r.at) < remember
}

func (m *memory) put(d digest, r remembered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.new) >= maxRemembered/2 || r.at.Sub(m.turned) >= remember {
		m.old, m.new, m.turned = m.new, map[digest]remembered{}, r.at
	}
	m.new[d] = r
}

func (m *memory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.new, m.old = map[digest]remembered{}, nil
}

const (
	// attempts on the same content before it is refused for good.
	attempts = 3
	// suspectFor is how long faults on a content are counted: as long as clients
	// try again.
	suspectFor = 5 * 24 * time.Hour
	// maxSuspects contents are known; beyond that none is added until one ends.
	maxSuspects = 1000
)

// poison counts faults by content.
type poison struct {
	mu    sync.Mutex
	known map[digest]suspect
}

type suspect struct {
	faults int
	at     time.Time // of the last one
}

func newPoison() *poison { return &poison{known: map[digest]suspect{}} }

// faults is how many are known of d.
func (p *poison) faults(d digest, now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.known[d]
	if now.Sub(s.at) >= suspectFor {
		return 0
	}
	return s.faults
}

// add counts a fault and reports whether it was the last attempt.
func (p *poison) add(d digest, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.known[d]
	if !ok && len(p.known) >= maxSuspects && !p.expire(now) {
		return false
	}
	if now.Sub(s.at) >= suspectFor {
		s.faults = 0
	}
	s.faults, s.at = s.faults+1, now
	p.known[d] = s
	return s.faults >= attempts
}

// expire drops what is too old, and reports whether there was any.
func (p *poison) expire(now time.Time) bool {
	for d, s := range p.known {
		if now.Sub(s.at) >= suspectFor {
			delete(p.known, d)
		}
	}
	return len(p.known) < maxSuspects
}

func (p *poison) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.known)
}
