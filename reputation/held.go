package reputation

import (
	"sync"
	"sync/atomic"
	"time"
)

// Held remembers which streams a receiver has asked to slow down, and which are
// paused. It is safe for concurrent use and remembers at most maxHeld pairs of
// stream and destination.
type Held struct {
	now func() time.Time
	any atomic.Bool // there is a pair or a paused stream; mostly none, and then nobody needs the lock

	mu     sync.Mutex
	pairs  map[pair]*wait
	paused map[string]time.Time // streams
}

type pair struct{ stream, domain string }

type wait struct {
	until time.Time
	steps int // refusals in a row
}

const (
	maxHeld     = 50_000
	firstWait   = time.Minute
	longestWait = 30 * time.Minute
	// longestNamed bounds what a reply may ask for.
	longestNamed = 24 * time.Hour
	// forgetWait is how long after its end a wait still counts as one in a row.
	forgetWait = 2 * time.Hour
)

// NewHeld makes an empty memory.
func NewHeld(now func() time.Time) *Held {
	return &Held{now: now, pairs: map[pair]*wait{}, paused: map[string]time.Time{}}
}

// Refused notes that the receiver of a domain wants less of a stream: wait is
// the time that its reply names, or 0 for 1, 2, 4 ... up to 30 minutes. It
// returns until when the mail is held. Refusals during a wait belong to it.
func (h *Held) Refused(stream, domain string, named time.Duration) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	k := pair{stream, domain}
	w := h.pairs[k]
	if w == nil {
		if len(h.pairs) >= maxHeld {
			h.makeRoom(now)
		}
		w = &wait{}
		h.pairs[k] = w
		h.any.Store(true)
	}
	if now.Before(w.until) {
		w.until = later(w.until, now.Add(min(named, longestNamed)))
		return w.until
	}
	if now.Sub(w.until) > forgetWait {
		w.steps = 0
	}
	d := min(firstWait<<min(w.steps, 10), longestWait)
	if named > 0 {
		d = min(named, longestNamed)
	}
	w.steps++
	w.until = now.Add(d)
	return w.until
}

// Relayed notes that the receiver takes mail again.
func (h *Held) Relayed(stream, domain string) {
	if !h.any.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if w := h.pairs[pair{stream, domain}]; w != nil && !h.now().Before(w.until) {
		delete(h.pairs, pair{stream, domain})
		h.any.Store(len(h.pairs)+len(h.paused) > 0)
	}
}

// Left is how long mail of a stream to a domain waits; 0 when it does not.
func (h *Held) Left(stream, domain string) time.Duration {
	if !h.any.Load() {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	var left time.Duration
	if w := h.pairs[pair{stream, domain}]; w != nil {
		left = w.until.Sub(now)
	}
	if until, ok := h.paused[stream]; ok {
		left = max(left, until.Sub(now))
	}
	return max(left, 0)
}

// Pause holds all mail of a stream until a time.
func (h *Held) Pause(stream string, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.paused[stream] = later(h.paused[stream], until)
	h.any.Store(true)
}

// Resume lets a paused stream go on, and reports whether it was paused.
func (h *Held) Resume(stream string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	until, ok := h.paused[stream]
	delete(h.paused, stream)
	h.any.Store(len(h.pairs)+len(h.paused) > 0)
	return ok && h.now().Before(until)
}

// HeldPair is one entry of List.
type HeldPair struct {
	Stream string    `json:"stream"`
	Domain string    `json:"domain,omitempty"` // "" for a whole stream
	Until  time.Time `json:"until"`
}

// List returns what is held now.
func (h *Held) List() []HeldPair {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	var list []HeldPair
	for s, until := range h.paused {
		if now.Before(until) {
			list = append(list, HeldPair{Stream: s, Until: until})
		}
	}
	for k, w := range h.pairs {
		if now.Before(w.until) {
			list = append(list, HeldPair{k.stream, k.domain, w.until})
		}
	}
	return list
}

// makeRoom forgets what is over, and a tenth where that is not enough.
func (h *Held) makeRoom(now time.Time) {
	for k, w := range h.pairs {
		if now.Sub(w.until) > 0 {
			delete(h.pairs, k)
		}
	}
	for k := range h.pairs {
		if len(h.pairs) < maxHeld*9/10 {
			return
		}
		delete(h.pairs, k)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
