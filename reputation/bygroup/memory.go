package bygroup

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of waits.
const (
	firstWait   = time.Minute
	longestWait = 30 * time.Minute
	// longestNamed bounds what a reply may ask for once two clients heard it.
	longestNamed = 24 * time.Hour
	// forget is how long after its end a wait still counts as one in a row.
	forget     = 2 * time.Hour
	trialEvery = 5 * time.Minute
	// maxPairs bounds the pairs of stream and group: both are of the configuration.
	maxPairs = 10_000
)

// Refusal is a refusal by a host of a group that wants less of us.
type Refusal struct {
	Stream, Client string
	Group          string // of the host, by its name in the MX record
	Domain         string // of the recipients
	At             string // the command that was answered, as mail.Evidence has it
	Named          time.Duration
	Reply          string // on one line, clean
}

// early reports whether no recipient had been named yet.
func (h *Refusal) early() bool { return h.At != "rcpt" && h.At != "dot" }

// Memory remembers what was said for all streams and groups. It is safe for concurrent use.
type Memory struct {
	now     func() time.Time
	clients atomic.Pointer[func(stream string) int]
	any     atomic.Bool // there is a pair; mostly none, and then nobody needs the lock

	mu    sync.Mutex
	pairs map[pair]*state
}

type pair struct{ stream, group string }

// state is of one pair.
type state struct {
	witnesses Witnesses
	until     time.Time
	steps     int // refusals in a row
	reply     string
	heard     []string // clients whose mail it was, since the wait began; two are enough
	began     time.Time
	trials    map[string]time.Time // by client, when the next one may be
}

// New makes an empty memory; now must not be nil.
func New(now func() time.Time) *Memory {
	m := &Memory{now: now, pairs: map[pair]*state{}}
	m.UseClients(func(string) int { return 2 })
	return m
}

// UseClients has m ask f how many clients a stream has; without it each stream is taken to
// have several.
func (m *Memory) UseClients(f func(stream string) int) { m.clients.Store(&f) }

// Refused takes note of a refusal.
func (m *Memory) Refused(h *Refusal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, k := m.now(), pair{h.Stream, h.Group}
	s := m.pairs[k]
	if s == nil {
		if len(m.pairs) >= maxPairs {
			m.makeRoom(now)
		}
		s = &state{trials: map[string]time.Time{}}
		m.pairs[k] = s
		m.any.Store(true)
	}
	s.witnesses.Heard(h.Domain, h.Client, now)
	if !h.early() && !s.witnesses.Proven((*m.clients.Load())(h.Stream), now) {
		return
	}
	s.wait(h, now)
}

// wait begins a wait, or makes one that goes on longer if the reply asks for that.
func (s *state) wait(h *Refusal, now time.Time) {
	s.reply = h.Reply
	if now.Before(s.until) {
		if len(s.heard) < 2 && !slices.Contains(s.heard, h.Client) {
			s.heard = append(s.heard, h.Client)
		}
		s.until = later(s.until, now.Add(min(h.Named, s.longest())))
		return
	}
	if now.Sub(s.until) > forget {
		s.steps = 0
	}
	s.heard, s.began = []string{h.Client}, now
	clear(s.trials)
	d := min(firstWait<<min(s.steps, 10), longestWait)
	if h.Named > 0 {
		d = min(h.Named, longestWait)
	}
	s.steps++
	s.until = now.Add(d)
}

func (s *state) longest() time.Duration {
	if len(s.heard) > 1 {
		return longestNamed
	}
	return longestWait
}

// Took notes that a host of the group took a message for a domain; trial says that mail to
// the group waits and this message was the trial.
func (m *Memory) Took(stream, group, domain string, trial bool) {
	if !m.any.Load() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	k := pair{stream, group}
	s := m.pairs[k]
	if s == nil {
		return
	}
	now := m.now()
	none := s.witnesses.Took(domain, now)
	// Without a trial it may be a message that was under way before.
	if trial || none && !now.Before(s.until) {
		delete(m.pairs, k)
		m.any.Store(len(m.pairs) > 0)
	}
}

// Waits reports whether mail of a stream to any group waits.
func (m *Memory) Waits(stream string) bool {
	if !m.any.Load() {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for k, s := range m.pairs {
		if k.stream == stream && now.Before(s.until) {
			return true
		}
	}
	return false
}

// Left is how long mail of a client to a group waits; 0 when it may go on. trial says that
// it would have to wait, and goes through to see whether it is taken.
func (m *Memory) Left(stream, client, group string) (left time.Duration, trial bool) {
	if !m.any.Load() {
		return 0, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	s := m.pairs[pair{stream, group}]
	if s == nil || !now.Before(s.until) {
		return 0, false
	}
	at, ok := s.trials[client]
	if !ok {
		at = s.began.Add(trialEvery)
	}
	if now.Before(at) {
		return s.until.Sub(now), false
	}
	s.trials[client] = now.Add(trialEvery)
	return 0, true
}

// Restore makes mail of a stream to a group wait at least until a time. reply is what asked
// for that.
func (m *Memory) Restore(stream, group string, until time.Time, reply string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, k := m.now(), pair{stream, group}
	s := m.pairs[k]
	if s == nil {
		if len(m.pairs) >= maxPairs {
			m.makeRoom(now)
		}
		s = &state{trials: map[string]time.Time{}, reply: reply}
		m.pairs[k] = s
		m.any.Store(true)
	}
	if !now.Before(s.until) {
		s.began, s.steps = now, 1
		clear(s.trials)
	}
	s.until = later(s.until, until)
}

// End lets mail to a group go on, for a stream or, where that is "", for all. It reports
// how many pairs waited.
func (m *Memory) End(stream, group string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for k, s := range m.pairs {
		if (stream == "" || k.stream == stream) && (group == "" || k.group == group) {
			if now.Before(s.until) {
				n++
			}
			delete(m.pairs, k)
		}
	}
	m.any.Store(len(m.pairs) > 0)
	return n
}

// Entry is one wait.
type Entry struct {
	Stream, Group string
	Until         time.Time
	Reply         string
}

// List returns what waits now, by stream and group.
func (m *Memory) List() (all []Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for k, s := range m.pairs {
		if now.Before(s.until) {
			all = append(all, Entry{k.stream, k.group, s.until, s.reply})
		}
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Group, b.Group)) })
	return all
}

// makeRoom forgets what is over, and a tenth where that is not enough.
func (m *Memory) makeRoom(now time.Time) {
	for k, s := range m.pairs {
		if now.Sub(s.until) > forget {
			delete(m.pairs, k)
		}
	}
	for k := range m.pairs {
		if len(m.pairs) < maxPairs*9/10 {
			return
		}
		delete(m.pairs, k)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
