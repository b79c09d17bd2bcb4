package sts

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"postern/internal/resolve"
	"postern/internal/statefile"
)

// Bounds of what is asked and kept.
const (
	maxKept = 10_000 // domains
	// maxOctets is how much their policies take, which is less than maxFile.
	maxOctets = 16 << 20
	maxFile   = 64 << 20
	// ownerKept and ownerOctets are what the domains of one owner have of that.
	ownerKept   = 500
	ownerOctets = 256 << 10
	// maxFetches is how many policies are fetched at a time.
	maxFetches = 64
	// perOwner is how many of them are for domains of one owner, who decides how long
	// they take: others' domains would have no policy meanwhile.
	perOwner = 4
	// firstWait is how long the first mail to a domain waits for its policy. The
	// fetch goes on, for the mail that follows.
	firstWait = 5 * time.Second
	// againAfter is when a fetch that failed is tried again (RFC 8461 s. 3.3 asks for
	// five minutes at least).
	againAfter = 5 * time.Minute
	// refreshAfter is when a policy is fetched again although its id is the same.
	refreshAfter = 24 * time.Hour
	saveAfter    = 10 * time.Second
	tellEvery    = 10 * time.Second
)

// Options are what a Store is made of.
type Options struct {
	Resolver *resolve.Resolver
	// Refused says why no connection may be made to an address; "" where it may.
	Refused func(netip.Addr) string
	// File keeps the policies over a restart; blank: in memory only.
	File string
	// Roots verify policy hosts; nil: those of the system.
	Roots *x509.CertPool
	// Port of policy hosts; 0: 443. Another one is for tests.
	Port int
	Log  *slog.Logger     // nil: nobody is told
	Now  func() time.Time // nil: time.Now
}

// Store knows the policies of domains. It is safe for concurrent use, and bounded.
type Store struct {
	fetcher  *fetcher
	resolver *resolve.Resolver
	file     *statefile.File // nil: nothing is kept
	log      *slog.Logger
	now      func() time.Time
	slots    chan struct{}
	life     context.Context
	end      context.CancelFunc
	tasks    sync.WaitGroup

	mu      sync.Mutex
	known   shelf
	flights map[string]*flight
	// fetching counts the fetches under way by owner.
	fetching map[string]int
	failed   map[string]failure
	save     *time.Timer // nil: nothing is to be saved
	told     time.Time   // when the last fetch that failed was logged
}

// entry is a policy as it is kept.
type entry struct {
	Policy
	ID      string    `json:"id"`
	Fetched time.Time `json:"fetched"`
	owner   string    // of the domain
	octets  int       // that it takes in the file, about
}

func newEntry(domain string, p Policy, id string, fetched time.Time) *entry {
	e := &entry{Policy: p, ID: id, Fetched: fetched, owner: resolve.Owner(domain), octets: len(domain) + 150}
	for _, name := range p.MX {
		e.octets += len(name) + 3
	}
	return e
}

func (e *entry) valid(now time.Time) bool {
	return e != nil && now.Before(e.Fetched.Add(e.MaxAge))
}

// olderThan reports whether a policy was fetched longer ago than that, or, as a clock has
// it that was set back, later than now.
func (e *entry) olderThan(age time.Duration, now time.Time) bool {
	is := now.Sub(e.Fetched)
	return is > age || is < 0
}

type flight struct{ done chan struct{} }

// New makes a store and reads its file.
func New(o Options) *Store {
	o.Port = cmp.Or(o.Port, 443)
	s := &Store{fetcher: newFetcher(&o), resolver: o.Resolver, log: o.Log, now: o.Now, slots: make(chan struct{}, maxFetches),
		known: newShelf(), flights: map[string]*flight{}, fetching: map[string]int{}, failed: map[string]failure{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.life, s.end = context.WithCancel(context.Background())
	if o.File != "" {
		s.file = statefile.New(o.File, maxFile)
		if err := s.load(); err != nil {
			s.log.Error("policies of MTA-STS begin anew", "err", err)
		}
	}
	return s
}

// Close ends all fetches and writes what has not yet been written.
func (s *Store) Close() {
	s.end()
	s.tasks.Wait()
	s.mu.Lock()
	due := s.save != nil && s.save.Stop()
	s.save = nil
	s.mu.Unlock()
	if due {
		s.write()
	}
}

// Policy is the policy of a domain in A-labels; ok is false where it has none, or none
// could be fetched yet. The first call for a domain with a policy waits a while for it.
func (s *Store) Policy(ctx context.Context, domain string) (p Policy, ok bool) {
	if domain == "" || strings.HasPrefix(domain, "[") {
		return p, false
	}
	id, faulty := s.announced(ctx, domain)
	now := s.now()
	s.mu.Lock()
	e := s.known.of[domain]
	s.mu.Unlock()
	switch valid := e.valid(now); {
	case valid && (id == "" || id == e.ID):
		// A record that is gone, or that DNS does not give now, ends no policy.
		if id != "" && e.olderThan(refreshAfter, now) {
			s.start(domain, id)
		}
		return e.Policy, true
	case id == "" || faulty:
		return p, false
	}
	s.await(ctx, s.start(domain, id))
	s.mu.Lock()
	defer s.mu.Unlock()
	if e = s.known.of[domain]; e.valid(now) {
		return e.Policy, true
	}
	return p, false
}

// Refresh is Policy for use before mail is refused because of a policy (RFC 8461 s. 5.1):
// it fetches a policy that is known again, unless that was done just now.
func (s *Store) Refresh(ctx context.Context, domain string) (p Policy, ok bool) {
	s.mu.Lock()
	e := s.known.of[domain]
	s.mu.Unlock()
	if e != nil && e.olderThan(againAfter, s.now()) {
		s.await(ctx, s.start(domain, e.ID))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e = s.known.of[domain]; e.valid(s.now()) {
		return e.Policy, true
	}
	return p, false
}

// announced is the id that DNS has; "" for none. faulty: DNS did not say.
func (s *Store) announced(ctx context.Context, domain string) (id string, faulty bool) {
	a := s.resolver.Ask(ctx, "_mta-sts."+domain, dns.TypeTXT)
	return recordID(resolve.Texts(a.RRs)), a.State == resolve.Fault
}

// start fetches a policy, unless that is under way or has just failed; nil then.
func (s *Store) start(domain, id string) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[domain]; f != nil {
		return f
	}
	if s.now().Before(s.failed[domain].until) || s.life.Err() != nil {
		return nil
	}
	owner := resolve.Owner(domain)
	if s.fetching[owner] >= perOwner {
		return nil
	}
	select {
	case s.slots <- struct{}{}:
	default:
		return nil // others fetch; the next mail asks again
	}
	s.fetching[owner]++
	f := &flight{done: make(chan struct{})}
	s.flights[domain] = f
	s.tasks.Add(1)
	go func() {
		defer s.tasks.Done()
		p, err := s.fetcher.fetch(s.life, domain)
		s.took(domain, id, p, err)
		s.ended(owner)
		<-s.slots
		close(f.done)
	}()
	return f
}

// ended notes the end of a fetch for a domain of an owner.
func (s *Store) ended(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fetching[owner]--; s.fetching[owner] <= 0 {
		delete(s.fetching, owner)
	}
}

// await waits for a fetch, for as long as a mail may wait.
func (s *Store) await(ctx context.Context, f *flight) {
	if f == nil {
		return
	}
	timer := time.NewTimer(firstWait)
	defer timer.Stop()
	select {
	case <-f.done:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// took notes what came of a fetch.
func (s *Store) took(domain, id string, p Policy, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	delete(s.flights, domain)
	if err != nil {
		s.failLocked(domain, failure{now.Add(againAfter), troubleOf(err)}, now)
		// Clients can name any number of domains.
		if s.life.Err() == nil && now.Sub(s.told) >= tellEvery {
			s.told = now
			s.log.Info("a policy of MTA-STS cannot be had", "domain", domain, "err", resolve.Printable(err.Error()))
		}
		return
	}
	delete(s.failed, domain)
	s.known.put(domain, newEntry(domain, p, id, now), now)
	if s.file != nil && s.save == nil {
		s.save = time.AfterFunc(saveAfter, func() {
			s.mu.Lock()
			s.save = nil
			s.mu.Unlock()
			s.write()
		})
	}
}

func (s *Store) failLocked(domain string, f failure, now time.Time) {
	if len(s.failed) >= maxKept {
		for d, f := range s.failed {
			if !now.Before(f.until) {
				delete(s.failed, d)
			}
		}
		if len(s.failed) >= maxKept {
			clear(s.failed)
		}
	}
	s.failed[domain] = f
}

// load reads the file.
func (s *Store) load() error {
	text, err := s.file.Read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return s.file.SetAside(err)
	}
	all := map[string]*entry{}
	if err := json.Unmarshal(text, &all); err != nil {
		return s.file.SetAside(err)
	}
	now := s.now()
	for domain, e := range all {
		// A clock that is behind, as of a machine that starts without a battery, takes no
		// protection away.
		if e != nil && e.valid(now) && e.MaxAge <= longestAge {
			s.known.put(domain, newEntry(domain, e.Policy, e.ID, e.Fetched), now)
		}
	}
	return nil
}

// write writes the file.
func (s *Store) write() {
	s.mu.Lock()
	text, err := json.Marshal(s.known.of)
	s.mu.Unlock()
	if err == nil {
		err = s.file.Write(text)
	}
	if err != nil {
		s.log.Error("policies of MTA-STS cannot be kept", "err", err)
	}
}
