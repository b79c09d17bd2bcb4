package policy

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"

	"postern/mail"
)

// byNetwork is a table of networks that finds those around an address.
type byNetwork[V any] struct {
	lengths []int // in use, longest first
	at      map[netip.Prefix]V
}

// change puts f of what is there for a network in its place.
func (t *byNetwork[V]) change(n netip.Prefix, f func(V) V) {
	if t.at == nil {
		t.at = map[netip.Prefix]V{}
	}
	t.at[n] = f(t.at[n])
	if !slices.Contains(t.lengths, n.Bits()) {
		t.lengths = append(t.lengths, n.Bits())
		slices.SortFunc(t.lengths, func(a, b int) int { return b - a })
	}
}

// around yields the entries of the networks that hold ip, with the length of
// each, longest first.
func (t *byNetwork[V]) around(ip netip.Addr) iter.Seq2[int, V] {
	return func(yield func(int, V) bool) {
		for _, bits := range t.lengths {
			if bits > ip.BitLen() {
				continue
			}
			network, err := ip.Prefix(bits)
			if err != nil { // no address at all
				return
			}
			if v, ok := t.at[network]; ok && !yield(bits, v) {
				return
			}
		}
	}
}

// index finds the few clients that a peer could be. A client is entered under
// the condition that tells most: its users, else its certificates, else its
// networks.
type index struct {
	users    map[string][]*Client
	certs    map[string][]*Client // those with users are here, too
	networks byNetwork[[]*Client]
	needs    map[string]*needs // by listener; "" holds clients on all

	lenient     byNetwork[[]*Client] // those that have networks
	someLenient bool

	xforward []*Client // that may use XFORWARD
}

func newIndex(clients []*Client) index {
	x := index{users: map[string][]*Client{}, certs: map[string][]*Client{}, needs: map[string]*needs{}}
	for _, c := range clients {
		for _, u := range c.cfg.Users {
			x.users[u] = append(x.users[u], c)
		}
		for _, name := range c.cfg.Certificates {
			x.certs[name] = append(x.certs[name], c)
		}
		if c.byAddress() {
			for _, n := range c.cfg.Networks {
				x.networks.change(n, func(here []*Client) []*Client { return append(here, c) })
			}
		}
		x.addNeeds(c)
		x.addLenient(c)
		if c.submitter.XForward() {
			x.xforward = append(x.xforward, c)
		}
	}
	return x
}

// Client names the one client that the peer is. Every condition of a client
// must hold. Of several, the most specific one wins, told by the first of these
// that differs: it names users (and not just "*"); it names certificates; the network that holds
// the peer is longer; it names listeners; it asks for TLS; its name sorts
// first. So a user in the office is that user's client, and a host in a network
// is the host's.
//
// Without a client the reply is 530 5.7.0 where AUTH or TLS would make the peer
// one, and 554 5.7.1 where nothing would.
func (r *Rules) Client(p *mail.Peer) (*Client, *mail.Reply) {
	ip := address(p)
	var best candidate
	if p.User != "" {
		for _, c := range r.index.users[p.User] {
			best = best.or(c, p, ip)
		}
		for _, c := range r.index.users[AnyUser] {
			if best.client == nil || isAny(best.client) {
				best = best.or(c, p, ip)
			}
		}
	}
	if best.client == nil {
		for _, name := range p.Certificates {
			for _, c := range r.index.certs[mail.LowerASCII(name)] {
				if len(c.cfg.Users) == 0 {
					best = best.or(c, p, ip)
				}
			}
		}
	}
	if best.client == nil {
		for _, here := range r.index.networks.around(ip) {
			for _, c := range here {
				best = best.or(c, p, ip)
			}
		}
	}
	if best.client == nil {
		return nil, r.noClient(p, ip)
	}
	return best.client.of(p.User), nil
}

// isAny reports whether any authenticated user can be c.
func isAny(c *Client) bool { return len(c.cfg.Users) == 1 && c.cfg.Users[0] == AnyUser }

// address is the peer's address as networks are looked up.
func address(p *mail.Peer) netip.Addr { return p.Addr.Addr().Unmap().WithZone("") }

// candidate is a client whose conditions all hold; bits is the length of its
// network that holds the peer, -1 where it has none.
type candidate struct {
	client *Client
	bits   int
}

// or returns the more specific of a and c. That p has one of c's users, if it
// names any, has been seen before.
func (a candidate) or(c *Client, p *mail.Peer, ip netip.Addr) candidate {
	bits, ok := c.from(ip)
	if !ok || !c.onListener(p) || c.cfg.RequireTLS && !p.TLS.On() || !c.hasCertificate(p) {
		return a
	}
	if found := (candidate{c, bits}); found.before(a) {
		return found
	}
	return a
}

// from returns the length of the longest of c's networks that holds ip, or -1
// where c has no such condition.
func (c *Client) from(ip netip.Addr) (bits int, ok bool) {
	if len(c.cfg.Networks) == 0 {
		return -1, true
	}
	for bits := range c.networks.around(ip) {
		return bits, true
	}
	return 0, false
}

func (c *Client) onListener(p *mail.Peer) bool {
	return len(c.cfg.Listeners) == 0 || slices.Contains(c.cfg.Listeners, p.Listener)
}

func (c *Client) hasCertificate(p *mail.Peer) bool {
	return len(c.cfg.Certificates) == 0 ||
		slices.ContainsFunc(p.Certificates, func(name string) bool { return c.certificates[mail.LowerASCII(name)] })
}

// before reports whether a is more specific than b; none is less than all.
func (a candidate) before(b candidate) bool {
	if b.client == nil {
		return true
	}
	x, y := &a.client.cfg, &b.client.cfg
	return cmp.Or(
		longer(len(y.Users) > 0, len(x.Users) > 0),
		longer(len(y.Certificates) > 0, len(x.Certificates) > 0),
		b.bits-a.bits,
		longer(len(y.Listeners) > 0, len(x.Listeners) > 0),
		longer(y.RequireTLS, x.RequireTLS),
		cmp.Compare(a.client.name, b.client.name),
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
