package reputation

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// state is what an answer says about a name.
type state int

const (
	fault  state = iota // nothing is known
	found               // there are such records
	noData              // the name exists without such records
	noName              // the name does not exist (NXDOMAIN)
)

// answer is the end of one DNS question.
type answer struct {
	state   state
	name    string   // where the records stand, behind all CNAMEs; with its final dot
	aliases []string // the CNAMEs on the way there
	rrs     []dns.RR
	ttl     time.Duration
	err     error // of a fault
}

// ResolverOptions are what a Resolver is made of.
type ResolverOptions struct {
	// Servers as in Config.Resolvers. Blank: those of /etc/resolv.conf, which is
	// read again when it has changed, else the one on this machine.
	Servers []string
	Timeout time.Duration    // of one question, all retries included; 0: 4s
	Now     func() time.Time // nil: time.Now
}

// Resolver asks DNS. It keeps answers as long as they say (RFC 2181 s. 8, RFC
// 2308), asks again over TCP what did not fit, and takes whatever is no plain
// answer for a fault. It is safe for concurrent use, and bounded: at most
// maxQuestions are under way, at most maxCached answers are kept.
type Resolver struct {
	servers serverList
	timeout time.Duration
	now     func() time.Time
	slots   chan struct{}
	tasks   sync.WaitGroup
	base    context.Context // of all questions
	end     context.CancelFunc

	mu      sync.Mutex
	cache   map[question]kept
	flights map[question]*flight
	forged  map[netip.Addr]bool // addresses put in place of NXDOMAIN
	probed  time.Time
	// probedOf is the version of the servers that were probed.
	probedOf int
}

type question struct {
	name  string
	qtype uint16
}

type kept struct {
	answer answer
	until  time.Time
}

type flight struct {
	done   chan struct{}
	answer answer
}

const (
	maxQuestions = 128
	maxCached    = 20_000
	maxTTL       = 24 * time.Hour
	maxNegative  = 3 * time.Hour   // RFC 2308 s. 5
	faultTTL     = 5 * time.Second // RFC 2308 s. 7 allows minutes
	maxAliases   = 8
	probeEvery   = 10 * time.Minute
)

// NewResolver makes a resolver; it asks nothing yet.
func NewResolver(o ResolverOptions) (*Resolver, error) {
	r := &Resolver{
		timeout: o.Timeout, now: o.Now, slots: make(chan struct{}, maxQuestions),
		cache: map[question]kept{}, flights: map[question]*flight{}, forged: map[netip.Addr]bool{},
	}
	r.base, r.end = context.WithCancel(context.Background())
	if r.timeout <= 0 {
		r.timeout = 4 * time.Second
	}
	if r.now == nil {
		r.now = time.Now
	}
	r.servers = serverList{file: resolvConf, now: r.now}
	if len(o.Servers) > 0 {
		r.servers.file = ""
	}
	for _, s := range o.Servers {
		a, err := resolverAddress(s)
		if err != nil {
			r.end()
			return nil, fmt.Errorf("resolver %q %w", s, err)
		}
		r.servers.addrs = append(r.servers.addrs, a)
	}
	return r, nil
}

// Close breaks off all questions; every answer from now on is a fault.
func (r *Resolver) Close() {
	r.end()
	r.tasks.Wait()
}

// ask answers from the cache or asks.
func (r *Resolver) ask(ctx context.Context, name string, qtype uint16) answer {
	q := question{dns.CanonicalName(name), qtype}
	if a, ok := r.cached(q); ok {
		return a
	}
	return r.askAnew(ctx, q)
}

// askNow asks whatever the cache holds.
func (r *Resolver) askNow(ctx context.Context, name string, qtype uint16) answer {
	return r.askAnew(ctx, question{dns.CanonicalName(name), qtype})
}

func (r *Resolver) cached(q question) (answer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.cache[q]
	if !ok || !r.now().Before(k.until) {
		return answer{}, false
	}
	return k.answer, true
}

// askAnew joins the same question under way, or starts it. The question goes on
// when ctx ends, for those who have joined.
func (r *Resolver) askAnew(ctx context.Context, q question) answer {
	if err := checkName(q.name); err != nil {
		return answer{name: q.name, err: err}
	}
	r.mu.Lock()
	f := r.flights[q]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		r.flights[q] = f
		r.tasks.Add(1)
		go r.fly(q, f)
	}
	r.mu.Unlock()
	select {
	case <-f.done:
		return f.answer
	case <-ctx.Done():
		return answer{name: q.name, err: fmt.Errorf("no answer in time: %w", ctx.Err())}
	}
}

func checkName(name string) error {
	if _, ok := dns.IsDomainName(name); !ok || len(name) > 254 {
		return errors.New("not a domain name")
	}
	return nil
}

func (r *Resolver) fly(q question, f *flight) {
	defer r.tasks.Done()
	ctx, cancel := context.WithTimeout(r.base, r.timeout)
	defer cancel()
	f.answer = r.follow(ctx, q)
	r.keep(q, f.answer)
	close(f.done)
}

// keep files an answer for its time and ends the flight.
func (r *Resolver) keep(q question, a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.flights, q)
	if a.ttl <= 0 {
		delete(r.cache, q)
		return
	}
	now := r.now()
	if len(r.cache) >= maxCached {
		r.makeRoom(now)
	}
	r.cache[q] = kept{a, now.Add(a.ttl)}
}

// makeRoom drops what has expired, and a tenth of the rest where that is not
// enough.
func (r *Resolver) makeRoom(now time.Time) {
	for q, k := range r.cache {
		if !now.Before(k.until) {
			delete(r.cache, q)
		}
	}
	for q := range r.cache {
		if len(r.cache) < maxCached*9/10 {
			return
		}
		delete(r.cache, q)
	}
}

// follow asks, and asks on where an answer ends in a CNAME whose target the
// server did not resolve.
func (r *Resolver) follow(ctx context.Context, q question) answer {
	a := r.attempt(ctx, q)
	for len(a.aliases) > 0 && a.state == noData && a.name != q.name {
		if len(a.aliases) > maxAliases {
			return answer{name: q.name, err: fmt.Errorf("more than %d CNAMEs in a row", maxAliases), ttl: faultTTL}
		}
		next := r.attempt(ctx, question{a.name, q.qtype})
		next.aliases = append(a.aliases, next.aliases...)
		next.ttl = min(next.ttl, a.ttl)
		if next.name == a.name {
			a = next
			break
		}
		a = next
	}
	if a.state == found && r.isForged(a.rrs) {
		return answer{name: q.name, err: errForged, ttl: faultTTL}
	}
	return a
}

var errForged = errors.New("the resolver puts an address of its own in place of NXDOMAIN")

// isForged reports whether all records are addresses that the resolver gives
// for names that do not exist.
func (r *Resolver) isForged(rrs []dns.RR) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.forged) == 0 {
		return false
	}
	for _, a := range addresses(rrs) {
		if !r.forged[a] {
			return false
		}
	}
	return len(addresses(rrs)) > 0
}

// probe finds out whether the resolver answers for names that cannot exist (RFC
// 6761 s. 6.4), unless that was done a short while ago.
func (r *Resolver) probe(ctx context.Context) {
	_, version := r.servers.get()
	r.mu.Lock()
	now := r.now()
	due := r.probed.IsZero() || now.Sub(r.probed) >= probeEvery || r.probedOf != version
	if due {
		r.probed, r.probedOf = now, version
	}
	r.mu.Unlock()
	if !due {
		return
	}
	var b [12]byte
	rand.Read(b[:])
	name := hex.EncodeToString(b[:]) + ".invalid."
	forged := map[netip.Addr]bool{}
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		probe, cancel := context.WithTimeout(ctx, r.timeout)
		a := r.attempt(probe, question{name, qtype})
		cancel()
		for _, ip := range addresses(a.rrs) {
			forged[ip] = true
		}
	}
	r.mu.Lock()
	r.forged = forged
	r.mu.Unlock()
}

// rewrites reports whether the last probe saw NXDOMAIN rewritten.
func (r *Resolver) rewrites() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.forged) > 0
}

// addresses returns those of the A and AAAA records.
func addresses(rrs []dns.RR) []netip.Addr {
	var as []netip.Addr
	for _, rr := range rrs {
		var ip []byte
		switch v := rr.(type) {
		case *dns.A:
			ip = v.A.To4()
		case *dns.AAAA:
			ip = v.AAAA.To16()
		}
		if a, ok := netip.AddrFromSlice(ip); ok {
			as = append(as, a)
		}
	}
	return as
}

// texts returns the TXT records, the strings of each joined (RFC 7208 s. 3.3).
func texts(rrs []dns.RR) []string {
	var ts []string
	for _, rr := range rrs {
		if v, ok := rr.(*dns.TXT); ok {
			ts = append(ts, unescape(strings.Join(v.Txt, "")))
		}
	}
	return ts
}

// hosts looks up both families of addresses. The state is found where either
// has one, and a fault where none has and either was one.
func (r *Resolver) hosts(ctx context.Context, name string) answer {
	second := make(chan answer, 1)
	go func() { second <- r.ask(ctx, name, dns.TypeAAAA) }()
	a := r.ask(ctx, name, dns.TypeA)
	b := <-second
	switch {
	case a.state == found && b.state == found:
		a.rrs = append(append([]dns.RR(nil), a.rrs...), b.rrs...)
		return a
	case a.state == found || a.state == fault && b.state != found:
		return a
	case b.state == found || b.state == fault:
		return b
	}
	return a
}

// LookupHost returns the addresses of a host; an error where there are none.
func (r *Resolver) LookupHost(ctx context.Context, name string) ([]netip.Addr, error) {
	a := r.hosts(ctx, name)
	switch a.state {
	case found:
		return addresses(a.rrs), nil
	case fault:
		return nil, fmt.Errorf("look up %s: %w", name, a.err)
	}
	return nil, fmt.Errorf("look up %s: no address", name)
}
