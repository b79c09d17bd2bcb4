// Package brake counts mail to strangers for the brake of the outlier watch: what of
// each submitter is on its way, and the few that a braked one may send in an hour. A
// message counts for the watch when it ends; many at one moment would all pass before
// the first of them has counted. It reads no clock and is not safe for concurrent use.
package brake

import "time"

const (
	// PerHour is how many strangers a braked submitter may write to in an hour, the
	// first one after a part of an hour; what was not used is kept for an hour.
	PerHour = 5
	// keep is how long a pace is remembered after it was asked for: longer than clients
	// wait before they try again.
	keep = 6 * time.Hour
	// maxWays bounds the transactions on their way that are remembered.
	maxWays = 100_000
)

const interval = time.Hour / PerHour

// Book is what is known of those that write to strangers. The zero value is not ready;
// see NewBook. K names a submitter.
type Book[K comparable] struct {
	ways  map[string]way[K] // by the id of the transaction
	on    map[K]int         // strangers on their way
	paced map[K]pace
}

// way is a transaction on its way.
type way[K comparable] struct {
	who K
	n   int // strangers among its recipients
}

// pace is that of a braked submitter. Room for one more comes each interval.
type pace struct {
	next time.Time // when the next one may go
	last time.Time // when it was last asked for
}

// NewBook makes a book without entries.
func NewBook[K comparable]() *Book[K] {
	return &Book[K]{ways: map[string]way[K]{}, on: map[K]int{}, paced: map[K]pace{}}
}

// Others is how many strangers who has on its way in other transactions than id.
func (b *Book[K]) Others(id string, who K) int {
	n := b.on[who]
	if w, ok := b.ways[id]; ok && w.who == who {
		n -= w.n
	}
	return n
}

// Go puts n more strangers of a transaction on their way. A transaction has one
// submitter: where it turns out to be another, what was on its way is that one's.
func (b *Book[K]) Go(id string, who K, n int) {
	w, ok := b.ways[id]
	switch {
	case !ok && len(b.ways) >= maxWays:
		return
	case ok && w.who != who:
		b.End(id)
		w.n = 0
	}
	b.ways[id] = way[K]{who, w.n + n}
	b.on[who] += n
}

// End takes a transaction off its way.
func (b *Book[K]) End(id string) {
	w, ok := b.ways[id]
	if !ok {
		return
	}
	delete(b.ways, id)
	if b.on[w.who] -= w.n; b.on[w.who] <= 0 {
		delete(b.on, w.who)
	}
}

// Wait says how long a braked submitter waits until it may write to n strangers; 0 when
// it may now. More of them than an hour has need all that can be kept.
func (b *Book[K]) Wait(now time.Time, who K, n int) time.Duration {
	p, ok := b.paced[who]
	switch {
	case !ok || now.Sub(p.last) > keep:
		p.next = now.Add(interval) // it is braked anew
	case p.next.Before(now.Add(interval - time.Hour)):
		p.next = now.Add(interval - time.Hour)
	}
	p.last = now
	b.paced[who] = p
	return max(0, p.next.Add(interval*time.Duration(min(n, PerHour)-1)).Sub(now))
}

// Take has a braked submitter, for whom Wait was 0, write to n strangers: the next ones
// wait for as long as these would have taken one by one. Of others it does nothing.
func (b *Book[K]) Take(who K, n int) {
	if p, ok := b.paced[who]; ok {
		p.next = p.next.Add(interval * time.Duration(n))
		b.paced[who] = p
	}
}

// Release forgets the pace of who.
func (b *Book[K]) Release(who K) { delete(b.paced, who) }

// Prune forgets those that have not asked for long.
func (b *Book[K]) Prune(now time.Time) {
	for who, p := range b.paced {
		if now.Sub(p.last) > keep {
			delete(b.paced, who)
		}
	}
}
