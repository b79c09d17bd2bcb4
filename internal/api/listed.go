package api

import (
	"sync"
	"time"

	"postern/outlier"
)

// listedFor is how long a list of senders is used again: to make one takes a tenth of a
// second where there are 100,000, and the watch has no time for mail meanwhile.
const listedFor = 2 * time.Second

// listed keeps the last lists of senders, so that who turns pages, and several who look
// at once, cost one.
type listed struct {
	mu  sync.Mutex
	all [4]struct { // the latest first
		query outlier.Query
		made  time.Time
		rows  []outlier.Row
		total int
	}
}

// rows are those of a query, at most listedFor old. Nobody may change them.
func (a *API) rows(q outlier.Query) ([]outlier.Row, int) {
	l := &a.listed
	l.mu.Lock()
	defer l.mu.Unlock()
	now := a.parts.Now()
	for i := range l.all {
		one := &l.all[i]
		if age := now.Sub(one.made); one.query == q && age >= 0 && age < listedFor {
			return one.rows, one.total
		}
	}
	copy(l.all[1:], l.all[:])
	one := &l.all[0]
	one.query, one.made = q, now
	one.rows, one.total = a.parts.Watch.List(q)
	return one.rows, one.total
}

// forget makes the next list anew, after something was done.
func (a *API) forget() {
	a.listed.mu.Lock()
	defer a.listed.mu.Unlock()
	for i := range a.listed.all {
		a.listed.all[i].made = time.Time{}
	}
}
