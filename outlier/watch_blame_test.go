package outlier

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/outlier/detector"
)

// TestExpectedVolumeIsExpectedOfTheUserToo: one program sends two declared
// newsletters at once, in a stream that is not one of bulk mail.
func TestExpectedVolumeIsExpectedOfTheUserToo(t *testing.T) {
	e := Expectation{Expected: []Pace{{700, 24 * time.Hour}}}
	for _, user := range []string{"", "newsletter"} {
		r := newRig(t, func(c *Config) {
			c.Sender = map[string]Expectation{"news@x.example": e, "offers@x.example": e, "events@x.example": e}
		})
		for range 700 {
			for _, from := range []string{"news@x.example", "offers@x.example", "events@x.example"} {
				if r.send("shop", user, from, 1, 2*time.Second, 0) != 1 {
					t.Fatalf("user %q: %s is held; %+v", user, from, r.changes)
				}
			}
		}
		if len(r.changes) > 0 {
			t.Errorf("user %q: %+v", user, r.changes)
		}
	}
}

func TestStolenPasswordSuspendsTheUser(t *testing.T) {
	r := newRig(t, nil)
	for i := range 40 { // the client's usual mail
		r.ordinary("shop", "anna", "anna@x.example", 1, 5)
		r.ordinary("shop", fmt.Sprint("other", i), fmt.Sprintf("other%d@x.example", i), 1, 20)
	}
	r.changes = nil
	for i := range 400 {
		from := fmt.Sprintf("made-up%d@x.example", i%40)
		r.at = r.at.Add(5 * time.Second)
		v := r.Judge("shop", "anna", mail.Identity(from))
		if v.Refuse() {
			if v.Scope != User || v.Name != "anna" {
				t.Fatalf("verdict %+v, want the user; %+v", v, r.changes)
			}
			if i > 120 {
				t.Errorf("found after %d messages", i)
			}
			if v := r.Judge("shop", "bert", "bert@x.example"); v.Refuse() {
				t.Errorf("another user: %+v", v)
			}
			if v := r.Judge("shop", "anna", ""); !v.Refuse() {
				t.Error("AUTH of the user is let through")
			}
			return
		}
		ev := event("shop", "anna", from)
		to(ev, fmt.Sprintf("victim%d@y.example", i), i%7 == 0)
		r.Observe(ev)
	}
	t.Errorf("not found; %+v", r.changes)
}

func TestBurstOfOneSenderIsNotTheClients(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Mode = Shadow })
	r.ordinary("shop", "u", "a@x.example", 70, 5)
	for i := range 1000 {
		r.at = r.at.Add(time.Second)
		ev := event("shop", "u", "a@x.example")
		to(ev, fmt.Sprint(i, "@y.example"), false)
		r.Observe(ev)
	}
	for _, c := range r.changes {
		if c.Scope != UserSender {
			t.Errorf("%s %s is blamed: %+v", c.Scope, c.Name, c)
		}
	}
}

func TestInventedNamesAreTheClientsAndBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxSenders = 2000; c.Mode = Shadow })
	r.ordinary("shop", "", "a@x.example", 40, 5)
	for i := range 50_000 {
		if i%100 == 0 {
			r.at = r.at.Add(time.Second)
		}
		ev := event("bad", "", fmt.Sprintf("n%d@x.example", i))
		to(ev, "same@y.example", false)
		r.Observe(ev)
	}
	n := 0
	for range r.detector.All() {
		n++
	}
	if n > 2000 {
		t.Errorf("%d names remembered, at most 2,000 wanted", n)
	}
	if !r.detector.Has(detector.Who{Scope: Sender, Name: "a@x.example"}) {
		t.Error("an old sender of another client has been forgotten for invented ones")
	}
	c, ok := r.said(Client, "bad", Alerted)
	if !ok || c.Rule != RuleNames || !strings.Contains(c.Reason, "sender names never seen before") {
		t.Errorf("alarm %+v", c)
	}
	if len(r.states) > 100 {
		t.Errorf("%d states", len(r.states))
	}
}
