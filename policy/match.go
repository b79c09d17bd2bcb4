package policy

import (
	"cmp"
	"net/netip"
	"slices"

	"postern/mail"
)

// index finds the few clients that a peer could be.
type index struct {
	lengths  []int // of the networks in use, longest first
	networks map[netip.Prefix][]*Client
	users    map[string][]*Client // clients without networks
	certs    map[string][]*Client // clients without networks and users
}

func newIndex(clients []*Client) index {
	x := index{networks: map[netip.Prefix][]*Client{}, users: map[string][]*Client{}, certs: map[string][]*Client{}}
	for _, c := range clients {
		switch {
		case len(c.cfg.Networks) > 0:
			for _, n := range c.cfg.Networks {
				x.networks[n] = append(x.networks[n], c)
				x.lengths = append(x.lengths, n.Bits())
			}
		case len(c.cfg.Users) > 0:
			for _, u := range c.cfg.Users {
				x.users[u] = append(x.users[u], c)
			}
		default:
			for _, name := range c.cfg.Certificates {
				x.certs[name] = append(x.certs[name], c)
			}
		}
	}
	slices.SortFunc(x.lengths, func(a, b int) int { return b - a })
	x.lengths = slices.Compact(x.lengths)
	return x
}

// Client names the one client that the peer is. Every condition of a client
// must hold. Of several, the most specific one wins, told by the first of these
// that differs: it names users; it names certificates; the network that holds
// the peer is longer; it names listeners; it asks for TLS; its name sorts
// first. So a user in the office is that user's client, and a host in a network
// is the host's.
//
// Without a client the reply is 530 5.7.0 where AUTH or TLS would make the peer
// one, and 554 5.7.1 where nothing would.
func (r *Rules) Client(p *mail.Peer) (*Client, *mail.Reply) {
	ip := address(p)
	var best *Client
	bits := -1 // of the network by which best was found
	for _, n := range r.index.lengths {
		network, err := ip.Prefix(n)
		if err != nil { // longer than the address
			continue
		}
		for _, c := range r.index.networks[network] {
			if c.holds(p) && c.before(n, best, bits) {
				best, bits = c, n
			}
		}
	}
	for _, c := range r.index.users[p.User] {
		if c.holds(p) && c.before(-1, best, bits) {
			best, bits = c, -1
		}
	}
	for _, name := range p.Certificates {
		for _, c := range r.index.certs[lower(name)] {
			if c.holds(p) && c.before(-1, best, bits) {
				best, bits = c, -1
			}
		}
	}
	if best == nil {
		return nil, r.noClient(p, ip)
	}
	return best, nil
}

// address is the peer's address as networks are looked up.
func address(p *mail.Peer) netip.Addr { return p.Addr.Addr().Unmap().WithZone("") }

// holds reports whether every condition of c but that on networks holds.
func (c *Client) holds(p *mail.Peer) bool {
	return c.onListener(p) && (!c.cfg.RequireTLS || p.TLS.On()) && c.hasUser(p) && c.hasCertificate(p)
}

func (c *Client) onListener(p *mail.Peer) bool {
	return len(c.cfg.Listeners) == 0 || slices.Contains(c.cfg.Listeners, p.Listener)
}

func (c *Client) hasUser(p *mail.Peer) bool {
	return len(c.cfg.Users) == 0 || p.User != "" && slices.Contains(c.cfg.Users, p.User)
}

func (c *Client) hasCertificate(p *mail.Peer) bool {
	if len(c.cfg.Certificates) == 0 {
		return true
	}
	for _, name := range p.Certificates {
		if slices.Contains(c.cfg.Certificates, lower(name)) {
			return true
		}
	}
	return false
}

// before reports whether c, found by a network of so many bits, is more
// specific than best; nil is less than all.
func (c *Client) before(bits int, best *Client, bestBits int) bool {
	if best == nil {
		return true
	}
	a, b := &c.cfg, &best.cfg
	return cmp.Or(
		longer(len(b.Users) > 0, len(a.Users) > 0),
		longer(len(b.Certificates) > 0, len(a.Certificates) > 0),
		bestBits-bits,
		longer(len(b.Listeners) > 0, len(a.Listeners) > 0),
		longer(b.RequireTLS, a.RequireTLS),
		cmp.Compare(c.name, best.name),
	) < 0
}

// longer is negative when only b is true.
func longer(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// missing is what keeps a peer from being a client.
type missing int

const (
	nothingHelps missing = iota
	needsTLS
	needsAuth
)

// noClient is the reply to a peer that is no client.
func (r *Rules) noClient(p *mail.Peer, ip netip.Addr) *mail.Reply {
	help := nothingHelps
	for _, c := range r.clients {
		help = max(help, c.missing(p, ip))
	}
	switch help {
	case needsAuth:
		return replyAuthRequired()
	case needsTLS:
		return replyTLSRequired()
	}
	return replyNotAClient(ip)
}

// missing tells what the peer could still do in this session to become c. A
// certificate can come only with a handshake that is yet to be made.
func (c *Client) missing(p *mail.Peer, ip netip.Addr) missing {
	wantsCert, wantsTLS := !c.hasCertificate(p), c.cfg.RequireTLS && !p.TLS.On()
	switch {
	case !c.onListener(p), !c.fromNetwork(ip), wantsCert && p.TLS.On(), p.User != "" && !c.hasUser(p):
		return nothingHelps
	case wantsCert || wantsTLS:
		return needsTLS
	case !c.hasUser(p):
		return needsAuth
	}
	return nothingHelps
}

func (c *Client) fromNetwork(ip netip.Addr) bool {
	if len(c.cfg.Networks) == 0 {
		return true
	}
	return slices.ContainsFunc(c.cfg.Networks, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// MayAuth reports whether AUTH could make this peer a client: one that names
// users, on this listener and from this address. Where it is false, passwords
// are of no use and AUTH need not be offered.
func (r *Rules) MayAuth(p *mail.Peer) bool {
	ip := address(p)
	return slices.ContainsFunc(r.clients, func(c *Client) bool {
		return len(c.cfg.Users) > 0 && c.onListener(p) && c.fromNetwork(ip)
	})
}
