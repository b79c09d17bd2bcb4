package access

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// maxGuesses is how many wrong tokens an address may try within guessTime; further
	// ones hear 429. A right one passes all the same: who shares an address with a
	// client that guesses is not kept out, and nobody guesses 256 random bits.
	maxGuesses = 10
	guessTime  = time.Minute
	// maxAddresses is how many addresses are remembered.
	maxAddresses = 4096
)

// guesses counts wrong tokens by address, an IPv6 /64 as one.
type guesses struct {
	now  func() time.Time
	mu   sync.Mutex
	from map[netip.Prefix]*tries
}

// tries are the wrong tokens of one address since a time.
type tries struct {
	since time.Time
	n     int
}

func newGuesses(now func() time.Time) *guesses {
	return &guesses{now: now, from: map[netip.Prefix]*tries{}}
}

// wrong counts one; wait is how long the address has to wait, 0 while it may go on.
// first says that it is the first one for a while, and so worth a line in the log.
func (g *guesses) wrong(addr netip.Addr) (wait time.Duration, first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, key := g.now(), network(addr)
	one := g.from[key]
	if one == nil || now.Sub(one.since) >= guessTime {
		g.makeRoomLocked(now)
		one = &tries{since: now}
		g.from[key] = one
	}
	one.n++
	if one.n <= maxGuesses {
		return 0, one.n == 1
	}
	return one.since.Add(guessTime).Sub(now), one.n == maxGuesses+1
}

// makeRoomLocked forgets who has waited long enough, and else anybody.
func (g *guesses) makeRoomLocked(now time.Time) {
	if len(g.from) < maxAddresses {
		return
	}
	for key, one := range g.from {
		if now.Sub(one.since) >= guessTime {
			delete(g.from, key)
		}
	}
	for key := range g.from {
		if len(g.from) < maxAddresses {
			return
		}
		delete(g.from, key)
	}
}

// network is what counts as one address.
func network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // all that have no address together
	}
	return p
}
