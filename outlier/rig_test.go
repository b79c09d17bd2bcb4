package outlier

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"postern/mail"
	"postern/outlier/detector"
	"postern/outlier/detector/arithmetic"
)

// rig is a watch with its clock in the test's hand.
type rig struct {
	*Watch
	t       *testing.T
	at      time.Time
	changes []Change
	next    int // number of the next new recipient
}

// explain gives the arithmetic of the present score.
func (w *Watch) explain(scope, name string) (*arithmetic.Score, error) {
	d, err := w.Show(scope, name)
	if err != nil {
		return nil, err
	}
	if d.Explain == nil {
		return nil, fmt.Errorf("%s %s %w", scope, name, ErrUnknown)
	}
	return d.Explain, nil
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	return newRigIn(t, "", nil, change)
}

func newRigIn(t *testing.T, dir string, shared *Shared, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, at: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	r.open(dir, shared, change)
	return r
}

func (r *rig) open(dir string, shared *Shared, change func(*Config)) {
	r.t.Helper()
	var cfg Config
	cfg.SetDefaults()
	cfg.MaxKnown = 100_000
	if change != nil {
		change(&cfg)
	}
	w, err := New(cfg, Options{
		Now: func() time.Time { return r.at }, Changes: func(c Change) { r.changes = append(r.changes, c) }, Dir: dir, Shared: shared,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.Watch = w
}

func event(client, user, from string) *mail.Event {
	return &mail.Event{Client: client, User: user, From: from, Outcome: mail.Relayed}
}

func to(ev *mail.Event, address string, refused bool) {
	e := mail.RecipientEvent{Address: address, Outcome: mail.Relayed, Rule: "upstream", Code: 250}
	if refused {
		e.Outcome, e.Code, e.Status, e.Class = mail.Rejected, 550, "5.1.1", "no-such-user"
	}
	ev.To = append(ev.To, e)
}

// send sends n messages to one new recipient each within a span of time; it
// stops where one is refused, and gives how many went out. bad of a hundred
// recipients are refused by the upstream.
func (r *rig) send(client, user, from string, n int, span time.Duration, bad int) (out int) {
	for range n {
		r.at = r.at.Add(span / time.Duration(n))
		if r.Judge(client, user, mail.Identity(from)).Refuse() {
			return out
		}
		r.next++
		ev := event(client, user, from)
		to(ev, fmt.Sprintf("new%d@y.example", r.next), r.next*37%100 < bad)
		r.Observe(ev)
		out++
	}
	return out
}

// ordinary lets senders write some mail to the same few people for so many days.
func (r *rig) ordinary(client, user, from string, days, each int, others ...string) {
	for range days {
		for i := range each {
			for _, from := range append(others, from) {
				ev := event(client, user, from)
				to(ev, fmt.Sprintf("colleague%d@y.example", i), false)
				r.Observe(ev)
			}
			r.at = r.at.Add(8 * time.Hour / time.Duration(each))
		}
		r.at = r.at.Add(16 * time.Hour)
	}
}

func (r *rig) state(scope, name string) Level {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.current(detector.Who{Scope: scope, Name: name}, r.at); s != nil {
		return s.Level
	}
	return Normal
}

// said reports whether a change of that kind has been told, and removes all up
// to it.
func (r *rig) said(scope, name string, is Level) (Change, bool) {
	for i, c := range r.changes {
		if c.Scope == scope && c.Name == name && c.Level == is {
			r.changes = r.changes[i+1:]
			return c, true
		}
	}
	return Change{}, false
}
