package ratelimit

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

func testOnce(t *testing.T, bed testBed) {
	l := bed.limiter(t, nil)
	const week = 7 * 24 * time.Hour
	once := func(author, to string) func() {
		t.Helper()
		release, err := l.Once(t.Context(), author, mail.RecipientID(to), week)
		if err != nil {
			t.Fatal(err)
		}
		return release
	}
	if once("anna@example.org", "a@x.example") == nil {
		t.Fatal("the first time is refused")
	}
	if once("anna@example.org", "a@x.example") != nil {
		t.Error("sent twice")
	}
	if once("bert@example.org", "a@x.example") == nil {
		t.Error("another author may not")
	}
	release := once("anna@example.org", "c@x.example")
	release()
	release()
	if once("anna@example.org", "c@x.example") == nil {
		t.Error("not given back")
	}
	if once("a b", "c") == nil || once("a", "b c") == nil || once("a recipient=b", "c") == nil || once(strings.Repeat("x", 2000), strings.Repeat("y", 2000)) == nil {
		t.Error("two pairs share a claim")
	}
	bed.clock.add(week - time.Minute)
	if once("anna@example.org", "a@x.example") != nil {
		t.Error("forgotten within the week")
	}
	bed.clock.add(time.Minute + time.Second)
	if once("anna@example.org", "a@x.example") == nil {
		t.Error("remembered for longer than a week")
	}
	if states, err := l.Show(t.Context(), Filter{}, 0); err != nil || len(states) != 0 {
		t.Errorf("claims are shown as limits: %+v, %v", states, err)
	}
}

// testReport: reports of any reverse-path have the room of the null sender, of
// which its own mail is charged once.
func testReport(t *testing.T, bed testBed) {
	cfg := RuleConfig{Per: Per{PerClient}, Clients: []string{"shop"}, Senders: []string{"<>"}, Messages: parseNumbers(t, "3/1h"), Reports: true}
	l := bed.limiter(t, map[string]RuleConfig{"null": cfg, "all": {Per: Per{PerClient}, Messages: parseNumbers(t, "100/1h")}})
	report := func(client, from string) (v Verdict, back func()) {
		f := factsOf(from, "example.org")
		f.Client = client
		a := l.Begin(f)
		a.Recipients(t.Context(), []Recipient{at("a@x.example"), at("b@x.example")}, nil)
		i, v := a.Report(t.Context())
		return v, func() {
			a.Refund(t.Context(), 0, 1, i)
			a.End()
		}
	}
	if v, _ := report("shop", "<>"); !v.OK {
		t.Errorf("the null sender: %+v", v)
	}
	v, back := report("shop", "tls@example.org")
	if !v.OK {
		t.Errorf("the first report: %+v", v)
	}
	back()
	for i := range 3 {
		v, _ := report("shop", "tls@example.org")
		if v.OK != (i < 2) {
			t.Errorf("report %d: %+v", i+2, v)
		}
		if !v.OK && (v.Limit != "null" || v.Key != "client=shop" || v.RetryAfter <= 0) {
			t.Errorf("refused by %+v", v)
		}
	}
	if v, _ := report("other", "tls@example.org"); !v.OK {
		t.Errorf("another client: %+v", v)
	}
}

// TestClaimsOutliveARestart: claims of today are read back; those of a release
// that kept them by client do no harm and refuse nobody.
func TestClaimsOutliveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits")
	clock := newFakeClock()
	bed, e := newBed(t, clock)
	const week = 7 * 24 * time.Hour
	old := budgetOf(onceLimit, "client=shop recipient=a@x.example", win(Messages, 1, week))
	old.Spare = true
	bed.ask(t, Request{Recipients: 1}, old)
	if release, err := bed.limiter(t, nil).Once(t.Context(), "anna@example.org", "a@x.example", week); release == nil || err != nil {
		t.Fatalf("the claim of a client holds an author: %v", err)
	}
	if err := e.Save(path); err != nil {
		t.Fatal(err)
	}
	again, e2 := newBed(t, clock)
	if err := e2.Load(path); err != nil {
		t.Fatal(err)
	}
	l := again.limiter(t, nil)
	if release, _ := l.Once(t.Context(), "anna@example.org", "a@x.example", week); release != nil {
		t.Error("the claim is forgotten")
	}
	if release, _ := l.Once(t.Context(), "bert@example.org", "a@x.example", week); release == nil {
		t.Error("another author may not")
	}
}
