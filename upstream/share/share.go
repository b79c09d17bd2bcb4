// Package share keeps one client from having all connections with a host or a group of
// receivers, or all turns under the rate of a group, which are counted in the same way.
//
// A client whose recipients the other side takes long over, or that sends more than it
// takes, would otherwise keep everybody's mail waiting. So where others use the same
// connections, too, a client has at most three quarters of them; one that is alone has
// all. The relay itself, which probes hosts and sends alerts, is the client "": nobody
// has to leave it anything.
package share

import (
	"maps"
	"time"
)

// memory is how long a client counts as one that uses the connections, after it last
// wanted one.
const memory = time.Hour

// Shares are the connections that each client has. They are not safe for concurrent use:
// the caller guards them with a lock of its own.
type Shares struct {
	most  int // of one client beside others; 0: any
	of    map[string]*use
	sweep int // clients from which on those that count no longer are forgotten
}

// fewClients are kept without a look at whether they still count.
const fewClients = 64

// use is what one client has.
type use struct {
	n    int       // connections
	last time.Time // wanted one
}

// New makes the shares of so many connections; 0: they have no bound.
func New(connections int) *Shares {
	s := &Shares{of: map[string]*use{}, sweep: fewClients}
	if connections > 0 {
		s.most = max(1, connections*3/4)
	}
	return s
}

// Wants notes that client asks for a connection. It comes before May and Took.
func (s *Shares) Wants(client string, now time.Time) {
	u := s.of[client]
	if u == nil {
		s.forget(now)
		u = &use{}
		s.of[client] = u
	}
	u.last = now
}

// forget leaves out who has no connection and has wanted none for an hour, each time that
// twice as many clients have come as were left.
func (s *Shares) forget(now time.Time) {
	if len(s.of) < s.sweep {
		return
	}
	maps.DeleteFunc(s.of, func(_ string, u *use) bool { return u.n == 0 && now.Sub(u.last) >= memory })
	s.sweep = max(fewClients, 2*len(s.of))
}

// May reports whether client may have n more connections at once. A client that has none
// always may.
func (s *Shares) May(client string, n int, now time.Time) bool {
	if have := s.of[client].n; s.most == 0 || have == 0 || have+n <= s.most {
		return true
	}
	for name, u := range s.of {
		if name != client && name != "" && (u.n > 0 || now.Sub(u.last) < memory) {
			return false
		}
	}
	return true
}

// Took notes that client has got n connections.
func (s *Shares) Took(client string, n int) { s.of[client].n += n }

// Left notes that client has given n connections back.
func (s *Shares) Left(client string, n int) { s.of[client].n -= n }
