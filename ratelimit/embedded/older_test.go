package embedded

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/ratelimit"
	"postern/ratelimit/storetest"
)

func TestSnapshotOfAnOlderVersionIsJoined(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits")
	clock := storetest.NewClock()
	bed, e := newBed(t, clock)
	storetest.OlderCounts(t, bed)
	if err := e.Save(path); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"the first start", "the next start"} {
		again, e2 := newBed(t, clock)
		if err := e2.Load(path); err != nil {
			t.Fatal(err)
		}
		l := again.Limiter(t, map[string]ratelimit.RuleConfig{
			"sender": {Per: ratelimit.Per{ratelimit.PerSender}, Messages: storetest.Numbers(t, "9/1h"), Recipients: storetest.Numbers(t, "90/24h"), DistinctRecipients: storetest.Numbers(t, "90/24h")},
			"user":   {Per: ratelimit.Per{ratelimit.PerUser, ratelimit.PerClient}, Messages: storetest.Numbers(t, "9/1h")},
		})
		storetest.Joined(t, l, name)
		if err := e2.Save(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestJoinedCountsEndInTime: what is joined counts no longer than it did.
func TestJoinedCountsEndInTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits")
	clock := storetest.NewClock()
	bed, e := newBed(t, clock)
	l := bed.Limiter(t, map[string]ratelimit.RuleConfig{"sender": {Per: ratelimit.Per{ratelimit.PerSender}, Messages: storetest.Numbers(t, "9/1h")}})
	for _, sender := range []string{"News@example.org", "News@example.org", "news@example.org"} {
		f, _ := storetest.OlderFacts(sender)
		storetest.Send(t, l, f, "a@x.example")
		clock.Add(25 * time.Minute)
	}
	if err := e.Save(path); err != nil {
		t.Fatal(err)
	}
	again, e2 := newBed(t, clock)
	if err := e2.Load(path); err != nil {
		t.Fatal(err)
	}
	l = again.Limiter(t, map[string]ratelimit.RuleConfig{"sender": {Per: ratelimit.Per{ratelimit.PerSender}, Messages: storetest.Numbers(t, "9/1h")}})
	// Charged at 0, 25 and 50 minutes; each spelling has one left at 75.
	for _, step := range []struct {
		after time.Duration
		used  int64
	}{{0, 1}, {9 * time.Minute, 1}, {27 * time.Minute, 0}} {
		clock.Add(step.after)
		states, err := l.Show(t.Context(), ratelimit.Filter{Sender: "NEWS@example.org"}, 0)
		if err != nil || len(states) == 0 && step.used > 0 || len(states) == 1 && states[0].Windows[0].Used != step.used {
			t.Errorf("%s later %+v, %v, want %d", step.after, states, err, step.used)
		}
	}
}

// TestClaimsOutliveARestart: claims of today are read back; those of a release
// that kept them by client do no harm and refuse nobody.
func TestClaimsOutliveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits")
	clock := storetest.NewClock()
	bed, e := newBed(t, clock)
	const week = 7 * 24 * time.Hour
	old := storetest.BudgetOf("once:automatic_replies", "client=shop recipient=a@x.example", storetest.Win(ratelimit.Messages, 1, week))
	old.Spare = true
	bed.Ask(t, ratelimit.Request{Recipients: 1}, old)
	if release, err := bed.Limiter(t, nil).Once(t.Context(), "anna@example.org", "a@x.example", week); release == nil || err != nil {
		t.Fatalf("the claim of a client holds an author: %v", err)
	}
	if err := e.Save(path); err != nil {
		t.Fatal(err)
	}
	again, e2 := newBed(t, clock)
	if err := e2.Load(path); err != nil {
		t.Fatal(err)
	}
	l := again.Limiter(t, nil)
	if release, _ := l.Once(t.Context(), "anna@example.org", "a@x.example", week); release != nil {
		t.Error("the claim is forgotten")
	}
	if release, _ := l.Once(t.Context(), "bert@example.org", "a@x.example", week); release == nil {
		t.Error("another author may not")
	}
}

func TestSnapshotOfBeforeTheSecret(t *testing.T) {
	b, err := os.ReadFile("testdata/unkeyed.snapshot")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "limits.snapshot")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, restarts := range []int{1, 3} {
		clock := storetest.NewClock()
		var bed storetest.Bed
		for range restarts {
			var e *Store
			bed, e = newBed(t, clock)
			if err := e.Load(path); err != nil {
				t.Fatal(err)
			}
			if err := e.Save(path); err != nil {
				t.Fatal(err)
			}
		}
		storetest.Upgraded(t, bed)
	}
}
