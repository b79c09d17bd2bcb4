package upstream

import (
	"sync"
	"sync/atomic"
)

// offer is what a host has said of one extension when it was last spoken with.
type offer struct{ said atomic.Int32 }

// What a host has said; unheard is nothing yet.
const (
	unheard int32 = iota
	offered
	notOffered
)

func (o *offer) note(yes bool) {
	if yes {
		o.said.Store(offered)
	} else {
		o.said.Store(notOffered)
	}
}

// OffersDSN reports whether every host offered DSN (RFC 3461) in its last reply to
// EHLO: then parameters of DSN reach whoever is chosen. It is false before a host
// has been spoken with, and for an upstream that captures.
func (u *Upstream) OffersDSN() bool {
	for _, h := range u.hosts {
		if h.dsn.said.Load() != offered {
			return false
		}
	}
	return len(u.hosts) > 0
}

// Meet makes a session with each host that nobody has spoken with yet, as mail of
// the route would, and takes leave, so that it is known what the host offers, and
// whether it is up, before the first mail comes. What goes wrong counts as with
// mail. It does not wait: the channel is closed when all have been tried.
func (u *Upstream) Meet(r Route) <-chan struct{} {
	done := make(chan struct{})
	var all sync.WaitGroup
	for _, h := range u.hosts {
		if h.dsn.said.Load() == unheard && h.beginMeeting() {
			all.Go(func() {
				defer h.probing.Done()
				if c, err := u.takeFrom(h.life, h, want{route: r.key(u.opt.Hostname), fresh: true}); err == nil {
					h.dismiss(c)
				}
			})
		}
	}
	go func() {
		all.Wait()
		close(done)
	}()
	return done
}

// beginMeeting is false for a host that is down, which is tried anyway, or one that
// is not wanted any more.
func (h *host) beginMeeting() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.health.down || h.draining || h.closed {
		return false
	}
	h.probing.Add(1)
	return true
}
