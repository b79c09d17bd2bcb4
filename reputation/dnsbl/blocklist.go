package dnsbl

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"postern/internal/resolve"
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

// Zone is one blocklist.
type Zone struct {
	Name   string
	Config ZoneConfig
	suffix string // what questions end in: the key, if any, and the zone
}

// TargetState is what a zone says about a target.
type TargetState int

// States of a target.
const (
	Unknown TargetState = iota // the zone gave no answer, or one that says nothing
	Clean
	Listed
)

// Answer is the answer of a blocklist to one question.
type Answer struct {
	State TargetState
	Codes []string // addresses of the answer that count, with their meaning
	why   error    // of unknown
	ttl   time.Duration
}

var (
	errorCodes   = netip.MustParsePrefix("127.255.255.0/24")
	cleanControl = netip.MustParseAddr("127.0.0.1")
)

// NewZone makes a zone and reads its key file, where c names one; the error is about that.
func NewZone(name string, c ZoneConfig) (*Zone, error) {
	z := &Zone{Name: strings.TrimSuffix(strings.ToLower(name), "."), Config: c}
	z.suffix = z.Name
	if c.KeyFile == "" {
		return z, nil
	}
	key, err := secret.Password(c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if !resolve.IsHostName(key) {
		return nil, fmt.Errorf("read key %s: it is no label of a domain name", c.KeyFile)
	}
	z.suffix = key + "." + z.Name
	return z, nil
}

// Asks reports whether the zone lists such targets.
func (z *Zone) Asks(k Kind) bool { return slices.Contains(z.Config.Of, k) }

// question is the name to look up for a target (RFC 5782 s. 2.1, 2.4).
func (z *Zone) question(t Target) (string, error) {
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

// Lookup asks the zone about a target, past our own cache.
func (z *Zone) Lookup(ctx context.Context, r *resolve.Resolver, t Target) Answer {
	name, err := z.question(t)
	if err != nil {
		return Answer{why: err}
	}
	return z.judge(r.AskNow(ctx, name, dns.TypeA))
}

// LookupCached is Lookup through our own cache, for a caller that asks about the same
// targets often.
func (z *Zone) LookupCached(ctx context.Context, r *resolve.Resolver, t Target) Answer {
	name, err := z.question(t)
	if err != nil {
		return Answer{why: err}
	}
	return z.judge(r.Ask(ctx, name, dns.TypeA))
}

// Why says why nothing is known, where State is Unknown; nil for other states.
func (a *Answer) Why() error {
	if a.State != Unknown {
		return nil
	}
	return a.why
}

// judge says what an answer means: NXDOMAIN is clean, addresses in 127.0.0.0/8
// are a listing, and all else says nothing.
func (z *Zone) judge(a resolve.Answer) Answer {
	switch a.State {
	case resolve.NoName:
		return Answer{State: Clean, ttl: a.TTL}
	case resolve.Fault:
		return Answer{why: a.Err}
	case resolve.NoData:
		return Answer{why: errors.New("an answer without addresses")}
	}
	v := Answer{State: Clean, ttl: a.TTL}
	for _, ip := range resolve.Addresses(a.RRs) {
		meaning := z.Config.Codes[ip.String()]
		switch {
		case !loopback4.Contains(ip):
			return Answer{why: fmt.Errorf("the answer %s is outside 127.0.0.0/8", ip)}
		case errorCodes.Contains(ip):
			return Answer{why: fmt.Errorf("the zone refuses to answer (%s)", ip)}
		case ip == cleanControl && meaning == "":
			return Answer{why: fmt.Errorf("the zone answers %s, which is no listing", ip)}
		case slices.Contains(z.Config.Ignore, ip):
			continue
		}
		v.State = Listed
		v.Codes = append(v.Codes, strings.TrimSpace(ip.String()+" "+meaning))
	}
	slices.Sort(v.Codes)
	return v
}

// Reason asks for the text that goes with a listing; "" when there is none.
func (z *Zone) Reason(ctx context.Context, r *resolve.Resolver, t Target) string {
	name, err := z.question(t)
	if err != nil {
		return ""
	}
	return resolve.Printable(strings.Join(resolve.Texts(r.AskNow(ctx, name, dns.TypeTXT).RRs), " / "))
}

// Family is a sort of targets that a zone is believed for, each by its own
// controls.
type Family int

const (
	ipv4 Family = iota
	ipv6
	names
)

// FamilyOf is what t counts as for the controls of a zone: IPv4, IPv6 or domain names.
func FamilyOf(t Target) Family {
	switch {
	case t.Kind == Domains:
		return names
	case strings.Contains(t.Name, ":"):
		return ipv6
	}
	return ipv4
}

// controls are the targets that must be listed and must not be (RFC 5782 s. 5).
func (z *Zone) controls(f Family) (listed, clean Target) {
	pick := func(configured, usual string) Target {
		if f == names {
			if configured == "" || z.Asks(Addresses) {
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
	return pick(z.Config.ListedControl, usualListed[f]), pick(z.Config.CleanControl, usualClean[f])
}

// Believed asks for both controls, and returns nil where they answer as they must. A zone
// for which they do not says nothing about us either.
func (z *Zone) Believed(ctx context.Context, r *resolve.Resolver, f Family) error {
	listed, clean := z.controls(f)
	second := make(chan Answer, 1)
	go func() { second <- z.Lookup(ctx, r, clean) }()
	a := z.Lookup(ctx, r, listed)
	b := <-second
	switch {
	case a.State == Unknown:
		return fmt.Errorf("control %s: %w", listed.Name, a.why)
	case a.State != Listed:
		return fmt.Errorf("control %s, which every list of this kind holds, is not listed", listed.Name)
	case b.State == Unknown:
		return fmt.Errorf("control %s: %w", clean.Name, b.why)
	case b.State != Clean:
		return fmt.Errorf("control %s, which no list may hold, is listed", clean.Name)
	}
	return nil
}
