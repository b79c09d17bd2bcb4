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

// Release ends the state of what the order names. What led to it is forgiven,
// and with Learn it goes into the record.
func (w *Watch) Release(o Order) (State, error) {
	if err := o.check(); err != nil {
		return State{}, err
	}
	o.Name = w.nameOf(o.Scope, o.Name)
	defer w.tell()
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.clock.read()
	k := stateKey{o.Scope, o.Name}
	s := w.current(k, now)
	if o.Learn {
		for _, e := range w.entries(k) {
			e.roll(now.Unix())
			e.turn(&w.engine.tuning, scaleOf(e.scope), w.engine.byNum[e.client].born)
			e.approve()
			if rs := w.engine.roster.runsOf(e); rs != nil {
				rs.approve()
			}
		}
	}
	if s == nil || s.Level == Normal {
		if o.Learn {
			return State{Scope: o.Scope, Name: o.Name}, nil
		}
		return State{}, fmt.Errorf("%s %s %w", o.Scope, o.Name, ErrNotHeld)
	}
	s.Held, s.Suspensions = time.Time{}, 0 // no repetition: the operator has looked at it
	w.forgive(k)
	w.end(s, now, CauseOperator, o.By, o.Reason)
	return *s, nil
}

func (o *Order) check() error {
	switch o.Scope {
	case Sender, User, Client:
	default:
		return fmt.Errorf("scope %q is unknown; it is sender, user or client", o.Scope)
	}
	if o.Name == "" || o.For < 0 {
		return errors.New("name is missing or the time is negative")
	}
	return nil
}
