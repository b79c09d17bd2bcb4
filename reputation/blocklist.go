package reputation

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"postern/internal/secret"
)

// Target is an address or domain of ours that can be listed.
type Target struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"` // address, or domain in lower case without a final dot
}

// AddressTarget is the target of an address.
func AddressTarget(ip netip.Addr) Target { return Target{Addresses, ip.Unmap().String()} }

// DomainTarget is the target of a domain.
func DomainTarget(domain string) Target {
	return Target{Domains, strings.ToLower(strings.TrimSuffix(domain, "."))}
}

// zone is one blocklist.
type zone struct {
	name   string
	config ZoneConfig
	suffix string // what questions end in: the key, if any, and the zone
}

// listState is what a zone says about a target.
type listState int

const (
	listUnknown listState = iota
	listClean
	listListed
)

// zoneAnswer is the end of one question to a blocklist.
type zoneAnswer struct {
	state listState
	codes []string // addresses of the answer that count, with their meaning
	why   error    // of unknown
	ttl   time.Duration
}

var (
	errorCodes   = netip.MustParsePrefix("127.255.255.0/24")
	cleanControl = netip.MustParseAddr("127.0.0.1")
)

// newZone reads the key of the zone.
func newZone(name string, c ZoneConfig) (*zone, error) {
	z := &zone{name: strings.TrimSuffix(strings.ToLower(name), "."), config: c}
	z.suffix = z.name
	if c.KeyFile == "" {
		return z, nil
	}
	key, err := secret.Password(c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if !isHostName(key) {
		return nil, fmt.Errorf("read key %s: it is no label of a domain name", c.KeyFile)
	}
	z.suffix = key + "." + z.name
	return z, nil
}

// asks reports whether the zone lists such targets.
func (z *zone) asks(k Kind) bool { return slices.Contains(z.config.Of, k) }

// question is the name to look up for a target (RFC 5782 s. 2.1, 2.4).
func (z *zone) question(t Target) (string, error) {
	if t.Kind == Domains {
		return t.Name + "." + z.suffix, nil
	}
	ip, err := netip.ParseAddr(t.Name)
	if err != nil {
		return "", err
	}
	return reversed(ip) + "." + z.suffix, nil
}

// reversed writes the octets or nibbles of an address from the last to the
// first.
func reversed(ip netip.Addr) string {
	b := ip.AsSlice()
	slices.Reverse(b)
	parts := make([]string, 0, 32)
	for _, c := range b {
		if ip.Is4() {
			parts = append(parts, fmt.Sprint(c))
		} else {
			parts = append(parts, fmt.Sprintf("%x", c&15), fmt.Sprintf("%x", c>>4))
		}
	}
	return strings.Join(parts, ".")
}

// look asks the zone about a target, past our own cache.
func (z *zone) look(ctx context.Context, r *Resolver, t Target) zoneAnswer {
	name, err := z.question(t)
	if err != nil {
		return zoneAnswer{why: err}
	}
	return z.judge(r.askNow(ctx, name, dns.TypeA))
}

// judge says what an answer means: NXDOMAIN is clean, addresses in 127.0.0.0/8
// are a listing, and all else says nothing.
func (z *zone) judge(a answer) zoneAnswer {
	switch a.state {
	case noName:
		return zoneAnswer{state: listClean, ttl: a.ttl}
	case fault:
		return zoneAnswer{why: a.err}
	case noData:
		return zoneAnswer{why: errors.New("an answer without addresses")}
	}
	v := zoneAnswer{state: listClean, ttl: a.ttl}
	for _, ip := range addresses(a.rrs) {
		meaning := z.config.Codes[ip.String()]
		switch {
		case !loopback4.Contains(ip):
			return zoneAnswer{why: fmt.Errorf("the answer %s is outside 127.0.0.0/8", ip)}
		case errorCodes.Contains(ip):
			return zoneAnswer{why: fmt.Errorf("the zone refuses to answer (%s)", ip)}
		case ip == cleanControl && meaning == "":
			return zoneAnswer{why: fmt.Errorf("the zone answers %s, which is no listing", ip)}
		case slices.Contains(z.config.Ignore, ip):
			continue
		}
		v.state = listListed
		v.codes = append(v.codes, strings.TrimSpace(ip.String()+" "+meaning))
	}
	slices.Sort(v.codes)
	return v
}

// reason asks for the text that goes with a listing; "" when there is none.
func (z *zone) reason(ctx context.Context, r *Resolver, t Target) string {
	name, err := z.question(t)
	if err != nil {
		return ""
	}
	return printable(strings.Join(texts(r.askNow(ctx, name, dns.TypeTXT).rrs), " / "))
}

// family is a sort of targets that a zone is believed for, each by its own
// controls.
type family int

const (
	ipv4 family = iota
	ipv6
	names
)

func familyOf(t Target) family {
	switch {
	case t.Kind == Domains:
		return names
	case strings.Contains(t.Name, ":"):
		return ipv6
	}
	return ipv4
}

// controls are the targets that must be listed and must not be (RFC 5782 s. 5).
func (z *zone) controls(f family) (listed, clean Target) {
	pick := func(configured, usual string) Target {
		if f == names {
			if configured == "" || z.asks(Addresses) {
				configured = usual
			}
			return Target{Domains, configured}
		}
		if ip, err := netip.ParseAddr(configured); err == nil && ip.Is4() == (f == ipv4) {
			usual = configured
		}
		return Target{Addresses, usual}
	}
	usualListed := [...]string{"127.0.0.2", "::ffff:7f00:2", "test"}
	usualClean := [...]string{"127.0.0.1", "::ffff:7f00:1", "invalid"}
	return pick(z.config.ListedControl, usualListed[f]), pick(z.config.CleanControl, usualClean[f])
}

// believed asks for both controls. A zone whose controls do not answer as they
// must says nothing about us either.
func (z *zone) believed(ctx context.Context, r *Resolver, f family) error {
	listed, clean := z.controls(f)
	second := make(chan zoneAnswer, 1)
	go func() { second <- z.look(ctx, r, clean) }()
	a := z.look(ctx, r, listed)
	b := <-second
	switch {
	case a.state == listUnknown:
		return fmt.Errorf("control %s: %w", listed.Name, a.why)
	case a.state != listListed:
		return fmt.Errorf("control %s, which every list of this kind holds, is not listed", listed.Name)
	case b.state == listUnknown:
		return fmt.Errorf("control %s: %w", clean.Name, b.why)
	case b.state != listClean:
		return fmt.Errorf("control %s, which no list may hold, is listed", clean.Name)
	}
	return nil
}
