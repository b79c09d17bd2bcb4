package reputation

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"postern/internal/resolve"
	"postern/reputation/identity"
)

// manyWitnesses is how many unrelated receivers must say the same before it
// touches anybody beside whom they say it of.
const manyWitnesses = 3

// ownedDomain is the registered domain of a name: who owns it owns all below.
func ownedDomain(name string) string {
	_, domain := identity.RegisteredDomain(name)
	return domain
}

// Bounds of what is kept of a witness.
const (
	maxExchangers = 5
	maxNetworks   = 20
	maxClients    = 64
)

// networks says by which networks a domain takes its mail: the registered
// domains of its MX hosts, and their addresses to the /16 or /32. It is empty
// where DNS does not say.
func networks(ctx context.Context, r *resolve.Resolver, domain string) (all []string) {
	add := func(s string) {
		if len(all) < maxNetworks && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	hosts := []string{domain}
	if mxs := resolve.Exchangers(r.Ask(ctx, domain, dns.TypeMX).RRs); len(mxs) > 0 && !resolve.IsNullMX(mxs) {
		hosts = hosts[:0]
		for _, mx := range mxs[:min(len(mxs), maxExchangers)] {
			hosts = append(hosts, strings.TrimSuffix(strings.ToLower(mx.Mx), "."))
		}
	}
	for _, h := range hosts {
		as := resolve.Addresses(r.Hosts(ctx, h).RRs)
		for _, ip := range as {
			add(networkOf(ip))
		}
		if len(as) > 0 {
			add(ownedDomain(h))
		}
	}
	return all
}

func networkOf(ip netip.Addr) string {
	bits := 32
	if ip = ip.Unmap(); ip.Is4() {
		bits = 16
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return ip.String()
	}
	return p.String()
}

// witness reports whether the evidence is a receiver's own word.
func (e *Evidence) witness() bool {
	return e.Zone == "" && !e.Hearsay && e.Domain != "" && e.Ended.IsZero()
}

// unrelated picks from evidence as many witnesses as share neither registered
// domain nor network. One whose networks are not known may be related to any.
func unrelated(all []*Evidence) (some []*Evidence) {
	list := slices.Clone(all)
	slices.SortStableFunc(list, func(a, b *Evidence) int { return cmp.Compare(len(a.Networks), len(b.Networks)) })
	for _, e := range list {
		if len(e.Networks) > 0 && !slices.ContainsFunc(some, e.relatedTo) {
			some = append(some, e)
		}
	}
	if len(some) == 0 && len(list) > 0 {
		return list[:1]
	}
	return some
}

func (e *Evidence) relatedTo(o *Evidence) bool {
	return e.Domain == o.Domain || slices.ContainsFunc(e.Networks, func(n string) bool { return slices.Contains(o.Networks, n) })
}

// met reports whether mail of a client was refused by two of the witnesses.
func met(client string, list []*Evidence) bool {
	n := 0
	for _, e := range list {
		if slices.Contains(e.Clients, client) {
			n++
		}
	}
	return n > 1
}

// clientsOf are those by whose mail the witnesses were reached.
func clientsOf(list []*Evidence) (clients []string) {
	for _, e := range list {
		for _, c := range e.Clients {
			if !slices.Contains(clients, c) {
				clients = append(clients, c)
			}
		}
	}
	return clients
}
