package ratelimit

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"postern/mail"
)

// overrideSet finds the most specific override of a key. The order is: a whole
// value (an address, a user, a client...), then a domain or network by itself,
// then the nearest parent domain or the narrowest network. Where per is a list
// and several dimensions have one, the first of matchOrder decides.
type overrideSet struct {
	exact    map[part]*numbers // an address, a name, an IP
	domains  map[part]*numbers // "@example.org" of a sender; a domain
	parents  map[part]*numbers // "*.example.org"
	networks []networkOverride // narrowest first
}

type networkOverride struct {
	d       Dimension
	network netip.Prefix
	numbers *numbers
}

func (o *overrideSet) empty() bool {
	return len(o.exact)+len(o.domains)+len(o.parents)+len(o.networks) == 0
}

func (c *compiler) overrides(r *rule) {
	o := &r.overrides
	o.exact, o.domains, o.parents = map[part]*numbers{}, map[part]*numbers{}, map[part]*numbers{}
	for _, key := range slices.Sorted(maps.Keys(r.cfg.Overrides)) {
		if err := c.override(r, key, r.cfg.Overrides[key]); err != nil {
			c.report("overrides."+QuoteKey(key), err.Error())
		}
	}
	slices.SortStableFunc(o.networks, func(a, b networkOverride) int {
		return b.network.Bits() - a.network.Bits()
	})
}

func (c *compiler) override(r *rule, key string, cfg Override) error {
	d, value, err := r.overrideDimension(key)
	if err != nil {
		return err
	}
	n := &numbers{windows: r.overridden(&cfg), override: key}
	place, form, err := c.overridePlace(r, d, value, n)
	if err != nil {
		return err
	}
	if cfg.Shared {
		p, err := c.env.sender(value, false)
		if _, one := p.Identity(); d != PerSender || err != nil || one {
			return errors.New("shared is for the senders of a domain; take it out")
		}
		n.key, r.shared = p.String(), true
	}
	if place == nil {
		return nil
	}
	p := part{d, form}
	if other := place[p]; other != nil {
		c.report("overrides."+QuoteKey(other.override), fmt.Sprintf("names the same key as %q; keep one", key))
		return fmt.Errorf("names the same key as %q; keep one", other.override)
	}
	place[p] = n
	return nil
}

// overridden are the limit's windows with the units that o gives replaced.
func (r *rule) overridden(o *Override) []Window {
	units, own := r.cfg.units(), o.units()
	for i := range units {
		if len(own[i].numbers) > 0 {
			units[i] = own[i]
		}
	}
	return windowsOf(units, r.cfg.Reserve)
}

// overridePlace normalises an override's value and says in which map it goes;
// networks are added to the list at once.
func (c *compiler) overridePlace(r *rule, d Dimension, value string, n *numbers) (map[part]*numbers, string, error) {
	o := &r.overrides
	switch d {
	case PerSender:
		p, err := c.env.sender(value, r.cfg.FoldTag)
		if err != nil {
			return nil, "", err
		}
		if id, one := p.Identity(); one {
			return o.exact, string(id), nil
		}
		return o.domainPlace(p)
	case PerSenderDomain, PerRecipientDomain:
		if value == nullSender {
			return o.domains, value, nil
		}
		p, err := c.env.domain(strings.TrimPrefix(value, "@"))
		if err != nil {
			return nil, "", err
		}
		return o.domainPlace(p)
	case PerUser:
		return o.exact, mail.User(value, c.env.Parse), nil
	case PerSubmitter:
		if !strings.Contains(value, "/") {
			return nil, "", fmt.Errorf("%q is not a submitter; write client/name", value)
		}
		return o.exact, c.env.foldSubmitter(value), nil
	case PerClientIP, PerSourceIP:
		return o.addressPlace(d, value, n)
	case PerProvider:
		if known := c.env.Providers; known != nil && !slices.Contains(known, value) {
			return nil, "", fmt.Errorf("names %q, which is no group of receivers; there are: %s", value, strings.Join(known, ", "))
		}
	}
	return o.exact, value, nil
}

func (o *overrideSet) domainPlace(p mail.Pattern) (map[part]*numbers, string, error) {
	domain, below := p.Domain()
	if below {
		return o.parents, domain, nil
	}
	return o.domains, domain, nil
}

func (o *overrideSet) addressPlace(d Dimension, value string, n *numbers) (map[part]*numbers, string, error) {
	network, err := netip.ParsePrefix(value)
	if err != nil {
		addr, err := netip.ParseAddr(value)
		if err != nil {
			return nil, "", fmt.Errorf(`%q is no address or network; write "192.0.2.1" or "192.0.2.0/24"`, value)
		}
		addr = addr.Unmap()
		network = netip.PrefixFrom(addr, addr.BitLen())
	}
	network = network.Masked()
	if d == PerClientIP && network.Addr().Is6() && network.Bits() > 64 {
		return nil, "", fmt.Errorf("%q is narrower than /64, by which IPv6 addresses are counted; write the /64", value)
	}
	for _, other := range o.networks {
		if other.d == d && other.network == network {
			return nil, "", fmt.Errorf("names the same key as %q; keep one", other.numbers.override)
		}
	}
	o.networks = append(o.networks, networkOverride{d, network, n})
	return nil, "", nil
}

// overrideDimension says which part of the key an override names: "client=x"
// says so itself, a "@" means the sender, and a plain name means the one other
// dimension there is.
func (r *rule) overrideDimension(key string) (Dimension, string, error) {
	if name, value, ok := strings.Cut(key, "="); ok && !strings.Contains(name, "@") {
		var d Dimension
		if err := d.UnmarshalText([]byte(name)); err != nil {
			return 0, "", err
		}
		if !slices.Contains(r.dims, d) && (d != PerClient || r.cfg.Absent != AbsentClient) {
			return 0, "", fmt.Errorf("the limit does not count per %s; name one of per = %q", d, r.cfg.Per)
		}
		return d, value, nil
	}
	address := strings.Contains(key, "@") || key == nullSender
	if address && slices.Contains(r.dims, PerSender) {
		return PerSender, key, nil
	}
	var fits []Dimension
	for _, d := range r.dims {
		domain := d == PerSenderDomain || d == PerRecipientDomain
		if d != PerSender && d != PerAll && (!address || domain || d == PerUser || d == PerSubmitter) {
			fits = append(fits, d)
		}
	}
	switch {
	case len(fits) == 1:
		return fits[0], key, nil
	case len(fits) == 0:
		return 0, "", fmt.Errorf("names no key of a limit that counts per %s; write the form of that", r.cfg.Per)
	}
	return 0, "", fmt.Errorf("may name a %s or a %s; write %q or %q",
		fits[0], fits[1], fits[0].String()+"="+key, fits[1].String()+"="+key)
}

// find returns the numbers of a key: of the most specific override, else base.
// parts are the key's.
func (r *rule) find(parts []part) *numbers {
	if r.overrides.empty() {
		return r.base
	}
	for _, step := range [...]func(*overrideSet, part) *numbers{
		(*overrideSet).findExact, (*overrideSet).findDomain, (*overrideSet).findParent,
	} {
		for _, d := range matchOrder {
			for _, p := range parts {
				if p.d != d {
					continue
				}
				if n := step(&r.overrides, p); n != nil {
					return n
				}
			}
		}
	}
	return r.base
}

func (o *overrideSet) findExact(p part) *numbers {
	if p.d == PerClientIP || p.d == PerSourceIP {
		return o.findNetwork(p, true)
	}
	return o.exact[p]
}

func (o *overrideSet) findDomain(p part) *numbers {
	if p.d == PerSender {
		p.value = p.value[strings.LastIndexByte(p.value, '@')+1:]
	}
	return o.domains[p]
}

func (o *overrideSet) findParent(p part) *numbers {
	if p.d == PerClientIP || p.d == PerSourceIP {
		return o.findNetwork(p, false)
	}
	if p.d != PerSender && p.d != PerSenderDomain && p.d != PerRecipientDomain {
		return nil
	}
	// A shared override's key, "@*.example.org", is found by its own domain.
	if own, ok := strings.CutPrefix(p.value, "@*."); ok && p.d == PerSender {
		return o.parents[part{p.d, own}]
	}
	domain := p.value
	if p.d == PerSender {
		domain = p.value[strings.LastIndexByte(p.value, '@')+1:]
	}
	for domain = parentOf(domain); domain != ""; domain = parentOf(domain) {
		if n := o.parents[part{p.d, domain}]; n != nil {
			return n
		}
	}
	return nil
}

// parentOf cuts the first label off: "a.b.example" gives "b.example", "example"
// and an address literal give "".
func parentOf(domain string) string {
	if strings.HasPrefix(domain, "[") {
		return ""
	}
	_, parent, _ := strings.Cut(domain, ".")
	return parent
}

// findNetwork finds the narrowest network of an address; whole asks for the
// single addresses (for IPv6 clients: the /64) only.
func (o *overrideSet) findNetwork(p part, whole bool) *numbers {
	addr, err := netip.ParseAddr(p.value)
	if err != nil {
		network, err := netip.ParsePrefix(p.value)
		if err != nil {
			return nil
		}
		addr = network.Addr()
	}
	addr = addr.Unmap().WithZone("")
	for _, n := range o.networks {
		single := n.network.Bits() == addr.BitLen() || p.d == PerClientIP && addr.Is6() && n.network.Bits() == 64
		if n.d == p.d && single == whole && n.network.Contains(addr) {
			return n.numbers
		}
	}
	return nil
}
