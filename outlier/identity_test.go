package outlier

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/spellings"

	"postern/internal/redistest"
	"postern/internal/syntax"
	"postern/mail"
	"postern/outlier/detector"
)

func parseMailbox(s string) (mail.Address, error) { return syntax.Mailbox(s, true) }

func spelledAddress(t *testing.T, s string) mail.Address {
	t.Helper()
	a, err := parseMailbox(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestWatchKnowsASenderInEverySpelling: counts, suspensions, releases, exemptions
// and expectations of one sender are one, and nobody else's.
func TestWatchKnowsASenderInEverySpelling(t *testing.T) {
	blocks := spellings.Blocks()
	for i, block := range blocks {
		r := newRig(t, func(c *Config) {
			if i%2 == 0 { // as package config hands it over
				c.ExemptSenders = []string{block[0]}
			}
			c.Sender = map[string]Expectation{block[0]: {Expected: []Pace{{Recipients: 900, Window: time.Hour}}}}
		})
		r.parse = parseMailbox
		for _, sender := range block {
			ev := event("shop", "Shop@Example.ORG", spelledAddress(t, sender).Key())
			to(ev, "bob@dest.example", false)
			r.Observe(ev)
			if got := r.rules.exempt.Match(spelledAddress(t, sender).Identity()); got != (i%2 == 0) {
				t.Errorf("%s: exempt %v", sender, got)
			}
		}
		for j, sender := range block {
			scope, name, err := r.FindTarget(sender)
			if err != nil || scope != Sender || name != block[0] {
				t.Fatalf("%s: target %s %s, %v", sender, scope, name, err)
			}
			d, err := r.Show(scope, name)
			if err != nil || d.Messages != len(block) || len(d.Expected) != 1 {
				t.Errorf("%s: %+v, %v", sender, d, err)
			}
			if _, err := r.Suspend(Order{Scope: scope, Name: name}); err != nil {
				t.Fatal(err)
			}
			for k, others := range blocks {
				for _, other := range others {
					if got := r.Judge("shop", "", spelledAddress(t, other).Identity()).Refuse(); got != (k == i) {
						t.Errorf("%s is suspended: %s refused %v", sender, other, got)
					}
				}
			}
			_, name, _ = r.FindTarget("sender:" + block[len(block)-1-j])
			if _, err := r.Release(Order{Scope: Sender, Name: name}); err != nil {
				t.Error(err)
			}
		}
		if rows, _ := r.List(Query{Scope: Sender, Match: strings.ToUpper(block[0][:3])}); len(rows) != 1 && mail.ASCII(block[0]) {
			t.Errorf("%s: %d rows", block[0], len(rows))
		}
	}
}

// olderNote is a transaction as an older version counted it, by the letters.
func olderNote(w *Watch, sender string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.clock.read()
	for i := range n {
		one := detector.Event{At: now.Unix(), Client: "shop", User: "U@x.example", Sender: sender,
			Recipients: []detector.Recipient{{Hash: w.detector.Hash(fmt.Sprint(i)), Took: true}}}
		w.detector.Count(&one, nil)
		if w.disk != nil {
			w.disk.Note(&one)
		}
	}
}

// TestCountsOfAnOlderVersionAreJoined: from the snapshot, and from the log of a
// killed process.
func TestCountsOfAnOlderVersionAreJoined(t *testing.T) {
	for _, snapshot := range []bool{true, false} {
		dir := t.TempDir()
		r := newRigIn(t, dir, nil, nil)
		for sender, n := range map[string]int{"News@x.example": 7, "news@x.example": 3, "NEWS@x.example": 2, "other@x.example": 1} {
			olderNote(r.Watch, sender, n)
		}
		r.tick()
		if snapshot {
			r.disk.Close()
		}
		r.kill()
		r.open(dir, nil, nil)
		rows, _ := r.List(Query{Scope: Sender})
		if len(rows) != 2 {
			t.Fatalf("snapshot %v: %+v", snapshot, rows)
		}
		d, err := r.Show(Sender, "NEWS@x.example")
		// The log holds each message, and so the sum.
		if want := map[bool]int{true: 7, false: 12}[snapshot]; err != nil || d.Messages != want || d.Hour != want {
			t.Errorf("snapshot %v: %d messages, %d in the hour, %v; want %d", snapshot, d.Messages, d.Hour, err, want)
		}
		if d, err := r.Show(User, "u@X.example"); err != nil || d.Messages != 13 {
			t.Errorf("snapshot %v: user %+v, %v", snapshot, d, err)
		}
	}
}

func olderState(name string, level Level, until, since time.Time) State {
	return State{Scope: Sender, Name: name, Level: level, Until: until, Since: since, Rule: RuleManual, Reason: "r", By: "ops"}
}

// TestStatesOfAnOlderVersionAreJoined: the harder one holds, whichever was
// written last; one that was released is not.
func TestStatesOfAnOlderVersionAreJoined(t *testing.T) {
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	ago := func(h int) time.Time { return at.Add(-time.Duration(h) * time.Hour) }
	file := []State{
		olderState("Hard@x.example", Suspended, time.Time{}, ago(5)), olderState("hard@x.example", Throttled, at.Add(time.Hour), ago(4)),
		olderState("Long@x.example", Suspended, at.Add(2*time.Hour), ago(3)), olderState("long@x.example", Suspended, at.Add(time.Hour), ago(2)),
		olderState("Over@x.example", Suspended, ago(1), ago(3)), olderState("over@x.example", Throttled, at.Add(time.Hour), ago(3)),
		olderState("Freed@x.example", Suspended, time.Time{}, ago(5)), olderState("Freed@x.example", Normal, time.Time{}, ago(4)),
	}
	dir := t.TempDir()
	var lines []byte
	for i := range file {
		line, err := json.Marshal(&file[i])
		if err != nil {
			t.Fatal(err)
		}
		lines = append(append(lines, line...), '\n')
	}
	if err := os.WriteFile(filepath.Join(dir, "states.jsonl"), lines, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRigIn(t, dir, nil, nil)
	for range 2 { // the second time from the file that the first has written
		got := map[string]string{}
		for k, s := range r.states {
			got[k.Name] = fmt.Sprintf("%s %s", s.Level, s.Until.Format(time.TimeOnly))
		}
		for name, want := range map[string]string{
			"hard@x.example": "suspend 00:00:00", "long@x.example": "suspend 11:00:00", "over@x.example": "throttle 10:00:00", "freed@x.example": "normal 00:00:00",
		} {
			if got[name] != want || len(got) != 4 {
				t.Errorf("%s: %q of %v, want %q", name, got[name], got, want)
			}
		}
		r.kill()
		r.open(dir, nil, nil)
	}
}

// TestSharedStatesOfAnOlderVersionAreJoined: in Redis, where the old names go
// away and a release of the one name is the last word.
func TestSharedStatesOfAnOlderVersionAreJoined(t *testing.T) {
	s := redistest.Start(t)
	c := client(t, s.Addr)
	now := time.Now()
	for _, st := range []State{
		olderState("News@x.example", Suspended, time.Time{}, now.Add(-2*time.Hour)),
		olderState("news@x.example", Normal, time.Time{}, now.Add(-time.Hour)),
	} {
		line, err := json.Marshal(&st)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.HSet(t.Context(), "test:{outlier}:states", st.Scope+" "+st.Name, line).Err(); err != nil {
			t.Fatal(err)
		}
	}
	held := func(n *sharedNode) bool { return n.Judge("shop", "", "news@x.example").Refuse() }
	n := startNode(t, s.Addr)
	if !held(n) {
		t.Error("the harder state does not hold")
	}
	eventually(t, "the old name to go", func() bool {
		all, err := c.HGetAll(t.Context(), "test:{outlier}:states").Result()
		return err == nil && len(all) == 1 && strings.Contains(all["sender news@x.example"], `"suspend"`)
	})
	other := startNode(t, s.Addr)
	if !held(other) {
		t.Error("another node does not know")
	}
	if _, err := other.Release(Order{Scope: Sender, Name: "NEWS@x.example"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the release", func() bool { return !held(n) })
	if third := startNode(t, s.Addr); held(third) {
		t.Error("what was released is suspended again")
	}
}
