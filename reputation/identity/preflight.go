package identity

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/resolve"
	"postern/internal/text"
)

// Preflight is one run of the identity checks.
type Preflight struct {
	resolver *resolve.Resolver
	now      func() time.Time
	id       Presence

	mu       sync.Mutex
	findings []Finding
	keys     map[string]KeyState // by "domain/selector"
	spf      map[string]Finding  // by "domain address"
	told     map[string]bool     // keys of findings that several checks may make
}

// maxChecks is how many checks run side by side.
const maxChecks = 64

// Report is what a run of the checks has found.
type Report struct {
	Findings []Finding
	// Keys are the states of the DKIM keys, by "domain/selector".
	Keys map[string]KeyState
}

// Check runs all checks on an identity. It takes as long as a few DNS questions
// one after the other; what is not answered by the end of ctx is unknown.
func Check(ctx context.Context, r *resolve.Resolver, id Presence, now func() time.Time) Report {
	p := &Preflight{resolver: r, now: now, id: id, keys: map[string]KeyState{}, spf: map[string]Finding{}, told: map[string]bool{}}
	r.Probe(ctx)
	p.resolverFinding()
	p.all(ctx, p.first())
	p.all(ctx, p.second())
	sortFindings(p.findings)
	return Report{Findings: p.findings, Keys: p.keys}
}

// CheckAddress runs the checks on one domain and address of an identity, as a
// refusal that speaks of authentication or PTR asks for.
func CheckAddress(ctx context.Context, r *resolve.Resolver, id Presence, domain string, ip netip.Addr, now func() time.Time) []Finding {
	one := Presence{Hostname: id.Hostname, Keys: id.Keys}
	for _, s := range id.Streams {
		if slices.Contains(s.Addresses, ip) {
			s.Addresses = []netip.Addr{ip}
			one.Streams = append(one.Streams, s)
		}
	}
	for _, d := range id.Domains {
		if d.Name == domain && !d.Below {
			one.Domains = append(one.Domains, d)
		}
	}
	return Check(ctx, r, one, now).Findings
}

type check func(ctx context.Context)

// first lists the checks that need no other's end.
func (p *Preflight) first() []check {
	var cs []check
	add := func(c check) { cs = append(cs, c) }
	for _, s := range p.id.Streams {
		p.streamChecks(s, add)
	}
	for _, d := range p.id.Domains {
		add(func(ctx context.Context) { walk(ctx, p.resolver, d.Name) }) // dmarc then finds the answers, or their lack, at hand
		if d.Below {
			continue
		}
		add(func(ctx context.Context) { p.mx(ctx, d) })
		for _, ip := range p.addressesOf(d) {
			add(func(ctx context.Context) { p.spfOf(ctx, d, ip) })
		}
	}
	for _, k := range p.id.Keys {
		add(func(ctx context.Context) { p.key(ctx, k) })
	}
	for _, u := range p.id.Upstreams {
		add(func(ctx context.Context) { p.upstream(ctx, u) })
	}
	for _, c := range p.id.Certificates {
		add(func(context.Context) { p.certificate(c) })
	}
	return cs
}

func (p *Preflight) streamChecks(s StreamIdentity, add func(check)) {
	if s.Silent {
		return
	}
	add(func(ctx context.Context) { p.ehlo(ctx, s) })
	if len(s.Addresses) == 0 {
		p.add(Finding{Check: "address", Status: Unknown, Subject: s.Name, Stream: s.Name,
			Asked:  "the configuration for public addresses",
			Seen:   "neither source_ip nor public_ips are set, so PTR, SPF and listings cannot be checked",
			Change: fmt.Sprintf("set public_ips in [stream.%s] or [reputation] to the addresses that receivers see", s.Name)})
	}
	for _, ip := range s.Addresses {
		add(func(ctx context.Context) { p.ptr(ctx, s, ip) })
		if resolve.IsHostName(s.EHLO) && strings.Contains(s.EHLO, ".") {
			add(func(ctx context.Context) { p.spfHelo(ctx, s, ip) })
		}
	}
}

// second lists the checks that look at what the first ones have found.
func (p *Preflight) second() []check {
	var cs []check
	for _, d := range p.id.Domains {
		cs = append(cs, func(ctx context.Context) { p.dmarc(ctx, d) })
	}
	return cs
}

// all runs checks side by side.
func (p *Preflight) all(ctx context.Context, cs []check) {
	slots := make(chan struct{}, maxChecks)
	var wg sync.WaitGroup
	for _, c := range cs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			c(ctx)
		})
	}
	wg.Wait()
}

// tellOnce reports whether nobody has told the finding of this key: several
// domains may lie below one broken record.
func (p *Preflight) tellOnce(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.told[key] {
		return false
	}
	p.told[key] = true
	return true
}

func (p *Preflight) add(f Finding) {
	f.Seen = resolve.Printable(f.Seen)
	f.Mechanism = resolve.Printable(f.Mechanism)
	f.Change = text.Clip(f.Change, 2000)
	f.Record = p.publishable(&f)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.findings = append(p.findings, f)
}

// addressesOf returns all public addresses that mail of a domain leaves from.
func (p *Preflight) addressesOf(d DomainIdentity) []netip.Addr {
	var as []netip.Addr
	for _, s := range p.id.Streams {
		if !slices.Contains(d.Streams, s.Name) {
			continue
		}
		for _, a := range s.Addresses {
			if !slices.Contains(as, a) {
				as = append(as, a)
			}
		}
	}
	return as
}

// resolverFinding tells of a resolver that cannot be believed.
func (p *Preflight) resolverFinding() {
	if !p.resolver.Rewrites() {
		return
	}
	p.add(Finding{Check: "resolver", Status: Warn, Subject: p.resolver.FirstServer(),
		Asked: "A and AAAA of a random name under .invalid", Seen: "an address, where there can be none",
		Change: "set resolvers in [reputation] to a resolver of your own (unbound, knot-resolver); until then such answers count as unknown",
		Rule:   "RFC 6761 s. 6.4"})
}

// unknown is the finding of a check whose question DNS did not answer.
func unknown(check, subject, stream, asked string, a resolve.Answer) Finding {
	return Finding{Check: check, Status: Unknown, Subject: subject, Stream: stream, Asked: asked,
		Seen:   "no usable answer: " + errorText(a.Err),
		Change: "nothing yet: ask again, and look at the name servers when it stays so"}
}

func errorText(err error) string {
	if err == nil {
		return "unknown"
	}
	return err.Error()
}
