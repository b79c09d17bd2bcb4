package check

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/config"
	"postern/mail"
	"postern/outlier"
	"postern/outlier/learn"
	"postern/policy"
	"postern/ratelimit"
	"postern/reputation/identity"
)

// TestStrangersSaysUntilWhenLimitsWait, for each client: one that has been watched for
// long, one for three days, one whose past was read from the journal, and one of whom
// nothing is known.
func TestStrangersSaysUntilWhenLimitsWait(t *testing.T) {
	dir := t.TempDir()
	limit := ratelimit.RuleConfig{Strangers: ratelimit.Numbers{{}}}
	f := &config.File{StateDir: dir, Limit: map[string]ratelimit.RuleConfig{"people": limit}}
	f.Client = map[string]policy.ClientConfig{"long": {}, "new": {}, "past": {}, "unknown": {}}
	now := time.Date(2026, 3, 20, 12, 0, 0, 0, time.UTC)
	ago := func(days int) time.Time { return now.AddDate(0, 0, -days) }
	clock := ago(30)
	watch, stop := watchIn(t, filepath.Join(dir, "outlier"), &clock)
	for _, c := range []struct {
		name string
		days int
	}{{"long", 30}, {"new", 3}, {"past", 2}} {
		clock = ago(c.days)
		watch.Observe(wrote(c.name, clock))
	}
	clock = now
	readPast(t, filepath.Join(dir, "outlier"), watch, &clock, "past", ago)
	stop()

	want := map[string]struct {
		status identity.Status
		seen   string
	}{
		"long":    {identity.Pass, "watched since 2026-02-18"},
		"new":     {identity.Warn, "watched since 2026-03-17: these limits refuse nothing until 2026-03-31"},
		"past":    {identity.Pass, "its past was read from the journal, since 2026-02-28"},
		"unknown": {identity.Warn, "these limits refuse nothing in the 14 days from its first message on"},
	}
	all := tryStrangers(f, now)
	if len(all) != len(want) {
		t.Fatalf("%d findings: %+v", len(all), all)
	}
	for _, found := range all {
		w := want[found.Subject]
		if found.Status != w.status || !strings.Contains(found.Seen, w.seen) || (found.Change == "") != (w.status == identity.Pass) {
			t.Errorf("%+v, want %v and %q", found, w.status, w.seen)
		}
	}

	// What cannot be read is said, and is no pass.
	if err := os.WriteFile(filepath.Join(dir, "outlier", "learned.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, found := range tryStrangers(f, now) {
		if found.Status != identity.Warn || !strings.Contains(found.Change, "can be read") {
			t.Errorf("with a damaged file: %+v", found)
		}
	}
	f.Limit = map[string]ratelimit.RuleConfig{"people": {Messages: limit.Strangers}}
	if all := tryStrangers(f, now); all != nil {
		t.Errorf("without limits on strangers: %+v", all)
	}
}

// watchIn is a watch that keeps its counts in a folder; stop has it write them.
func watchIn(t *testing.T, dir string, clock *time.Time) (w *outlier.Watch, stop func()) {
	t.Helper()
	var cfg outlier.Config
	cfg.SetDefaults()
	w, err := outlier.New(cfg, outlier.Options{Now: func() time.Time { return *clock }, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return w, func() {
		ended, end := context.WithCancel(t.Context())
		end()
		w.Run(ended)
	}
}

func wrote(client string, at time.Time) *mail.Event {
	return &mail.Event{Time: at, Client: client, From: "a@x.example", Outcome: mail.Relayed,
		To: []mail.RecipientEvent{{Address: "b@y.example", Outcome: mail.Relayed, Code: 250, Rule: "upstream"}}}
}

// readPast has a client's mail of each of 20 days read from a journal.
func readPast(t *testing.T, dir string, watch *outlier.Watch, clock *time.Time, client string, ago func(int) time.Time) {
	t.Helper()
	keeper := learn.New(learn.Options{
		Dir: dir, Now: func() time.Time { return *clock }, Watch: watch, Days: 14, Clients: func() []string { return []string{client} },
		Report: func(err error) {
			if err != nil {
				t.Error(err)
			}
		},
		Pause: func(context.Context, time.Duration) {},
		Journal: func(add func(*mail.Event) error) (int, error) {
			for days := 20; days > 0; days-- {
				if err := add(wrote(client, ago(days))); err != nil {
					return 0, err
				}
			}
			return 0, nil
		},
	})
	*clock = clock.Add(2 * time.Minute)
	keeper.Tick(t.Context())
}
