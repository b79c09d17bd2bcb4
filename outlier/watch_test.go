package outlier

import (
	"fmt"
	"testing"
	"time"

	"postern/mail"
)

// testClock is a clock in the test's hand.
type testClock struct{ at time.Time }

func (c *testClock) now() time.Time { return c.at }

func newWatch(t *testing.T, change func(*Config)) (*Watch, *testClock) {
	t.Helper()
	var cfg Config
	cfg.SetDefaults()
	cfg.MaxKnown = 10_000
	if change != nil {
		change(&cfg)
	}
	c := &testClock{time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	w, err := New(cfg, Options{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return w, c
}

func relayed(client, from string, to ...string) *mail.Event {
	ev := &mail.Event{Client: client, From: from, Outcome: mail.Relayed}
	for _, a := range to {
		ev.To = append(ev.To, mail.RecipientEvent{Address: a, Outcome: mail.Relayed, Rule: "upstream", Code: 250})
	}
	return ev
}

func TestBurstSuspendsTheSender(t *testing.T) {
	w, c := newWatch(t, nil)
	for i := range 300 {
		c.at = c.at.Add(time.Second)
		w.Observe(relayed("shop", "a@x.example", fmt.Sprint(i, "@y.example")))
	}
	v := w.Judge("shop", "", "a@x.example")
	if !v.Refuse() || v.Scope != Sender || v.Name != "a@x.example" || v.Left(c.at) <= 0 {
		t.Errorf("verdict %+v after a burst, want the sender suspended for a time", v)
	}
	if _, err := w.Release(Order{Scope: Sender, Name: "a@x.example", By: "ops"}); err != nil {
		t.Fatal(err)
	}
	if v := w.Judge("other", "", "a@x.example"); v.Refuse() {
		t.Errorf("verdict %+v after release", v)
	}
}
