package upstream

import "time"

// shareMemory is how long a client counts as one that uses a host, after it was last
// given a connection.
const shareMemory = time.Hour

// shares keep one client from having all connections with a host: where others use it,
// too, a client has at most three quarters of them. So a client whose recipients or
// messages the host takes long over does not keep everybody's mail waiting. The lock
// of the host guards it.
//
// The relay itself, which probes and sends alerts, is the client "": nobody has to
// leave it anything.
type shares struct {
	most int // of one client beside others
	of   map[string]*use
}

// use is what one client has.
type use struct {
	n    int       // connections that its transactions have
	last time.Time // given one
}

func newShares(connections int) shares {
	return shares{most: max(1, connections*3/4), of: map[string]*use{}}
}

// may reports whether client may have one more.
func (s *shares) may(client string, now time.Time) bool {
	if u := s.of[client]; u == nil || u.n < s.most {
		return true
	}
	for name, u := range s.of {
		if name != client && name != "" && (u.n > 0 || now.Sub(u.last) < shareMemory) {
			return false
		}
	}
	return true
}

// wants notes that client has asked for a connection.
func (s *shares) wants(client string, now time.Time) {
	u := s.of[client]
	if u == nil {
		u = &use{}
		s.of[client] = u
	}
	u.last = now
}

// took notes that client has got one that it wanted.
func (s *shares) took(client string) { s.of[client].n++ }

// left notes that client has given one back.
func (s *shares) left(client string) { s.of[client].n-- }
