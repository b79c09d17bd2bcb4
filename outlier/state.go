package outlier

import (
	"errors"
	"time"
)

// State is where a sender, user or client stands on the ladder.
type State struct {
	Scope  string    `json:"scope"`
	Name   string    `json:"name"`
	Level  Level     `json:"level"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"` // zero: until an operator releases it
	Score  float64   `json:"score"`
	Reason string    `json:"reason"`
	By     string    `json:"by,omitempty"` // who did it by hand; "" for the watch itself
	Shadow bool      `json:"shadow,omitempty"`
}

// stands reports whether the state has not expired.
func (s *State) stands(now time.Time) bool {
	return s.Level > Normal && (s.Until.IsZero() || now.Before(s.Until))
}

// Change is a change of state, with what led to it.
type Change struct {
	State
	Time     time.Time `json:"time"`
	From, To Level     `json:"-"`
}

// Order is what an operator wants done by hand.
type Order struct {
	Scope, Name string
	For         time.Duration // of a suspension; 0: until released
	Reason      string
	By          string // the operating-system user
	Learn       bool   // release: what was sent was legitimate and goes into the record
}

// ErrNotSuspended is returned by Release for what is in no state.
var ErrNotSuspended = errors.New("is not suspended")

// Suspend defers all mail of what the order names.
func (w *Watch) Suspend(o Order) State {
	w.mu.Lock()
	now := w.clock.read()
	s := &State{Scope: o.Scope, Name: o.Name, Level: Suspended, Since: now, Reason: o.Reason, By: o.By}
	if o.For > 0 {
		s.Until = now.Add(o.For)
	}
	k := key{o.Scope, o.Name}
	from := Normal
	if old := w.states[k]; old != nil && old.stands(now) {
		from = old.Level
	}
	w.states[k] = s
	c := Change{State: *s, From: from, To: Suspended, Time: now}
	w.mu.Unlock()
	w.tell(c)
	return c.State
}

// Release ends the state of what the order names.
func (w *Watch) Release(o Order) error {
	w.mu.Lock()
	now := w.clock.read()
	k := key{o.Scope, o.Name}
	s := w.states[k]
	if s == nil || !s.stands(now) {
		w.mu.Unlock()
		return ErrNotSuspended
	}
	delete(w.states, k)
	c := Change{State: State{Scope: o.Scope, Name: o.Name, Since: now, Reason: o.Reason, By: o.By}, From: s.Level, To: Normal, Time: now}
	w.mu.Unlock()
	w.tell(c)
	return nil
}
