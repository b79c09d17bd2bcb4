package outlier

import (
	"testing"
	"time"

	"postern/mail"
	"postern/outlier/detector"
)

// throttled gives the state of a sender that may send at its usual pace again.
func (r *rig) throttled(from string) *State {
	r.t.Helper()
	r.ordinary("shop", "", from, 70, 100)
	for range 90 {
		if r.state(Sender, from) < Throttled {
			r.send("shop", "", from, 1, time.Minute, 0)
		}
	}
	s := r.states[detector.Who{Scope: Sender, Name: from}]
	if s == nil || s.Level != Throttled {
		r.t.Fatalf("%+v", r.changes)
	}
	r.at = r.at.Add(3 * time.Hour)
	return s
}

func TestThrottledMessagesUnderWayCount(t *testing.T) {
	r := newRig(t, nil)
	r.throttled("a@x.example")
	n := 0
	for ; n <= 1000 && !r.Judge("shop", "", "a@x.example").Refuse(); n++ {
	}
	if n < 5 || n > 100 { // which is usual in a day
		t.Errorf("%d messages may be under way", n)
	}
}

// Who is refused was never under way, so that trying again and again lets no more
// messages through than usual.
func TestRefusedMessagesWereNotUnderWay(t *testing.T) {
	for _, rule := range []string{"outlier sender", "outlier client", "senders"} {
		r := newRig(t, nil)
		s := r.throttled("a@x.example")
		n := 0
		for range 1000 {
			if !r.Judge("shop", "", "a@x.example").Refuse() {
				n++
				continue
			}
			ev := event("shop", "", "a@x.example")
			ev.Stage, ev.Outcome, ev.Rule, ev.To = "mail", mail.Deferred, rule, []mail.RecipientEvent{}
			r.Observe(ev)
		}
		if n < 5 || n > 100 || s.Pending != n { // 100 are usual in a day
			t.Errorf("%s: %d messages of 1,000 were let through, and %d are under way", rule, n, s.Pending)
		}
	}
}

// Those that have come to their end are in the windows, and no longer under way.
func TestThrottledMessagesThatEndedAreNotUnderWay(t *testing.T) {
	for _, mode := range []Mode{Enforce, Shadow} {
		r := newRig(t, func(c *Config) { c.Mode = mode })
		s := r.throttled("a@x.example")
		for i := range 10 {
			if n := r.send("shop", "", "a@x.example", 1, time.Minute, 0); n != 1 || s.Level != Throttled || s.Pending != 0 {
				t.Fatalf("%s: message %d: %d went out, %d are under way, state %s", mode, i+1, n, s.Pending, s.Level)
			}
		}
	}
}

// TestSuspensionIsToldBeforeAPace: of a user who is throttled and sends with a sender that
// is suspended.
func TestSuspensionIsToldBeforeAPace(t *testing.T) {
	r := newRig(t, nil)
	const from = "a@x.example"
	r.ordinary("shop", "anna", from, 70, 5)
	r.mu.Lock()
	now := r.clock.read()
	r.hold(now, detector.Who{Scope: User, Name: "anna"}, "shop", State{Level: Throttled, Rule: RuleVolume})
	r.hold(now, detector.Submitter("anna", from), "shop", State{Level: Suspended, Rule: RuleVolume})
	r.states[detector.Who{Scope: User, Name: "anna"}].Pending = 1000 // far beyond its pace
	r.mu.Unlock()
	if v := r.Judge("shop", "anna", from); v.Level != Suspended || v.Scope != Sender {
		t.Errorf("%+v", v)
	}
}
