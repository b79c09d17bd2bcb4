package resolve

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// AnswerState is what an answer says about a name.
type AnswerState int8

const (
	Fault  AnswerState = iota // nothing is known
	Found                     // there are such records
	NoData                    // the name exists without such records
	NoName                    // the name does not exist (NXDOMAIN)
)

// Answer is the end of one DNS question.
type Answer struct {
	State   AnswerState
	Name    string   // where the records stand, behind all CNAMEs; with its final dot
	Aliases []string // the CNAMEs on the way there
	RRs     []dns.RR
	TTL     time.Duration
	Err     error // of a fault
	// Secure: a validating server on a way that is trusted says that all of it is
	// signed (DNSSEC), see Options.DNSSEC. Also of NoData and NoName.
	Secure bool
}

// Options are what a Resolver is made of.
type Options struct {
	// Servers as in Config.Resolvers. Blank: those of /etc/resolv.conf, which is
	// read again when it has changed, else the one on this machine.
	Servers []string
	Timeout time.Duration    // of one question, all retries included; 0: 4s
	Now     func() time.Time // nil: time.Now
	// DNSSEC asks whether answers were validated, for Answer.Secure. Only servers on
	// this machine are believed, and where there are any no others are asked; all of
	// them with Trust.
	DNSSEC, Trust bool
	// Questions is how many are under way at most; 0: 128.
	Questions int
	// PerOwner is how many of them are about names of one owner, see Owner; 0: any.
	PerOwner int
	// Cached is how many answers are kept at most; 0: 20,000. They take at most
	// 512 octets each of what came over the wire, on the average.
	Cached int
	// MinTTL and MaxTTL bound how long an answer is kept, MaxNegative how long one
	// without records; 0: none, 24h and 3h. A fault is kept for 5s.
	MinTTL, MaxTTL, MaxNegative time.Duration
}

// Resolver asks DNS. It keeps answers as long as they say (RFC 2181 s. 8, RFC
// 2308), asks again over TCP what did not fit, and takes whatever is not a plain
// answer for a fault. It is safe for concurrent use, and bounded: at most
// Options.Questions are under way, at most Options.Cached answers are kept.
type Resolver struct {
	servers serverList
	timeout time.Duration
	now     func() time.Time
	limits  Options
	slots   chan struct{}
	shares  shares // of owners in the questions
	tasks   sync.WaitGroup
	base    context.Context // of all questions
	end     context.CancelFunc

	mu      sync.Mutex
	cache   map[question]kept
	octets  int // of all answers in cache, see size
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

type flight struct {
	done   chan struct{}
	answer Answer
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

// New makes a resolver; it asks nothing yet.
func New(o Options) (*Resolver, error) {
	r := &Resolver{
		timeout: o.Timeout, now: o.Now, slots: make(chan struct{}, cmp.Or(o.Questions, maxQuestions)),
		cache: map[question]kept{}, flights: map[question]*flight{}, forged: map[netip.Addr]bool{},
	}
	r.base, r.end = context.WithCancel(context.Background())
	if r.timeout <= 0 {
		r.timeout = 4 * time.Second
	}
	if r.now == nil {
		r.now = time.Now
	}
	o.Cached = cmp.Or(o.Cached, maxCached)
	o.MaxTTL, o.MaxNegative = cmp.Or(o.MaxTTL, maxTTL), cmp.Or(o.MaxNegative, maxNegative)
	r.limits = o
	r.servers = serverList{file: resolvConf, now: r.now}
	if len(o.Servers) > 0 {
		r.servers.file = ""
	}
	for _, s := range o.Servers {
		a, err := ServerAddress(s)
		if err != nil {
			r.end()
			return nil, fmt.Errorf("resolver %q %w", s, err)
		}
		r.servers.addrs = append(r.servers.addrs, a)
	}
	return r, nil
}

// Stop breaks off all questions without waiting for their ends; every answer
// from now on is a fault.
func (r *Resolver) Stop() { r.end() }

// Close breaks off all questions; every answer from now on is a fault.
func (r *Resolver) Close() {
	r.mu.Lock()
	r.end() // no question begins behind this
	r.mu.Unlock()
	r.tasks.Wait()
}

// Ask answers from the cache or asks.
func (r *Resolver) Ask(ctx context.Context, name string, qtype uint16) Answer {
	q := question{dns.CanonicalName(name), qtype}
	if a, ok := r.cached(q); ok {
		return a
	}
	return r.askAnew(ctx, q)
}

// Knows reports whether Ask would answer from the cache.
func (r *Resolver) Knows(name string, qtype uint16) bool {
	_, ok := r.look(question{dns.CanonicalName(name), qtype})
	return ok
}

// AskNow asks whatever the cache holds.
func (r *Resolver) AskNow(ctx context.Context, name string, qtype uint16) Answer {
	return r.askAnew(ctx, question{dns.CanonicalName(name), qtype})
}

func (r *Resolver) cached(q question) (Answer, bool) {
	k, ok := r.look(q)
	if !ok {
		return Answer{}, false
	}
	return k.answer(q), true
}

// look finds what is kept and still holds.
func (r *Resolver) look(q question) (kept, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.cache[q]
	return k, ok && r.holds(&k, r.now())
}

// holds reports whether an answer may still be given. One that has longer to go than any
// answer of its kind was kept before the machine's clock was set back: it would be given
// for as long as that, a SERVFAIL of five seconds for an hour.
func (r *Resolver) holds(k *kept, now time.Time) bool {
	left := time.Duration(k.until - now.UnixNano())
	return left > 0 && left <= r.keepFor(k.state, time.Duration(k.ttl+1)*time.Second)
}

// askAnew joins the same question under way, or starts it. The question goes on
// when ctx ends, for those who have joined.
func (r *Resolver) askAnew(ctx context.Context, q question) Answer {
	if err := checkName(q.name); err != nil {
		return Answer{Name: q.name, Err: err}
	}
	r.mu.Lock()
	if r.base.Err() != nil {
		r.mu.Unlock()
		return Answer{Name: q.name, Err: errors.New("no more questions are asked")}
	}
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
		return Answer{Name: q.name, Err: fmt.Errorf("no answer in time: %w", ctx.Err())}
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
func (r *Resolver) keep(q question, a Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.flights, q)
	r.forget(q)
	ttl, size := r.keepFor(a.State, a.TTL), a.size()
	if ttl <= 0 || size > maxKept {
		return
	}
	now := r.now()
	if len(r.cache) >= r.limits.Cached || r.octets+size > octetsEach*r.limits.Cached {
		r.makeRoom(now)
	}
	r.cache[q] = keepAnswer(q, &a, now.Add(ttl))
	r.octets += size
}

const (
	octetsEach = 512      // of an answer, on the average
	maxKept    = 16 << 10 // octets of an answer that is kept at all
)

// size is about what the answer took on the wire. Whoever owns a domain chooses it.
func (a *Answer) size() int {
	n := len(a.Name)
	for _, rr := range a.RRs {
		n += dns.Len(rr)
	}
	for _, alias := range a.Aliases {
		n += len(alias)
	}
	return n
}

// keepFor is how long an answer with this TTL is kept.
func (r *Resolver) keepFor(state AnswerState, ttl time.Duration) time.Duration {
	switch state {
	case Fault:
		return ttl
	case Found:
		return min(max(ttl, r.limits.MinTTL), r.limits.MaxTTL)
	}
	return min(max(ttl, r.limits.MinTTL), r.limits.MaxNegative)
}

// forget takes an answer out of the cache; r.mu is held.
func (r *Resolver) forget(q question) {
	r.octets -= int(r.cache[q].size)
	delete(r.cache, q)
}

// makeRoom drops what has expired, and a tenth of the rest where that is not
// enough.
func (r *Resolver) makeRoom(now time.Time) {
	for q, k := range r.cache {
		if !r.holds(&k, now) {
			r.forget(q)
		}
	}
	for q := range r.cache {
		if len(r.cache) < r.limits.Cached*9/10 && r.octets < octetsEach*r.limits.Cached*9/10 {
			return
		}
		r.forget(q)
	}
}

// follow asks, and asks on where an answer ends in a CNAME whose target the
// server did not resolve.
func (r *Resolver) follow(ctx context.Context, q question) Answer {
	a := r.attempt(ctx, q)
	for len(a.Aliases) > 0 && a.State == NoData {
		if a.Name == q.name {
			return Answer{Name: q.name, Err: errCircle, TTL: faultTTL}
		}
		if len(a.Aliases) > maxAliases {
			return Answer{Name: q.name, Err: fmt.Errorf("more than %d CNAMEs in a row", maxAliases), TTL: faultTTL}
		}
		next := r.attempt(ctx, question{a.Name, q.qtype})
		next.Aliases = append(a.Aliases, next.Aliases...)
		next.TTL, next.Secure = min(next.TTL, a.TTL), next.Secure && a.Secure
		if next.Name == a.Name {
			a = next
			break
		}
		a = next
	}
	if a.State == Found && r.isForged(a.RRs) {
		return Answer{Name: q.name, Err: errForged, TTL: faultTTL}
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
	for _, a := range Addresses(rrs) {
		if !r.forged[a] {
			return false
		}
	}
	return len(Addresses(rrs)) > 0
}

// Probe finds out whether the resolver answers for names that cannot exist (RFC
// 6761 s. 6.4), unless that was done a short while ago.
func (r *Resolver) Probe(ctx context.Context) {
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
		for _, ip := range Addresses(a.RRs) {
			forged[ip] = true
		}
	}
	r.mu.Lock()
	r.forged = forged
	r.mu.Unlock()
}

// Rewrites reports whether the last probe saw NXDOMAIN rewritten.
func (r *Resolver) Rewrites() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.forged) > 0
}

// Hosts looks up both families of addresses. The state is found where either
// has one, and a fault where none has and either was one.
func (r *Resolver) Hosts(ctx context.Context, name string) Answer {
	second := make(chan Answer, 1)
	go func() { second <- r.Ask(ctx, name, dns.TypeAAAA) }()
	a := r.Ask(ctx, name, dns.TypeA)
	b := <-second
	switch {
	case a.State == Found && b.State == Found:
		a.RRs = append(append([]dns.RR(nil), a.RRs...), b.RRs...)
		return a
	case a.State == Found || a.State == Fault && b.State != Found:
		return a
	case b.State == Found || b.State == Fault:
		return b
	}
	return a
}
