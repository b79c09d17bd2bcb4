package outlier

import (
	"fmt"
	"testing"
	"time"

	"postern/mail"
)

// TestOnlyAnAnswerMakesKnown: a recipient is known by an upstream's 250 to a message, to
// the client and to the sender apart, and by nothing else; a restart keeps that.
func TestOnlyAnAnswerMakesKnown(t *testing.T) {
	dir := t.TempDir()
	r := newRigIn(t, dir, nil, func(c *Config) { c.Pairs = true })
	stranger := func(from mail.Identity, to string, client, sender bool) {
		t.Helper()
		if c, s := r.Stranger("shop", from, mail.RecipientOf(to)); c != client || s != sender {
			t.Errorf("%s to %s: stranger to the client %v, to the sender %v", from, to, c, s)
		}
	}
	stranger("a@x.example", "one@y.example", true, true)
	for i, outcome := range []string{mail.Rejected, mail.Deferred, mail.Aborted} {
		ev := event("shop", "", "a@x.example")
		ev.Outcome, ev.Stage = outcome, "forward"
		ev.To = []mail.RecipientEvent{{Address: "one@y.example", Outcome: outcome, Code: 450 + 100*i, Rule: "upstream"}}
		r.Observe(ev)
	}
	stranger("a@x.example", "one@y.example", true, true)
	ev := event("shop", "", "a@x.example")
	to(ev, "one@y.example", false)
	r.Observe(ev)
	stranger("a@x.example", "ONE@y.example", false, false)
	stranger("b@x.example", "one@y.example", false, true)
	if c, _ := r.Stranger("other", "a@x.example", "one@y.example"); !c {
		t.Error("known to another client")
	}
	p := r.Past("shop", "", "a@x.example")
	if p.Age != 0 || !p.Since.Equal(r.at.Truncate(24*time.Hour)) {
		t.Errorf("past %+v at %v", p, r.at)
	}
	r.at = r.at.Add(14 * 24 * time.Hour)
	if p := r.Past("shop", "", "a@x.example"); p.Age != 14 {
		t.Errorf("past %+v two weeks later", p)
	}
	if p := r.Past("other", "", "a@y.example"); !p.Since.IsZero() || p.Age != 0 {
		t.Errorf("past of nobody %+v", p)
	}
	r.disk.Close()
	since, err := WatchedSince(dir)
	if err != nil || len(since) != 1 || !since["shop"].Equal(p.Since) {
		t.Errorf("on disk %v, %v", since, err)
	}
	if since, err := WatchedSince(t.TempDir()); err != nil || since != nil {
		t.Errorf("in an empty folder %v, %v", since, err)
	}
}

// TestForgettingIsTold: known recipients that have to go for others are not forgotten
// without a word.
func TestForgettingIsTold(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxKnown = 10_000 })
	for i := range 400 {
		ev := event("shop", "", "a@x.example")
		for j := range 100 {
			to(ev, fmt.Sprintf("r%d.%d@y.example", i, j), false)
		}
		r.Observe(ev)
	}
	r.tellForgotten()
	told := r.forgotten
	if told.n == 0 || !told.next.Equal(r.at.Add(24*time.Hour)) {
		t.Errorf("40,000 recipients in %d places: told %+v", r.detector.Places(), told)
	}
}
