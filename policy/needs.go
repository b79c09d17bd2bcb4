package policy

import (
	"iter"
	"net/netip"
	"slices"

	"postern/mail"
)

// need is a set of what peers may still need to become clients, one bit for
// each kind of client.
type need uint8

const (
	needsUser     need = 1 << iota // AUTH
	needsUserTLS                   // AUTH under TLS
	needsTLS                       // TLS alone
	needsCert                      // a certificate, which can come with TLS only
	needsCertUser                  // both
	needsNothing                   // its address is enough
)

// way is one kind of client: what peers need to become one, and where its mail
// goes.
type way struct {
	need   need
	stream string
}

// needs tells by address what would help there.
type needs struct {
	anywhere []way // of clients without networks
	networks byNetwork[[]way]
}

// addWay returns ways with w among them.
func addWay(ways []way, w way) []way {
	if slices.Contains(ways, w) {
		return ways
	}
	return append(ways, w)
}

func (c *Client) need() need {
	users, certs := len(c.cfg.Users) > 0, len(c.cfg.Certificates) > 0
	switch {
	case certs && users:
		return needsCertUser
	case certs:
		return needsCert
	case users && c.cfg.RequireTLS:
		return needsUserTLS
	case users:
		return needsUser
	case c.cfg.RequireTLS:
		return needsTLS
	}
	return needsNothing
}

func (x *index) addNeeds(c *Client) {
	listeners := c.cfg.Listeners
	if len(listeners) == 0 {
		listeners = []string{""}
	}
	for _, name := range listeners {
		l := x.needs[name]
		if l == nil {
			l = &needs{}
			x.needs[name] = l
		}
		w := way{c.need(), c.cfg.Stream}
		if len(c.cfg.Networks) == 0 {
			l.anywhere = addWay(l.anywhere, w)
		}
		for _, n := range c.cfg.Networks {
			l.networks.change(n, func(here []way) []way { return addWay(here, w) })
		}
	}
}

// ways yields those that lead to a client on this listener at this address.
func (x *index) ways(p *mail.Peer, ip netip.Addr) iter.Seq[way] {
	return func(yield func(way) bool) {
		for _, name := range [...]string{"", p.Listener} {
			l := x.needs[name]
			if l == nil {
				continue
			}
			for _, w := range l.anywhere {
				if !yield(w) {
					return
				}
			}
			for _, here := range l.networks.around(ip) {
				for _, w := range here {
					if !yield(w) {
						return
					}
				}
			}
		}
	}
}

// need gathers what would help on this listener at this address.
func (x *index) need(p *mail.Peer, ip netip.Addr) (all need) {
	for w := range x.ways(p, ip) {
		all |= w.need
	}
	return all
}

// noClient is the reply to a peer that is not a client. It tells of AUTH and TLS
// only where that would help.
func (r *Rules) noClient(p *mail.Peer, ip netip.Addr) *mail.Reply {
	all, encrypted := r.index.need(p, ip), p.TLS.On()
	switch {
	case p.User != "" && encrypted: // all is said and done
	case p.User != "":
		// A client of this user that the peer reaches fails for want of TLS only.
		ofUser := func(c *Client) bool { return c.reaches(p, ip) }
		if all&(needsTLS|needsCert) != 0 || slices.ContainsFunc(r.index.users[p.User], ofUser) || slices.ContainsFunc(r.index.users[AnyUser], ofUser) {
			return replyTLSRequired()
		}
	case all&needsUser != 0,
		encrypted && all&needsUserTLS != 0,
		encrypted && all&needsCertUser != 0 && r.needsUser(p, ip):
		return replyAuthRequired()
	case !encrypted && all&^needsNothing != 0:
		return replyTLSRequired()
	}
	return replyNotAClient(ip)
}

// needsUser reports whether the peer's certificate is that of a client that
// asks for a SASL user as well.
func (r *Rules) needsUser(p *mail.Peer, ip netip.Addr) bool {
	return slices.ContainsFunc(p.Certificates, func(name string) bool {
		return slices.ContainsFunc(r.index.certs[mail.LowerASCII(name)], func(c *Client) bool {
			return len(c.cfg.Users) > 0 && c.reaches(p, ip)
		})
	})
}

// reaches reports whether p is where c may connect.
func (c *Client) reaches(p *mail.Peer, ip netip.Addr) bool {
	_, ok := c.from(ip)
	return ok && c.onListener(p)
}

// MayAuth reports whether AUTH could make this peer a client: one that names
// users, on this listener and from this address. Where it is false, passwords
// are of no use and AUTH need not be offered.
func (r *Rules) MayAuth(p *mail.Peer) bool {
	return r.index.need(p, address(p))&(needsUser|needsUserTLS|needsCertUser) != 0
}

// Ways are the ways in which a listener lets a peer show who it is, besides its address.
type Ways struct {
	Password    bool // AUTH with a password, under TLS where it needs that
	TLS         bool
	Certificate bool // under TLS
}

// MayBecome reports whether a peer that has just connected could become a client on its
// listener: whether there is a client that admits its address and asks for nothing that w
// does not offer.
func (r *Rules) MayBecome(p *mail.Peer, w Ways) bool {
	return r.index.need(p, address(p))&able(w.TLS, w.Certificate, w.Password) != 0
}

// Streams yields the streams of the clients that a peer is, or can become before it says
// EHLO again; auth says that AUTH is offered to it. A stream may come more than once, and
// also for a client that the peer's certificate does not fit.
func (r *Rules) Streams(p *mail.Peer, auth bool) iter.Seq[string] {
	return func(yield func(string) bool) {
		if p.User != "" {
			if c, refused := r.Client(p); refused == nil {
				yield(c.Stream())
			}
			return
		}
		able := able(p.TLS.On(), len(p.Certificates) > 0, auth)
		for w := range r.index.ways(p, address(p)) {
			if w.need&able != 0 && !yield(w.stream) {
				return
			}
		}
	}
}

// able is what a peer has, or can show.
func able(tls, certificate, password bool) need {
	all := needsNothing
	add := func(n need, has bool) {
		if has {
			all |= n
		}
	}
	add(needsUser, password)
	add(needsTLS, tls)
	add(needsUserTLS, tls && password)
	add(needsCert, tls && certificate)
	add(needsCertUser, tls && certificate && password)
	return all
}

// InNetworks reports whether the peer's address lies in the networks of a client that may
// use the peer's listener.
func (r *Rules) InNetworks(p *mail.Peer) bool {
	ip := address(p)
	for _, name := range [...]string{"", p.Listener} {
		if l := r.index.needs[name]; l != nil {
			for range l.networks.around(ip) {
				return true
			}
		}
	}
	return false
}

// HaveNetworks reports whether a client that may use the listener has networks.
func (r *Rules) HaveNetworks(listener string) bool {
	for _, name := range [...]string{"", listener} {
		if l := r.index.needs[name]; l != nil && len(l.networks.lengths) > 0 {
			return true
		}
	}
	return false
}

// ByAddress is the name of the client that the peer's address alone suggests on its
// listener; "" where it suggests none, and where only one client is configured.
func (r *Rules) ByAddress(p *mail.Peer) string {
	if len(r.clients) < 2 {
		return ""
	}
	for _, here := range r.index.networks.around(address(p)) {
		for _, c := range here {
			if l := c.cfg.Listeners; len(l) == 0 || slices.Contains(l, p.Listener) {
				return c.name
			}
		}
	}
	return ""
}
