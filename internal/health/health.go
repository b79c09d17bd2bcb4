// Package health holds what is wrong with a node at the moment and since when.
// It tells each trouble once: one line when it begins, one when it is over.
package health

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Troubles that a node goes on with.
const (
	State   = "state"   // the state folder cannot be written: what is kept there is lost at a stop
	Journal = "journal" // transactions are not written to the journal
	Control = "control" // the control socket cannot be made: commands do not reach the node
	Tokens  = "tokens"  // tokens_file cannot be used: nobody gets in by a token
)

// settle is how long nothing may fail before a trouble is over: on a disk that
// is nearly full small writes succeed between large ones that do not.
const settle = 10 * time.Second

// Reason is a trouble that has begun and is not over.
type Reason struct {
	What  string    `json:"what"`
	Since time.Time `json:"since"`
	// Text names each part that failed, with the last error of each. It may
	// hold paths, so it is for the operator only.
	Text string `json:"text"`
}

// Health is the list of a node's troubles. It is safe for concurrent use.
type Health struct {
	log *slog.Logger
	now func() time.Time

	mu       sync.Mutex
	troubles map[string]*trouble
}

type trouble struct {
	since, last time.Time        // of the first failure, and of the last one
	failing     map[string]error // by part
}

// New makes a list without troubles; a nil now stands for time.Now.
func New(log *slog.Logger, now func() time.Time) *Health {
	if now == nil {
		now = time.Now
	}
	return &Health{log: log, now: now, troubles: map[string]*trouble{}}
}

// Report notes how the last try of a part went; err is nil when it went well.
// A trouble begins with the first part that fails. It is over when each part
// that failed has gone well since, and nothing has failed for 10 seconds.
// Parts that have never failed need not report.
func (h *Health) Report(what, part string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t, now := h.troubles[what], h.now()
	switch {
	case err == nil && t != nil:
		delete(t.failing, part)
	case err != nil && t == nil:
		h.troubles[what] = &trouble{since: now, last: now, failing: map[string]error{part: err}}
		h.log.Error("degraded", "what", what, "part", part, "err", err)
	case err != nil:
		t.failing[part], t.last = err, now
	}
	h.settle(now)
}

// Reasons lists the troubles by name, none when all is well.
func (h *Health) Reasons() []Reason {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settle(h.now())
	var list []Reason
	for what, t := range h.troubles {
		list = append(list, Reason{What: what, Since: t.since, Text: t.text()})
	}
	slices.SortFunc(list, func(a, b Reason) int { return strings.Compare(a.What, b.What) })
	return list
}

// settle ends the troubles that are over.
func (h *Health) settle(now time.Time) {
	for what, t := range h.troubles {
		since := now.Sub(t.last)
		if since < 0 { // the clock was set back
			t.last = now
		}
		if len(t.failing) > 0 || since < settle {
			continue
		}
		delete(h.troubles, what)
		h.log.Info("no longer degraded", "what", what, "lasted", t.last.Sub(t.since).Round(time.Millisecond).String())
	}
}

func (t *trouble) text() string {
	if len(t.failing) == 0 {
		return "seems to be over"
	}
	var parts []string
	for part, err := range t.failing {
		parts = append(parts, fmt.Sprintf("%s: %v", part, err))
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}
