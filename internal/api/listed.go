package api

import (
	"context"
	"slices"
	"sync"
	"time"

	"postern/outlier"
)

const (
	// listedFor is how long a list of senders is used again: to make one takes a tenth of
	// a second where there are 100,000.
	listedFor = 2 * time.Second
	// maxListed bounds the rows of all lists that are kept, beside the newest list.
	maxListed = 200_000
)

// listed keeps the last lists of senders, so that who turns pages, and several who look
// at once, cost one. Lists are made one at a time; who waits for that holds no lock.
type listed struct {
	making chan struct{} // holds one while a list is made
	mu     sync.Mutex
	all    []*list // the latest first
}

// list is what was answered to a query. Nobody may change it.
type list struct {
	query outlier.Query
	made  time.Time
	rows  []outlier.Row
	total int
}

func newListed() *listed { return &listed{making: make(chan struct{}, 1)} }

// rows are those of a query, at most listedFor old. Nobody may change them. The error is
// that of ctx.
func (a *API) rows(ctx context.Context, q outlier.Query) ([]outlier.Row, int, error) {
	l := a.listed
	if one := l.find(q, a.parts.Now()); one != nil {
		return one.rows, one.total, nil
	}
	select {
	case l.making <- struct{}{}:
		defer func() { <-l.making }()
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	one := l.find(q, a.parts.Now()) // who had the place before may have made it
	if one == nil {
		one = &list{query: q, made: a.parts.Now()}
		one.rows, one.total = a.parts.Watch.List(q)
		l.keep(one)
		time.AfterFunc(listedFor, func() { l.find(q, a.parts.Now()) }) // it takes what is old away
	}
	return one.rows, one.total, nil
}

// find is the list of a query that is kept, and takes away those that are too old; nil:
// there is none.
func (l *listed) find(q outlier.Query, now time.Time) *list {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = slices.DeleteFunc(l.all, func(one *list) bool { return now.Sub(one.made).Abs() >= listedFor })
	for _, one := range l.all {
		if one.query == q {
			return one
		}
	}
	return nil
}

// keep keeps a new list, and older ones as far as there is room.
func (l *listed) keep(one *list) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = slices.Insert(l.all, 0, one)
	rows := 0
	for i, one := range l.all {
		if rows += len(one.rows); i > 0 && rows > maxListed {
			l.all = slices.Delete(l.all, i, len(l.all))
			return
		}
	}
}

// forget makes the next list anew, after something was done.
func (a *API) forget() {
	a.listed.mu.Lock()
	defer a.listed.mu.Unlock()
	a.listed.all = nil
}
