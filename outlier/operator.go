package outlier

import (
	"errors"
	"fmt"
	"time"
)

// Order is what an operator wants done by hand.
type Order struct {
	Scope  string        `json:"scope"`
	Name   string        `json:"name"`
	For    time.Duration `json:"for"`    // of a suspension; 0: until released
	Reason string        `json:"reason"` // goes into the event and the log
	By     string        `json:"by"`     // the operating-system user
	Learn  bool          `json:"learn"`  // release: what was sent was legitimate and goes into the record
}

// ErrNotHeld is returned by Release for what is in no state.
var ErrNotHeld = errors.New("is neither suspended nor throttled nor under alarm")

// Suspend defers all mail of what the order names, also in shadow mode.
func (w *Watch) Suspend(o Order) (State, error) {
	if err := o.check(); err != nil {
		return State{}, err
	}
	o.Name = w.nameOf(o.Scope, o.Name)
	w.mu.Lock()
	now := w.clock.read()
	k := stateKey{o.Scope, o.Name}
	s := w.current(k, now)
	if s == nil {
		s = &State{Scope: o.Scope, Name: o.Name}
		w.states[k] = s
	}
	from := s.Level
	s.Level, s.Rule, s.Score, s.Reason, s.Since, s.Until = Suspended, RuleManual, 0, o.Reason, s.after(now), time.Time{}
	s.By, s.Shadow, s.Held = o.By, false, now
	if o.For > 0 {
		s.Until = now.Add(o.For)
	}
	s.remember()
	w.changed(Change{State: *s, Time: now, From: from, Cause: CauseOperator})
	state := *s
	w.mu.Unlock()
	w.tell()
	return state, nil
}

// Release ends the state of what the order names; that of a sender also as each
// user sends with it. What led to it is forgiven, and with Learn it goes into the
// record.
func (w *Watch) Release(o Order) (State, error) {
	if err := o.check(); err != nil {
		return State{}, err
	}
	o.Name = w.nameOf(o.Scope, o.Name)
	defer w.tell()
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.clock.read()
	released := State{Scope: o.Scope, Name: o.Name}
	any := false
	for _, k := range w.withUsers(stateKey{o.Scope, o.Name}) {
		if o.Learn {
			w.approve(k, now)
		}
		s := w.current(k, now)
		if s == nil || s.Level == Normal {
			continue
		}
		s.Held, s.Suspensions = time.Time{}, 0 // no repetition: the operator has looked at it
		w.forgive(k)
		w.forgiveName(s)
		w.end(s, now, CauseOperator, o.By, o.Reason)
		if !any {
			released, any = *s, true
		}
	}
	if !any && !o.Learn {
		return State{}, fmt.Errorf("%s %s %w", o.Scope, o.Name, ErrNotHeld)
	}
	return released, nil
}

// forgiveName lets a sender that an operator has looked at no longer count among the
// names under alarm of its user or client; the others do not count either.
func (w *Watch) forgiveName(s *State) {
	sc, name := ofClientAlarms, s.Client
	switch s.Scope {
	case UserSender:
		sc = ofUserAlarms
		name, _ = pairOf(s.Name)
	case Sender:
	default:
		return
	}
	if e := w.engine.roster.find(sc, name); e != nil {
		e.forgive()
	}
}

// approve takes what k has sent into its record.
func (w *Watch) approve(k stateKey, now time.Time) {
	for _, e := range w.entries(k) {
		e.roll(now.Unix())
		e.turn(&w.engine.tuning, scaleOf(e.scope), w.engine.byNum[e.client].born)
		e.approve()
		if rs := w.engine.roster.runsOf(e); rs != nil {
			rs.approve()
		}
	}
}

// withUsers is k, and for a sender also each user's part of it.
func (w *Watch) withUsers(k stateKey) []stateKey {
	keys := []stateKey{k}
	if k.scope != Sender {
		return keys
	}
	seen := map[string]bool{}
	add := func(name string) {
		if _, sender := pairOf(name); sender == k.name && !seen[name] {
			seen[name] = true
			keys = append(keys, stateKey{UserSender, name})
		}
	}
	for s := range w.states {
		if s.scope == UserSender {
			add(s.name)
		}
	}
	w.engine.roster.all(func(e *entry) bool {
		if e.scope == ofUserSender {
			add(e.name)
		}
		return true
	})
	return keys
}

func (o *Order) check() error {
	switch o.Scope {
	case Sender, UserSender, User, Client:
	default:
		return fmt.Errorf("scope %q is unknown; it is sender, user or client", o.Scope)
	}
	if o.Name == "" || o.For < 0 {
		return errors.New("name is missing or the time is negative")
	}
	return nil
}
