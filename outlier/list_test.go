package outlier

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"
)

// TestListLetsMailGoOn: it looks at some senders at a time, and at each once, however
// many there are.
func TestListLetsMailGoOn(t *testing.T) {
	var cfg Config
	cfg.SetDefaults()
	reads, at := 0, time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	w, err := New(cfg, Options{Now: func() time.Time { reads++; return at }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	const senders = 10_000
	for i := range senders {
		ev := event("shop", "", fmt.Sprintf("s%d@example.org", i))
		to(ev, "r@y.example", false)
		w.Observe(ev)
	}
	if _, err := w.Suspend(Order{Scope: Sender, Name: "new@example.org", Reason: "x", By: "me"}); err != nil {
		t.Fatal(err)
	}
	reads = 0
	rows, all := w.List(Query{Scope: Sender, Limit: 2 * senders})
	if all != senders+1 || len(rows) != all || rows[0].Name != "new@example.org" {
		t.Errorf("%d rows of %d, the first %+v", len(rows), all, rows[0])
	}
	seen := map[string]bool{}
	for i := range rows {
		seen[rows[i].Name] = true
	}
	if len(seen) != all {
		t.Errorf("%d names in %d rows", len(seen), all)
	}
	if reads < senders/listAtOnce {
		t.Errorf("the watch had time for mail %d times only", reads)
	}
	for _, sort := range append(Sorts, "") {
		whole, _ := w.List(Query{Sort: sort, Limit: 2 * senders})
		some, all := w.List(Query{Sort: sort, Limit: 1500})
		left := 1500
		whole = slices.DeleteFunc(whole, func(r Row) bool {
			if r.State < Throttled {
				left--
			}
			return r.State < Throttled && left < 0
		})
		if all != senders+2 || len(some) != 1502 || !slices.Equal(some, whole) {
			t.Errorf("sorted by %q: %d of %d, and not the first of them", sort, len(some), all)
		}
	}
	if rows, all := w.List(Query{Scope: Sender, State: Suspended}); all != 1 || len(rows) != 1 {
		t.Errorf("suspended: %d, %+v", all, rows)
	}
}

func BenchmarkList(b *testing.B) {
	var cfg Config
	cfg.SetDefaults()
	w, err := New(cfg, Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 100_000 {
		ev := event("shop", "", fmt.Sprintf("s%d@example.org", i))
		to(ev, "r@y.example", false)
		w.Observe(ev)
	}
	for b.Loop() {
		w.List(Query{})
	}
}
