package policy

import (
	"net/netip"
	"slices"

	"postern/mail"
)

// lack is a set of what peers may still lack to become clients, one bit for
// each kind of client.
type lack uint8

const (
	lacksUser     lack = 1 << iota // AUTH
	lacksUserTLS                   // AUTH under TLS
	lacksTLS                       // TLS alone
	lacksCert                      // a certificate, which can come with TLS only
	lacksCertUser                  // both
	lacksNothing                   // its address is enough
)

// lacks tells by address what would help there.
type lacks struct {
	anywhere lack // of clients without networks
	networks byNetwork[lack]
}

func (c *Client) lack() lack {
	users, certs := len(c.cfg.Users) > 0, len(c.cfg.Certificates) > 0
	switch {
	case certs && users:
		return lacksCertUser
	case certs:
		return lacksCert
	case users && c.cfg.RequireTLS:
		return lacksUserTLS
	case users:
		return lacksUser
	case c.cfg.RequireTLS:
		return lacksTLS
	}
	return lacksNothing
}

func (x *index) addLacks(c *Client) {
	listeners := c.cfg.Listeners
	if len(listeners) == 0 {
		listeners = []string{""}
	}
	for _, name := range listeners {
		l := x.lacks[name]
		if l == nil {
			l = &lacks{}
			x.lacks[name] = l
		}
		if len(c.cfg.Networks) == 0 {
			l.anywhere |= c.lack()
		}
		for _, n := range c.cfg.Networks {
			l.networks.change(n, func(here lack) lack { return here | c.lack() })
		}
	}
}

// lack gathers what would help on this listener at this address.
func (x *index) lack(p *mail.Peer, ip netip.Addr) (all lack) {
	for _, name := range [...]string{"", p.Listener} {
		if l := x.lacks[name]; l != nil {
			all |= l.anywhere
			for _, here := range l.networks.around(ip) {
				all |= here
			}
		}
	}
	return all
}

// noClient is the reply to a peer that is no client. It tells of AUTH and TLS
// only where that would help.
func (r *Rules) noClient(p *mail.Peer, ip netip.Addr) *mail.Reply {
	all, encrypted := r.index.lack(p, ip), p.TLS.On()
	switch {
	case p.User != "" && encrypted: // all is said and done
	case p.User != "":
		// A client of this user that the peer reaches fails for want of TLS only.
		ofUser := func(c *Client) bool { return c.reaches(p, ip) }
		if all&(lacksTLS|lacksCert) != 0 || slices.ContainsFunc(r.index.users[p.User], ofUser) || slices.ContainsFunc(r.index.users[AnyUser], ofUser) {
			return replyTLSRequired()
		}
	case all&lacksUser != 0,
		encrypted && all&lacksUserTLS != 0,
		encrypted && all&lacksCertUser != 0 && r.lacksUser(p, ip):
		return replyAuthRequired()
	case !encrypted && all&^lacksNothing != 0:
		return replyTLSRequired()
	}
	return replyNotAClient(ip)
}

// lacksUser reports whether the peer's certificate is that of a client that
// asks for a SASL user as well.
func (r *Rules) lacksUser(p *mail.Peer, ip netip.Addr) bool {
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
	return r.index.lack(p, address(p))&(lacksUser|lacksUserTLS|lacksCertUser) != 0
}

// Ways are those in which a listener lets a peer show who it is, besides its
// address.
type Ways struct {
	Password    bool // AUTH with a password, under TLS where it needs that
	TLS         bool
	Certificate bool // under TLS
}

// MayBecome reports whether a peer that has just connected could become a client
// on its listener: one that its address meets, by whatever else the client asks
// for, as far as the listener takes it.
func (r *Rules) MayBecome(p *mail.Peer, w Ways) bool {
	able := lacksNothing
	if w.Password {
		able |= lacksUser
	}
	if w.TLS {
		able |= lacksTLS
	}
	if w.TLS && w.Password {
		able |= lacksUserTLS
	}
	if w.Certificate {
		able |= lacksCert
	}
	if w.Certificate && w.Password {
		able |= lacksCertUser
	}
	return r.index.lack(p, address(p))&able != 0
}

// InNetworks reports whether the peer's address is in the networks of a client
// that may use its listener.
func (r *Rules) InNetworks(p *mail.Peer) bool {
	ip := address(p)
	for _, name := range [...]string{"", p.Listener} {
		if l := r.index.lacks[name]; l != nil {
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
		if l := r.index.lacks[name]; l != nil && len(l.networks.lengths) > 0 {
			return true
		}
	}
	return false
}
