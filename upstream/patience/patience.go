// Package patience keeps slow receivers from holding all sessions of a client.
//
// A relay without a queue answers its client when the receiver has answered, and a
// receiver may take ten minutes for that (RFC 5321 s. 4.5.3.2.6). In this way the owner
// of a domain to which a client writes could hold up that client's mail to everybody else.
// So once a receiver has kept a transaction waiting for 30 seconds, and for an hour after
// the last time, a client may have a quarter of its transactions with that receiver, and
// at least three. What goes beyond is refused for now, at RCPT, and the client's other mail
// goes on.
//
// The relay itself, which sends alerts, is the client "", and is not counted.
//
// A receiver is a name that the caller chooses, such as the owner of a domain or the
// network of its hosts; a transaction may be with several of them.
package patience

import (
	"maps"
	"sync"
	"time"
)

const (
	// slowAfter is how long a transaction has waited in all when its receiver is slow.
	slowAfter = 30 * time.Second
	// memory is how long a receiver counts as slow after the last such transaction.
	memory = time.Hour
	// part and few are what a client may have with a slow receiver: a part of all that
	// it has, and a few in any case.
	part = 4
	few  = 3
	// maxSlow is how many receivers are remembered as slow.
	maxSlow = 10_000
)

// Book knows what waits for whom. It is safe for concurrent use, and its memory is bounded
// by the transactions under way and 10,000 slow receivers.
type Book struct {
	now func() time.Time

	mu    sync.Mutex
	all   map[string]int                 // transactions, by client
	at    map[string]map[*Visit]struct{} // by receiver
	until map[string]time.Time           // receivers that count as slow
}

// New makes an empty book. A nil now is time.Now.
func New(now func() time.Time) *Book {
	if now == nil {
		now = time.Now
	}
	return &Book{now: now, all: map[string]int{}, at: map[string]map[*Visit]struct{}{}, until: map[string]time.Time{}}
}

// Visit is one transaction of a client. One goroutine at a time uses it.
type Visit struct {
	book   *Book
	client string
	at     []string // receivers
	waited time.Duration
	since  time.Time // of the present wait; zero: it does not wait
	ended  bool
}

// Begin notes a transaction of client; the caller calls End in the end.
func (b *Book) Begin(client string) *Visit {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all[client]++
	return &Visit{book: b, client: client}
}

// To reports whether the transaction may go on to a receiver, and notes that it does.
// It may where the receiver is not slow, or the client has less than its part there.
func (v *Visit) To(receiver string) bool {
	b := v.book
	b.mu.Lock()
	defer b.mu.Unlock()
	visits := b.at[receiver]
	if _, is := visits[v]; is || v.ended || v.client == "" {
		return true
	}
	if now := b.now(); b.slow(receiver, now) {
		n := 0
		for other := range visits {
			if other.client == v.client {
				n++
			}
		}
		if n >= max(few, b.all[v.client]/part) {
			return false
		}
	}
	if visits == nil {
		visits = map[*Visit]struct{}{}
		b.at[receiver] = visits
	}
	visits[v] = struct{}{}
	v.at = append(v.at, receiver)
	return true
}

// slow reports whether a receiver counts as slow; b.mu is held.
func (b *Book) slow(receiver string, now time.Time) bool {
	if until, ok := b.until[receiver]; ok && now.Before(until) {
		return true
	}
	for v := range b.at[receiver] {
		if v.total(now) >= slowAfter {
			return true
		}
	}
	return false
}

// total is how long the transaction has waited in all.
func (v *Visit) total(now time.Time) time.Duration {
	if v.since.IsZero() {
		return v.waited
	}
	return v.waited + now.Sub(v.since)
}

// Wait notes that the transaction waits for its receivers from now on, until the
// function that it returns is called.
func (v *Visit) Wait() (done func()) {
	b := v.book
	b.mu.Lock()
	defer b.mu.Unlock()
	v.since = b.now()
	return v.heard
}

// heard ends a wait.
func (v *Visit) heard() {
	b := v.book
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	v.waited, v.since = v.total(now), time.Time{}
	if v.waited < slowAfter {
		return
	}
	for _, receiver := range v.at {
		b.remember(receiver, now)
	}
}

// remember notes that a receiver is slow; b.mu is held.
func (b *Book) remember(receiver string, now time.Time) {
	if len(b.until) >= maxSlow {
		maps.DeleteFunc(b.until, func(_ string, until time.Time) bool { return !now.Before(until) })
	}
	if _, known := b.until[receiver]; known || len(b.until) < maxSlow {
		b.until[receiver] = now.Add(memory)
	}
}

// Leave ends the stay with all receivers. The transaction may go on to others.
func (v *Visit) Leave() {
	v.book.mu.Lock()
	defer v.book.mu.Unlock()
	v.leave()
}

// leave is Leave with the book's lock held.
func (v *Visit) leave() {
	b := v.book
	for _, receiver := range v.at {
		delete(b.at[receiver], v)
		if len(b.at[receiver]) == 0 {
			delete(b.at, receiver)
		}
	}
	v.at, v.waited = nil, 0
	if !v.since.IsZero() {
		v.since = b.now()
	}
}

// End ends the transaction. Calls after the first do nothing.
func (v *Visit) End() {
	b := v.book
	b.mu.Lock()
	defer b.mu.Unlock()
	if v.ended {
		return
	}
	v.leave()
	v.ended = true
	if b.all[v.client]--; b.all[v.client] <= 0 {
		delete(b.all, v.client)
	}
}
