package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"sync"
)

// Tried is how the making of a session with one host went, up to where MAIL may
// come.
type Tried struct {
	Host   string // "name:port"
	Err    error  // nil: MAIL could have come
	Source netip.Addr
	// Greeting is the text of the host's greeting behind the code.
	Greeting string
	TLS      *tls.ConnectionState // nil: not encrypted
	// OfSource: Err is about the route's source address, of which this machine
	// has none that will do. OfLogin: it is about the credentials.
	OfSource, OfLogin bool
}

// Try makes a session with each host as mail of the route would, whatever state
// the host is in, and takes leave; the result is in order of preference, empty
// for an upstream that captures. It is meant for an Upstream made for the trial:
// a host that refused the credentials is not asked with them again for a while.
func (u *Upstream) Try(ctx context.Context, r Route) []Tried {
	all := make([]Tried, len(u.hosts))
	var wait sync.WaitGroup
	for i, h := range u.hosts {
		wait.Go(func() { all[i] = u.try(ctx, h, r.key(u.opt.Hostname)) })
	}
	wait.Wait()
	return all
}

func (u *Upstream) try(ctx context.Context, h *host, rt route) Tried {
	t := Tried{Host: h.addr}
	c, err := u.connect(ctx, h, rt)
	if err != nil {
		t.Err, t.OfSource, t.OfLogin = err, errors.Is(err, ErrSource), errors.Is(err, errLogin)
		return t
	}
	t.Source, t.Greeting = c.source, c.greeting
	if s, ok := c.net.(*tls.Conn); ok {
		state := s.ConnectionState()
		t.TLS = &state
	}
	c.quit()
	return t
}
