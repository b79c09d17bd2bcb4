package mx

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"postern/internal/resolve"
)

// Bounds of what a domain's owner can have us do.
const (
	// MaxTargets is how many addresses are tried for one transaction.
	MaxTargets = 5
	// maxExchangers is how many hosts of a domain are looked at.
	maxExchangers = 20
	// hostsAtOnce is for how many of them DNS is asked at a time.
	hostsAtOnce = 4
	// questions is how many are under way for all domains together.
	questions = 512
	// perOwner is how many of them are about names of one owner: slow ones hold nobody
	// else's mail.
	perOwner = 64
	// maxAddresses is how many addresses of one host are looked at.
	maxAddresses = 16
	// firstOfHost is how many addresses of a host come before those of the next
	// one (RFC 5321 s. 5.1 asks for two to be tried).
	firstOfHost = 2
)

// Bounds of the cache. A name with TTL 0 is not asked for with every message, and
// a change of a domain is seen within the hour.
const (
	cached      = 50_000
	minTTL      = 30 * time.Second
	maxTTL      = time.Hour
	maxNegative = 5 * time.Minute
)

// Options are what a Finder is made of.
type Options struct {
	Config Config
	Self   Self
	// DNSTimeout bounds one question, all its retries included; 0: 4s.
	DNSTimeout time.Duration
	// Interfaces lists the addresses of this machine; nil: net.InterfaceAddrs.
	Interfaces func() ([]net.Addr, error)
	Now        func() time.Time // nil: time.Now
}

// Finder finds out who takes mail for domains. It is safe for concurrent use, asks
// each question once at a time however many wait for it, and keeps answers within
// bounds of number, size and age.
type Finder struct {
	cfg        Config
	self       Self
	resolver   *resolve.Resolver
	interfaces interfaces
	failures   failures
	now        func() time.Time
}

// New makes a Finder; it asks nothing yet.
func New(o Options) (*Finder, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Interfaces == nil {
		o.Interfaces = net.InterfaceAddrs
	}
	r, err := resolve.New(resolve.Options{
		Servers: o.Config.Resolvers, Timeout: o.DNSTimeout, Now: o.Now, Questions: questions, PerOwner: perOwner,
		DNSSEC: o.Config.DANE != DANEOff, Trust: o.Config.DNSSEC == DNSSECTrust,
		Cached: cached, MinTTL: minTTL, MaxTTL: maxTTL, MaxNegative: maxNegative,
	})
	if err != nil {
		return nil, err
	}
	for i, a := range o.Self.Addresses {
		o.Self.Addresses[i] = a.Unmap()
	}
	return &Finder{cfg: o.Config, self: o.Self, resolver: r, now: o.Now, interfaces: interfaces{list: o.Interfaces}}, nil
}

// Resolver is the resolver that f asks.
func (f *Finder) Resolver() *resolve.Resolver { return f.resolver }

// Refused says why no mail may go to an address, such as "private"; "" where it may.
func (f *Finder) Refused(a netip.Addr) string {
	if is := f.cfg.Refusal(a); is != "" || !f.self.listens(netip.AddrPortFrom(a, uint16(f.cfg.Port)), false) {
		return is
	}
	return "this relay"
}

// Only takes out of an answer the addresses of all hosts but those for which keep is true.
func (f *Finder) Only(a *Answer, keep func(host string) bool) {
	a.Targets = f.targets(slices.DeleteFunc(slices.Clone(a.Exchangers), func(e Exchanger) bool { return !keep(e.Name) }))
}

// Close breaks off all questions; every question from now on ends in ErrDNS.
func (f *Finder) Close() { f.resolver.Close() }

// Find says who takes mail for a domain, in lower-case A-labels or an address
// literal, and over which addresses of the families it is to be tried. The error
// is ErrDNS or ErrFamily with its cause; mail waits for both.
func (f *Finder) Find(ctx context.Context, domain string, families Families) (Answer, error) {
	a := Answer{Domain: domain}
	if strings.HasPrefix(domain, "[") {
		return a, f.literal(&a, families)
	}
	f.resolver.Probe(ctx)
	if err := f.exchangers(ctx, &a); err != nil || a.Problem != None {
		return a, err
	}
	f.lookUp(ctx, &a, families)
	a.Targets = f.targets(a.Exchangers)
	if len(a.Targets) > 0 {
		return a, nil
	}
	return a, f.explain(ctx, &a, families)
}

// literal is the answer for "[192.0.2.1]" and "[IPv6:2001:db8::1]".
func (f *Finder) literal(a *Answer, families Families) error {
	text := strings.TrimSuffix(strings.TrimPrefix(a.Domain, "["), "]")
	if len(text) > 5 && strings.EqualFold(text[:5], "IPv6:") {
		text = text[5:]
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		a.Problem = NoAddress
		return nil
	}
	e := Exchanger{Name: a.Domain, Addresses: []Address{f.judge(a.Domain, ip.Unmap().WithZone(""), f.port(0))}}
	a.Exchangers = []Exchanger{e}
	a.Targets = f.targets(a.Exchangers)
	switch one := e.Addresses[0]; {
	case one.Ours:
		a.Problem = Loop
	case len(a.Targets) == 0:
		a.Problem = NoAddress
	case !families.has(one.IP):
		a.Targets = nil
		return fmt.Errorf("%w: %s, and mail leaves over %s", ErrFamily, one.IP, families)
	}
	return nil
}

// exchangers asks for the hosts of a domain, in the order to try them.
func (f *Finder) exchangers(ctx context.Context, a *Answer) error {
	reply := f.resolver.Ask(ctx, a.Domain, dns.TypeMX)
	switch reply.State {
	case resolve.Fault:
		return fmt.Errorf("%w: MX of %s: %w", ErrDNS, a.Domain, reply.Err)
	case resolve.NoName:
		a.Problem = NoDomain
		return nil
	case resolve.NoData:
		a.Implicit, a.Hosts = true, []string{a.Domain}
		a.Exchangers = []Exchanger{{Name: a.Domain, Ours: f.self.hasName(a.Domain), Secure: reply.Secure}}
		return nil
	}
	mxs := resolve.Exchangers(reply.RRs)
	if !slices.ContainsFunc(mxs, func(m *dns.MX) bool { return m.Mx != "." }) {
		a.Problem = NullMX
		return nil
	}
	for _, m := range mxs {
		// RFC 7505 s. 4.1: beside others it means nothing.
		if name, ok := hostName(m.Mx); ok && !slices.ContainsFunc(a.Exchangers, func(e Exchanger) bool { return e.Name == name }) {
			a.Exchangers = append(a.Exchangers, Exchanger{Name: name, Preference: m.Preference, Ours: f.self.hasName(name), Secure: reply.Secure})
		}
	}
	a.Hosts = hostNames(mxs)
	shuffle(a.Exchangers)
	// Where we stand among the hosts that are left out, what is no better goes, too.
	f.leaveOut(a)
	a.Left = max(0, len(a.Exchangers)-maxExchangers)
	a.Exchangers = a.Exchangers[:len(a.Exchangers)-a.Left]
	return nil
}

// hostName is the name of a host in lower case without its final dot; ok is false
// for what is none, such as an address or a name with other octets.
func hostName(target string) (name string, ok bool) {
	name = strings.ToLower(strings.TrimSuffix(target, "."))
	if _, err := netip.ParseAddr(name); err == nil || !resolve.IsHostName(name) {
		return "", false
	}
	return name, true
}

// shuffle puts hosts of one preference in random order (RFC 5321 s. 5.1: MUST).
func shuffle(all []Exchanger) {
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	slices.SortStableFunc(all, func(a, b Exchanger) int { return cmp.Compare(a.Preference, b.Preference) })
}

// lookUp finds the addresses of the hosts, of some at a time, until enough are
// known of the best ones: whether we are one of the others does not matter then.
func (f *Finder) lookUp(ctx context.Context, a *Answer, families Families) {
	all := a.Exchangers
	for lo := 0; lo < len(all); lo += hostsAtOnce {
		hi := min(lo+hostsAtOnce, len(all))
		var wait sync.WaitGroup
		for i := lo; i < hi; i++ {
			if !all[i].Skipped && len(all[i].Addresses) == 0 {
				wait.Go(func() { f.addresses(ctx, a.Domain, &all[i], families) })
			}
		}
		wait.Wait()
		f.leaveOut(a)
		if hi < len(all) && all[hi].Preference > all[hi-1].Preference && len(f.targets(all[:hi])) == MaxTargets {
			a.Exchangers, a.Left = all[:hi], a.Left+len(all)-hi
			return
		}
	}
}

// addresses finds those of one host of a domain.
func (f *Finder) addresses(ctx context.Context, domain string, e *Exchanger, families Families) {
	var six resolve.Answer
	done := make(chan struct{})
	go func() {
		defer close(done)
		if families.IPv6 {
			six = f.resolver.Ask(ctx, e.Name, dns.TypeAAAA)
		}
	}()
	var four resolve.Answer
	if families.IPv4 {
		four = f.resolver.Ask(ctx, e.Name, dns.TypeA)
	}
	<-done
	for _, a := range []resolve.Answer{four, six} {
		e.aliases = append(e.aliases, a.Aliases...)
		if a.State == resolve.Found && !f.vouched(ctx, e, &a) {
			break
		}
		if e.Err == nil {
			e.Err = a.Err
		}
		ips := resolve.Addresses(a.RRs)
		rand.Shuffle(len(ips), func(i, j int) { ips[i], ips[j] = ips[j], ips[i] })
		ips = f.refusedLast(ips)
		for _, ip := range ips[:min(len(ips), maxAddresses)] {
			e.add(f.judge(domain, ip.Unmap(), f.port(e.port)))
		}
	}
	e.Ours = e.Ours || slices.ContainsFunc(e.aliases, func(name string) bool { return f.self.hasName(strings.TrimSuffix(name, ".")) })
}

// refusedLast puts addresses to which no mail may go behind the others, which are the only
// ones that mail can be refused for the lack of.
func (f *Finder) refusedLast(ips []netip.Addr) []netip.Addr {
	var refused []netip.Addr
	ips = slices.DeleteFunc(ips, func(ip netip.Addr) bool {
		no := f.cfg.Refusal(ip.Unmap()) != ""
		if no {
			refused = append(refused, ip)
		}
		return no
	})
	return append(ips, refused...)
}

// vouched notes for which names of a host DNSSEC vouches. ok is false where DNS does not
// say: then nobody knows whether TLSA records count.
func (f *Finder) vouched(ctx context.Context, e *Exchanger, a *resolve.Answer) (ok bool) {
	e.canonical = strings.TrimSuffix(a.Name, ".")
	if a.Secure || !e.Secure {
		return true
	}
	e.canonical, e.Secure = "", false
	if len(a.Aliases) == 0 {
		return true
	}
	// RFC 7672 s. 2.2.2: an alias that is signed may have records, wherever it leads to.
	alias := f.resolver.Ask(ctx, e.Name, dns.TypeCNAME)
	if alias.State == resolve.Fault {
		// Unbound 1.17 says so of each alias that a DNAME makes (RFC 6672 s. 3.4). If there
		// are no records that are signed it does not matter what the alias is.
		alias = f.resolver.Ask(ctx, tlsaName(f.port(e.port), e.Name), dns.TypeTLSA)
	}
	if alias.State == resolve.Fault {
		e.Err, e.Addresses = alias.Err, nil
		return false
	}
	e.Secure = alias.State == resolve.Found && alias.Secure
	return true
}

func (e *Exchanger) add(a Address) {
	if !slices.ContainsFunc(e.Addresses, func(b Address) bool { return a.IP == b.IP }) {
		e.Addresses = append(e.Addresses, a)
	}
}

// judge says what is known of an address before it is dialled for mail to a domain.
func (f *Finder) judge(domain string, ip netip.Addr, port uint16) Address {
	a := Address{IP: ip, Refused: f.cfg.Refusal(ip)}
	if a.Refused == "" {
		a.Ours = f.ours(netip.AddrPortFrom(ip, port))
		a.Failing = f.failures.has(ip, domain, f.now())
	}
	return a
}

// leaveOut marks the hosts that are no better than ourselves (RFC 5321 s. 5.1).
func (f *Finder) leaveOut(a *Answer) {
	best := 1 << 16
	for i := range a.Exchangers {
		if a.Exchangers[i].ours() {
			best = min(best, int(a.Exchangers[i].Preference))
		}
	}
	for i := range a.Exchangers {
		a.Exchangers[i].Skipped = int(a.Exchangers[i].Preference) >= best
	}
}

func (e *Exchanger) ours() bool {
	return e.Ours || slices.ContainsFunc(e.Addresses, func(a Address) bool { return a.Ours })
}

// targets puts the addresses in the order to try them: by host, but only some of
// each before the next one has its turn; those that failed lately last.
func (f *Finder) targets(all []Exchanger) (ts []Target) {
	var first, rest, failing []Target
	for i := range all {
		e := &all[i]
		if e.Skipped {
			continue
		}
		n := 0
		for _, a := range e.Addresses {
			t := Target{Host: e.Name, Address: netip.AddrPortFrom(a.IP, f.port(e.port)), Secure: e.Secure, canonical: e.canonical}
			switch {
			case a.Refused != "" || a.Ours:
				continue
			case a.Failing:
				failing = append(failing, t)
			case n < firstOfHost:
				first = append(first, t)
			default:
				rest = append(rest, t)
			}
			n++
		}
	}
	for _, t := range slices.Concat(first, rest, failing) {
		if len(ts) < MaxTargets && !slices.ContainsFunc(ts, func(o Target) bool { return o.Address == t.Address }) {
			ts = append(ts, t)
		}
	}
	return ts
}

// explain says why there is no address to try.
func (f *Finder) explain(ctx context.Context, a *Answer, families Families) error {
	loop := false
	for i := range a.Exchangers {
		e := &a.Exchangers[i]
		if loop = loop || e.Skipped; e.Err != nil && !e.Skipped {
			return fmt.Errorf("%w: address of %s: %w", ErrDNS, e.Name, e.Err)
		}
	}
	if loop {
		a.Problem = Loop
		return nil
	}
	other := Families{IPv4: !families.IPv4, IPv6: !families.IPv6}
	for i := range a.Exchangers {
		if a.Exchangers[i].Name[0] == '[' {
			continue
		}
		probe := Exchanger{Name: a.Exchangers[i].Name, port: a.Exchangers[i].port}
		if f.addresses(ctx, a.Domain, &probe, other); probe.Err != nil {
			return fmt.Errorf("%w: address of %s: %w", ErrDNS, probe.Name, probe.Err)
		}
		if ts := f.targets([]Exchanger{probe}); len(ts) > 0 {
			return fmt.Errorf("%w: %s has %s, and mail leaves over %s", ErrFamily, probe.Name, ts[0].Address.Addr(), families)
		}
	}
	if a.Left > 0 {
		return fmt.Errorf("%w: the first %d hosts of %s have no address that mail may be sent to, and %d others were not looked at", ErrDNS, len(a.Exchangers), a.Domain, a.Left)
	}
	a.Problem = NoAddress
	return nil
}

// port is that of a host; 0 is that of the configuration.
func (f *Finder) port(p uint16) uint16 { return cmp.Or(p, uint16(f.cfg.Port)) }

func portText(p uint16) string { return strconv.Itoa(int(p)) }
