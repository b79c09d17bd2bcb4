package bygroup

import (
	"maps"
	"slices"
	"time"

	"postern/reputation/identity"
)

// Bounds of what is remembered of witnesses.
const (
	// Many is how many unrelated domains must say the same.
	Many = 3
	// remember is how long a domain's word counts.
	remember = time.Hour
	most     = 64 // domains
	clients  = 8  // of each
)

// Witnesses are domains of one group whose hosts have said the same of us. The zero
// value has none. It is not safe for concurrent use.
type Witnesses struct {
	words map[string]*word // by registered domain: who owns that owns all below
}

type word struct {
	at      time.Time
	clients []string // whose mail has heard it
}

// Heard notes that hosts of a domain have said it to the mail of a client.
func (w *Witnesses) Heard(domain, client string, now time.Time) {
	_, domain = identity.RegisteredDomain(domain)
	if w.words == nil {
		w.words = map[string]*word{}
	}
	x := w.words[domain]
	if x == nil {
		w.makeRoom(now)
		x = &word{}
		w.words[domain] = x
	}
	if now.Sub(x.at) > remember {
		x.clients = nil
	}
	x.at = now
	if len(x.clients) < clients && !slices.Contains(x.clients, client) {
		x.clients = append(x.clients, client)
	}
}

// makeRoom forgets what is over, and what is the oldest where that is not enough.
func (w *Witnesses) makeRoom(now time.Time) {
	oldest := ""
	for d, x := range w.words {
		if now.Sub(x.at) > remember {
			delete(w.words, d)
		} else if oldest == "" || x.at.Before(w.words[oldest].at) {
			oldest = d
		}
	}
	if len(w.words) >= most {
		delete(w.words, oldest)
	}
}

// Took notes that a host has taken mail for a domain: what was said for that domain no
// longer counts. It reports whether no witness is left.
func (w *Witnesses) Took(domain string, now time.Time) (none bool) {
	if len(w.words) > 0 {
		_, domain = identity.RegisteredDomain(domain)
		maps.DeleteFunc(w.words, func(d string, x *word) bool { return d == domain || now.Sub(x.at) > remember })
	}
	return len(w.words) == 0
}

// Proven reports whether enough of them say it: of mail of two clients, unless the
// stream has only one.
func (w *Witnesses) Proven(clientsOfStream int, now time.Time) bool {
	n := 0
	heard := map[string]bool{}
	for _, x := range w.words {
		if now.Sub(x.at) > remember {
			continue
		}
		n++
		for _, c := range x.clients {
			heard[c] = true
		}
	}
	return n >= Many && (len(heard) > 1 || clientsOfStream < 2)
}
