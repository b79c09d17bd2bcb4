package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Networks of this width and wider draw a warning.
const (
	wide4 = 8
	wide6 = 32
)

// universe is the space that an open relay is open to.
type universe struct {
	name string
	of   netip.Prefix
}

// universes: all of IPv4, also as translators write it, and the half of
// 2000::/3 in which the registries have given out addresses.
var universes = []universe{
	{"IPv4", netip.MustParsePrefix("0.0.0.0/0")},
	{"IPv6", netip.MustParsePrefix("2000::/4")},
	{"IPv4 behind NAT64", netip.MustParsePrefix("64:ff9b::/96")},
	{"IPv4 behind 6to4", netip.MustParsePrefix("2002::/16")},
}

// byAddress reports whether nothing but its address tells the client.
func (c *Client) byAddress() bool { return len(c.cfg.Users)+len(c.cfg.Certificates) == 0 }

// openRelay refuses clients known by address alone whose networks hold half of
// the world, however it is cut into networks and clients, and warns of each
// wide network.
func (b *builder) openRelay(clients []*Client) {
	var all []netip.Prefix
	var names []string
	open := false
	for _, c := range clients {
		if !c.byAddress() {
			continue
		}
		path := join("client", c.name) + ".networks"
		if where := HalfOf(c.cfg.Networks); where != "" {
			open = true
			b.problem(path, fmt.Sprintf("hold most of %s, and nothing else is asked: that is an open relay; name your own networks, or add users or certificates", where))
			continue
		}
		b.wide(path, c.cfg.Networks)
		if len(c.cfg.Networks) > 0 {
			all, names = append(all, c.cfg.Networks...), append(names, c.name)
		}
	}
	if where := HalfOf(all); where != "" && !open {
		b.problem("client", fmt.Sprintf("the networks of %s together hold most of %s, and nothing else is asked: that is an open relay; name your own networks, or add users or certificates", strings.Join(names, ", "), where))
	}
}

func (b *builder) wide(path string, networks []netip.Prefix) {
	for i, n := range networks {
		if n.IsValid() && (n.Addr().Is4() && n.Bits() <= wide4 || n.Addr().Is6() && n.Bits() <= wide6) {
			b.warn(at(path, i), fmt.Sprintf("%s is very wide, and every address in it may send; name the networks that are yours", n))
		}
	}
}

// HalfOf names the address space (all of IPv4 or IPv6, also as translators write them) of
// which the networks together hold half or more, and returns "" where they hold less of
// each.
func HalfOf(networks []netip.Prefix) string {
	for _, u := range universes {
		if share(networks, u.of) >= 0.5 {
			return u.name
		}
	}
	return ""
}

// share is the part of the whole that lies in the networks. Networks are
// disjoint or one holds the other, so that the outermost are added up.
func share(networks []netip.Prefix, whole netip.Prefix) float64 {
	var inside []netip.Prefix
	for _, n := range networks {
		switch {
		case !n.IsValid() || !n.Overlaps(whole):
		case n.Bits() <= whole.Bits():
			return 1
		default:
			inside = append(inside, n.Masked())
		}
	}
	slices.SortFunc(inside, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
	var sum float64
	outer := map[netip.Prefix]bool{}
	for _, n := range inside {
		if !heldBy(outer, n, whole.Bits()) {
			outer[n] = true
			sum += 1 / pow2(n.Bits()-whole.Bits())
		}
	}
	return sum
}

// heldBy reports whether n or a network around it, longer than floor, is in set.
func heldBy(set map[netip.Prefix]bool, n netip.Prefix, floor int) bool {
	for bits := n.Bits(); bits > floor; bits-- {
		if p, err := n.Addr().Prefix(bits); err == nil && set[p] {
			return true
		}
	}
	return false
}

func pow2(n int) float64 {
	f := 1.0
	for range n {
		f *= 2
	}
	return f
}

// ties refuses two clients that one peer could be with equal right: the same
// network (or user, or certificate) and no other condition that tells them
// apart. Of each client the first tie is told, so that many clients with one
// network are no more problems than clients.
func (b *builder) ties(clients []*Client) {
	first := map[tie][]*Client{}
	for _, c := range clients {
		told := false
		for _, t := range c.ties() {
			here := first[t]
			if i := slices.IndexFunc(here, c.tiesWith); i >= 0 && !told {
				told = true
				b.problem(join("client", c.name), fmt.Sprintf("a peer could be this client or client %s with equal right (%s); join the two, or add a condition to one", here[i].name, t.most))
			}
			if !told { // those that tie with c tie with the other one
				first[t] = append(here, c)
			}
		}
	}
}

// tie is what two clients have in common that could be one peer. Where many
// clients have one user, their networks tell them apart.
type tie struct {
	most    string       // a value of the condition that tells most, as in index
	network netip.Prefix // zero: on all
	tls     bool
}

// ties lists what c could have in common with another client.
func (c *Client) ties() (all []tie) {
	var most []string
	networks := eachOnce(c.cfg.Networks)
	switch {
	case len(c.cfg.Users) > 0:
		most = prefixed("user ", c.cfg.Users)
	case len(c.cfg.Certificates) > 0:
		most = prefixed("certificate ", c.cfg.Certificates)
	default:
		for _, n := range networks {
			all = append(all, tie{"network " + n.String(), n, c.cfg.RequireTLS})
		}
		return all
	}
	if len(networks) == 0 {
		networks = []netip.Prefix{{}}
	}
	for _, m := range most {
		for _, n := range networks {
			all = append(all, tie{m, n, c.cfg.RequireTLS})
		}
	}
	return all
}

// eachOnce sorts networks and drops repeats.
func eachOnce(networks []netip.Prefix) []netip.Prefix {
	sorted := slices.SortedFunc(slices.Values(networks), func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits())
	})
	return slices.Compact(sorted)
}

// prefixed puts a word before each name, sorted, each once.
func prefixed(word string, names []string) []string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = word + name
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// tiesWith reports whether nothing in candidate.before but the name tells c
// from o for some peer.
func (c *Client) tiesWith(o *Client) bool {
	return c.cfg.RequireTLS == o.cfg.RequireTLS && alike(c.cfg.Listeners, o.cfg.Listeners) &&
		alike(c.cfg.Certificates, o.cfg.Certificates) && alike(c.cfg.Networks, o.cfg.Networks) &&
		alike(c.cfg.Users, o.cfg.Users)
}

// alike reports whether both lists are blank or have something in common.
func alike[T comparable](a, b []T) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	return slices.ContainsFunc(a, func(s T) bool { return slices.Contains(b, s) })
}
