package reputation

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/resolve"
	"postern/internal/shell"
	"postern/internal/statefile"
	"postern/internal/text"
	"postern/mail"
	"postern/reputation/dnsbl"
	"postern/reputation/identity"
)

// Kinds of events.
const (
	EventFinding  = "finding"  // a check changed its end
	EventListed   = "listed"   // a listing began
	EventWave     = "wave"     // a receiver refuses most of its recipients as unknown (Suppressions.Heard)
	EventSuspect  = "suspect"  // who may have caused it
	EventDelisted = "delisted" // a listing ended
	EventZone     = "zone"     // a blocklist is no longer believed, or again
	EventRefusal  = "refusal"  // a receiver refused for what a check found wrong
	EventPaused   = "paused"   // a stream waits because of a listing
	EventResumed  = "resumed"  // it goes on
	EventDropped  = "dropped"  // transactions came faster than they could be counted
)

// Event is one change that an operator should hear of.
type Event struct {
	Time    time.Time         `json:"time"`
	Kind    string            `json:"kind"`
	Status  identity.Status   `json:"status"` // how bad it is
	Subject string            `json:"subject"`
	Text    string            `json:"text"`
	Finding *identity.Finding `json:"finding,omitempty"`
	Listing *Listing          `json:"listing,omitempty"` // a copy
	Suspect *Suspect          `json:"suspect,omitempty"`
}

// Setup is what a configuration says; Reload takes a new one.
type Setup struct {
	Config   Config
	Identity identity.Presence
}

// Options are what a Monitor is made of.
type Options struct {
	Setup Setup
	// Backoff is where streams are paused. nil: a memory that nobody else asks.
	Backoff *Backoff
	// StateDir is where listings and history are kept. Blank: nowhere.
	StateDir string
	Now      func() time.Time // nil: time.Now
	Log      *slog.Logger     // for state files that cannot be read
	// Report is told how each try to write a state file went. nil: nobody.
	Report func(part string, err error)
	// OnEvent is told of changes, one at a time; it must not block.
	OnEvent func(Event)
	// OnKeys is told what DNS says about the DKIM keys, by "domain/selector",
	// after each run of the checks. nil: nobody.
	OnKeys func(map[string]identity.KeyState)
	// Outlier is the score of the outlier watch for a sender, user or client; at
	// least 1 is an alarm. nil: none.
	Outlier func(kind, name, client string) float64
	// Command writes a command of an operator for this relay. nil: without a
	// configuration.
	Command func(words ...string) string
	// Suspend suspends a suspect. nil: nothing is suspended.
	Suspend func(s Suspect, reason string) error
}

// Monitor watches our identity and listings in the background. All methods are
// safe for concurrent use and, apart from Run, answer from memory.
type Monitor struct {
	files struct{ listings, history *statefile.File } // nil without a state folder
	// unsaved: a state file could not be written.
	unsaved atomic.Bool

	backoff  *Backoff
	opts     Options
	now      func() time.Time
	resolver atomic.Pointer[resolve.Resolver]
	intake   intake
	wake     chan struct{}
	saving   sync.Mutex

	mu        sync.Mutex
	setup     Setup
	reloaded  bool // and not yet checked
	poller    *dnsbl.Poller
	book      *book
	history   *History
	findings  []identity.Finding
	checked   time.Time
	nextCheck time.Time
	asked     map[string]time.Time // identity checks that refusals asked for
	jobs      []job
}

// job is a question to DNS that a refusal leads to.
type job struct {
	transaction string
	target      dnsbl.Target // to confirm, with the zone that the refusal names
	zone        string
	witness     string // registered domain whose networks are to be found, with domain
	domain      string // to check with an address
	address     netip.Addr
	class       mail.Class // of the refusal
	reply       string
}

const (
	maxJobs     = 256
	jobsAtOnce  = 4 // before anything else that is due has its turn
	maxAsked    = 1000
	askAgain    = 10 * time.Minute
	saveEvery   = 5 * time.Minute
	saveAgain   = 5 * time.Second // after a write that failed
	pauseFor    = 24 * time.Hour  // renewed while the listing lasts
	expireEvery = time.Minute
	checkBound  = 2 * time.Minute
	// networksBound is for one search for the networks of a witness.
	networksBound = 30 * time.Second
)

// NewMonitor makes a monitor from what an earlier one has saved; Run starts it.
// The error is one of the configuration.
func NewMonitor(o Options) (*Monitor, error) {
	m := &Monitor{
		opts: o, now: o.Now, intake: intake{came: make(chan struct{}, 1)}, wake: make(chan struct{}, 1), asked: map[string]time.Time{},
	}
	if m.now == nil {
		m.now = time.Now
	}
	if m.opts.Log == nil {
		m.opts.Log = slog.New(slog.DiscardHandler)
	}
	if m.opts.Report == nil {
		m.opts.Report = func(string, error) {}
	}
	if m.opts.OnEvent == nil {
		m.opts.OnEvent = func(Event) {}
	}
	if m.backoff = o.Backoff; m.backoff == nil {
		m.backoff = NewBackoff(m.now)
	}
	m.book = newBook(m.now)
	m.history = NewHistory(cmp.Or(o.Setup.Config.LookBack, 24*time.Hour))
	m.load()
	return m, m.Reload(o.Setup)
}

// Reload puts another configuration in force and runs the checks again. After an error,
// which is about the configuration, the old one stays.
func (m *Monitor) Reload(s Setup) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.resolver.Load()
	if r == nil || m.setup.Config.Timeout != s.Config.Timeout || !slices.Equal(m.setup.Config.Resolvers, s.Config.Resolvers) {
		var err error
		r, err = resolve.New(resolve.Options{Servers: s.Config.Resolvers, Timeout: s.Config.Timeout, Now: m.now})
		if err != nil {
			return err
		}
	}
	var zones []*dnsbl.Zone
	for _, name := range sortedZones(s.Config.DNSBL) {
		z, err := dnsbl.NewZone(name, s.Config.DNSBL[name])
		if err != nil {
			return fmt.Errorf("reputation.dnsbl.%q: %w", name, err)
		}
		zones = append(zones, z)
	}
	if old := m.resolver.Swap(r); old != nil && old != r {
		old.Stop()
	}
	m.setup, m.reloaded = s, true
	m.poller = dnsbl.NewPoller(r, zones, m.now).Inherit(m.poller)
	restore(m.poller, m.book.listings)
	m.signal()
	return nil
}

func sortedZones(zones map[string]dnsbl.ZoneConfig) []string {
	names := make([]string, 0, len(zones))
	for name := range zones {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// command is one that reports name.
func (m *Monitor) command(words ...string) string {
	if m.opts.Command == nil {
		return shell.Command(append([]string{"relay"}, words...)...)
	}
	return m.opts.Command(words...)
}

// signal wakes the goroutine that looks at DNS.
func (m *Monitor) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Note counts a finished transaction to these recipients; t.Recipients is not read. It is
// counted in the background, and left out when that cannot keep up. to is copied; nothing
// else of t may change afterwards.
func (m *Monitor) Note(t *Transaction, to []Recipient) { m.intake.add(t, to) }

// Run watches until ctx ends, and then saves what it knows.
func (m *Monitor) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { m.count(ctx) })
	wg.Go(func() { m.look(ctx) })
	wg.Wait()
	m.takeQueued()
	m.resolver.Load().Close()
	m.save()
}

// gatherFor is how long transactions wait for others after some were counted:
// to wake a goroutine for each would cost more than the counting.
const gatherFor = 20 * time.Millisecond

// count counts transactions as they come.
func (m *Monitor) count(ctx context.Context) {
	for {
		select {
		case <-m.intake.came:
		case <-ctx.Done():
			return
		}
		m.takeQueued()
		pause := time.NewTimer(gatherFor)
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
		pause.Stop()
	}
}

// takeQueued counts what waits.
func (m *Monitor) takeQueued() {
	for b := m.intake.take(); len(b.transactions) > 0; b = m.intake.take() {
		for i := range b.transactions {
			m.take(&b.transactions[i])
		}
		m.intake.done(b)
	}
}

// look does what is due by DNS, and keeps the state files.
func (m *Monitor) look(ctx context.Context) {
	saved := m.now()
	for ctx.Err() == nil {
		next := m.step(ctx)
		now := m.now()
		if since := now.Sub(saved); since >= saveEvery || since < 0 || m.unsaved.Load() && since >= saveAgain {
			m.unsaved.Store(false)
			m.save()
			saved = now
		}
		if again := saved.Add(saveAgain); m.unsaved.Load() && again.Before(next) {
			next = again
		}
		timer := time.NewTimer(max(next.Sub(m.now()), 10*time.Millisecond))
		select {
		case <-m.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// step does all that is due now and returns when the next thing is.
func (m *Monitor) step(ctx context.Context) time.Time {
	m.runJobs(ctx)
	m.mu.Lock()
	now := m.now()
	check := m.reloaded || !now.Before(m.nextCheck)
	m.reloaded = false
	setup := m.setup
	m.mu.Unlock()
	if check {
		m.check(ctx, setup)
	}
	m.poll(ctx)
	m.expire()
	m.tellDropped()
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.nextCheck
	if at, ok := m.poller.Due(); ok && at.Before(next) {
		next = at
	}
	if soon := now.Add(expireEvery); soon.Before(next) {
		next = soon
	}
	return next
}

// check runs the identity checks and tells of what has changed.
func (m *Monitor) check(ctx context.Context, setup Setup) {
	ctx, cancel := context.WithTimeout(ctx, checkBound)
	defer cancel()
	report := identity.Check(ctx, m.resolver.Load(), setup.Identity, m.now)
	if ctx.Err() != nil {
		report.Keys = nil // half a run says nothing
	}
	m.mu.Lock()
	news := identity.Changes(m.findings, report.Findings)
	first := m.checked.IsZero()
	m.findings, m.checked = report.Findings, m.now()
	every := cmp.Or(setup.Config.CheckEvery, time.Hour)
	m.nextCheck = m.checked.Add(every + rand.N(every/10+1) - every/20)
	m.mu.Unlock()
	if m.opts.OnKeys != nil && report.Keys != nil {
		m.opts.OnKeys(report.Keys)
	}
	if n := identity.Summarize(report.Findings).Unknown; first && n > 0 {
		m.tell(Event{Kind: EventFinding, Status: identity.Unknown, Subject: "checks", Text: fmt.Sprintf("%d checks of our identity had no answer; see: %s", n, m.command("listings", "findings"))})
	}
	for _, f := range news {
		m.tell(Event{Kind: EventFinding, Status: f.Status, Subject: f.Check + " " + f.Subject,
			Text: fmt.Sprintf("%s: %s", f.Seen, cmp.Or(f.Change, "good again")), Finding: &f})
	}
}

// tell passes an event on.
func (m *Monitor) tell(e Event) {
	e.Time = m.now()
	m.opts.OnEvent(e)
}

func (m *Monitor) tellDropped() {
	if n := m.intake.lost(); n > 0 {
		m.tell(Event{Kind: EventDropped, Status: identity.Warn, Subject: "transactions",
			Text: text.Count(n, "transaction", "transactions") + " came faster than could be counted; reports leave that out"})
	}
}

// Findings returns the findings of the last run of the checks, and when that was; the zero
// time before the first.
func (m *Monitor) Findings() ([]identity.Finding, time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.findings), m.checked
}

// Listings returns a copy of all reports, the newest last.
func (m *Monitor) Listings() []Listing {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]Listing, len(m.book.listings))
	for i, l := range m.book.listings {
		list[i] = l.copy()
	}
	return list
}

// Zones returns what is known of each blocklist.
func (m *Monitor) Zones() []dnsbl.ZoneStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.poller.Status()
}

func (l *Listing) copy() Listing {
	c := *l
	c.Evidence = slices.Clone(l.Evidence)
	for i := range c.Evidence {
		c.Evidence[i].Transactions = slices.Clone(c.Evidence[i].Transactions)
	}
	return c
}
