package policy

import (
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
		if where := halfOf(c.cfg.Networks); where != "" {
			open = true
			b.problem(path, fmt.Sprintf("hold most of %s, and nothing else is asked: that is an open relay; name your own networks, or add users or certificates", where))
			continue
		}
		b.wide(path, c.cfg.Networks)
		if len(c.cfg.Networks) > 0 {
			all, names = append(all, c.cfg.Networks...), append(names, c.name)
		}
	}
	if where := halfOf(all); where != "" && !open {
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

// halfOf names the universe of which half or more lies in the networks, or
// returns "".
func halfOf(networks []netip.Prefix) string {
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
// apart.
func (b *builder) ties(clients []*Client) {
	first := map[string][]*Client{}
	told := map[[2]string]bool{}
	for _, c := range clients {
		for _, key := range c.tieKeys() {
			for _, other := range first[key] {
				pair := [2]string{other.name, c.name}
				if !told[pair] && c.tiesWith(other) {
					told[pair] = true
					b.problem(join("client", c.name), fmt.Sprintf("a peer could be this client or client %s with equal right (%s); join the two, or add a condition to one", other.name, key))
				}
			}
			first[key] = append(first[key], c)
		}
	}
}

// tieKeys are the values of the condition that tells most of c, as in index.
func (c *Client) tieKeys() (keys []string) {
	switch {
	case len(c.cfg.Users) > 0:
		for _, u := range c.cfg.Users {
			keys = append(keys, "user "+u)
		}
	case len(c.cfg.Certificates) > 0:
		for _, name := range c.cfg.Certificates {
			keys = append(keys, "certificate "+name)
		}
	default:
		for _, n := range c.cfg.Networks {
			keys = append(keys, "network "+n.String())
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
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
