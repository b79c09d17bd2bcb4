package api

import (
	"testing"
	"time"

	"postern/outlier"
)

// TestListsAreKeptForAMoment and within bounds: each is found again for two seconds, by
// its own query; the newest stay, and the newest of all however long it is.
func TestListsAreKeptForAMoment(t *testing.T) {
	l, now := newListed(), time.Unix(1e9, 0)
	for i := range 5 {
		l.keep(&list{query: outlier.Query{Limit: i}, made: now, rows: make([]outlier.Row, maxListed/2)})
	}
	for i, kept := range []bool{false, false, false, true, true} {
		if got := l.find(outlier.Query{Limit: i}, now.Add(time.Second)) != nil; got != kept {
			t.Errorf("list %d: %v", i, got)
		}
	}
	l.keep(&list{query: outlier.Query{Limit: 9}, made: now, rows: make([]outlier.Row, 2*maxListed)})
	if l.find(outlier.Query{Limit: 9}, now) == nil || len(l.all) != 1 {
		t.Errorf("%d lists beside a long one", len(l.all))
	}
	if l.find(outlier.Query{Limit: 9}, now.Add(listedFor)) != nil || len(l.all) != 0 {
		t.Error("an old list is kept")
	}
}
