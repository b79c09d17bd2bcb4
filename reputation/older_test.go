package reputation

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/dnstest"
	"postern/internal/statefile"
)

// TestSuppressionsOfAnOlderVersionAreJoined: it went by the letters as sent; the
// longer one holds.
func TestSuppressionsOfAnOlderVersionAreJoined(t *testing.T) {
	c, file := dnstest.NewClock(), filepath.Join(t.TempDir(), "s.json")
	entry := func(recipient string, d time.Duration) string {
		return `{"stream":"main","recipient":"` + recipient + `","until":"` + c.Now().Add(d).Format(time.RFC3339) + `","reason":"r"}`
	}
	text := "[" + entry("Bob@x.example", 2*time.Hour) + "," + entry("bob@x.example", time.Hour) + "," + entry("BOB@x.example", 30*time.Minute) + "]"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := NewSuppressions(0, 0, c.Now)
	if err := s.Load(file); err != nil {
		t.Fatal(err)
	}
	if l := s.List(); len(l) != 1 || l[0].Recipient != "bob@x.example" || l[0].Until.Sub(c.Now()) != 2*time.Hour {
		t.Errorf("read %+v", l)
	}
	c.Add(90 * time.Minute)
	if !s.Suppressed("main", "bob@x.example") {
		t.Error("the shorter one held")
	}
}

// TestHistoryOfAnOlderVersionIsJoined: the larger of two that are one is kept.
func TestHistoryOfAnOlderVersionIsJoined(t *testing.T) {
	h, file := NewHistory(time.Hour), statefile.New(filepath.Join(t.TempDir(), historyFile), maxState)
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	for _, one := range []struct {
		name string
		n    int
	}{{"News@x.example", 3}, {"news@x.example", 5}, {"NEWS@x.example", 1}} {
		h.count(entityKey{aSender, one.name, "main"}, &Transaction{Time: at}, tally{Messages: uint32(one.n), Recipients: uint32(one.n)}, 0)
		h.count(entityKey{aUser, one.name, "main"}, &Transaction{Time: at}, tally{Messages: uint32(one.n), Recipients: uint32(one.n)}, 0)
	}
	if err := h.save(file); err != nil {
		t.Fatal(err)
	}
	again := NewHistory(time.Hour)
	if err := again.load(file); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []entityKind{aSender, aUser} {
		e := again.entities[entityKey{kind, "news@x.example", "main"}]
		if len(again.entities) != 2 || e == nil || e.recipients() != 5 {
			t.Errorf("%s: %+v of %d", kind, e, len(again.entities))
		}
	}
}
