package outlier

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/outlier/detector"
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

// ErrNoState is wrapped by the error of Release for what is in no state.
var ErrNoState = errors.New("is neither suspended nor throttled nor under alarm")

// Suspend defers all mail of what the order names, also in shadow mode.
func (w *Watch) Suspend(o Order) (State, error) {
	if err := o.check(); err != nil {
		return State{}, err
	}
	o.Name = w.nameOf(detector.Who{Scope: o.Scope, Name: o.Name})
	w.mu.Lock()
	now := w.clock.read()
	k := detector.Who{Scope: o.Scope, Name: o.Name}
	s := w.current(k, now)
	if s == nil {
		s = &State{Scope: o.Scope, Name: o.Name}
		w.keep(k, s)
	}
	from := s.Level
	s.Level, s.Rule, s.Score, s.Reason, s.Since, s.Until = Suspended, RuleManual, 0, o.Reason, s.After(now), time.Time{}
	s.By, s.Shadow, s.Restricted = o.By, false, now
	if o.For > 0 {
		s.Until = now.Add(o.For)
	}
	s.Remember()
	w.changed(Change{State: *s, Time: now, From: from, Cause: CauseOperator})
	state := *s
	w.mu.Unlock()
	w.tell()
	return state, nil
}

// Release ends the state of what the order names; the state of a sender also as each user
// sends with it. What led to it is forgiven, and with Learn it goes into the record. The
// error is about the order, or without Learn wraps ErrNoState.
func (w *Watch) Release(o Order) (State, error) {
	if err := o.check(); err != nil {
		return State{}, err
	}
	o.Name = w.nameOf(detector.Who{Scope: o.Scope, Name: o.Name})
	defer w.tell()
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.clock.read()
	released := State{Scope: o.Scope, Name: o.Name}
	any := false
	for _, k := range w.withUsers(detector.Who{Scope: o.Scope, Name: o.Name}) {
		if o.Learn {
			w.detector.Approve(now.Unix(), k)
		}
		s := w.current(k, now)
		if s == nil || s.Level == Normal {
			continue
		}
		s.Restricted, s.Suspensions = time.Time{}, 0 // no repetition: the operator has looked at it
		w.detector.Forgive(k)
		w.detector.ForgiveAlarm(k, s.Client)
		w.end(s, now, CauseOperator, o.By, o.Reason)
		if !any {
			released, any = *s, true
		}
	}
	if !any && !o.Learn {
		return State{}, fmt.Errorf("%s %s %w", o.Scope, o.Name, ErrNoState)
	}
	return released, nil
}

// withUsers is k, and for a sender also each user's part of it.
func (w *Watch) withUsers(k detector.Who) []detector.Who {
	keys := []detector.Who{k}
	if k.Scope != Sender {
		return keys
	}
	seen := map[string]bool{}
	add := func(who detector.Who) {
		if who.Scope != UserSender || seen[who.Name] {
			return
		}
		if _, sender := detector.SplitNames(who.Name); sender == k.Name {
			seen[who.Name] = true
			keys = append(keys, who)
		}
	}
	for who := range w.states {
		add(who)
	}
	for who := range w.detector.All() {
		add(who)
	}
	return keys
}

func (o *Order) check() error {
	switch o.Scope {
	case Sender, UserSender, User, Client:
	case Mailbox:
		if !strings.Contains(o.Name, "/") {
			return fmt.Errorf("submitter %q has no client; write client/name", o.Name)
		}
	default:
		return fmt.Errorf("scope %q is unknown; it is sender, user, submitter or client", o.Scope)
	}
	if o.Name == "" || o.For < 0 {
		return errors.New("name is missing or the time is negative")
	}
	return nil
}
