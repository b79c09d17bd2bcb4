package direct

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"postern/mail"
	"postern/mx"
	"postern/mx/provider"
	"postern/mx/sts"
	"postern/mx/tlsrpt"
	"postern/upstream"
	"postern/upstream/patience"
	"postern/upstream/replies"
	"postern/upstream/warmup"
)

// Options are what an Upstream takes from its surroundings.
type Options struct {
	// Hostname is the EHLO name of routes that have none.
	Hostname string
	// Self is who we are, so that no mail goes round.
	Self mx.Self
	// DNSTimeout bounds one question; 0: 4s.
	DNSTimeout time.Duration
	// STSFile keeps policies of MTA-STS; blank: in memory only.
	STSFile string
	// STSPort is the port of policy hosts; 0: 443. Another one is for tests.
	STSPort int
	// Log is told when a domain has addresses in DNS to which no mail may go. Nil:
	// nobody is told.
	Log *slog.Logger
	// Rules say what refusals mean. Nil: the built-in ones.
	Rules *replies.Classifier
	// Groups are the large receivers, and what each of them wants. Nil: none is known.
	Groups *provider.Groups
	// Warmup holds the mail from new addresses to their budgets. Nil: all may leave.
	Warmup *warmup.Gate
	// After is the upstream that this one replaces, with the same Groups: they share what
	// is known of which domain is in which group. Nil: there is none.
	After *Upstream
}

// Upstream delivers to the exchangers of each recipient's domain. All methods may
// be called from several goroutines.
type Upstream struct {
	name       string
	cfg        upstream.Config
	opt        Options
	finder     *mx.Finder
	sts        *sts.Store // nil: policies are not heeded
	reports    *tlsrpt.Reporter
	pool       *pool
	warmup     atomic.Pointer[warmup.Gate]
	exceptions map[string]exception // by recipient domain
	known      *groupsKnown         // shared with the one whose place it takes
	patience   *patience.Book       // and this

	mu   sync.Mutex
	told map[string]time.Time // domains whose addresses were refused, and when that was logged
}

// New makes the upstream called name; cfg has been checked, and has MX set. It
// asks and connects to nobody.
func New(name string, cfg upstream.Config, o Options) (*Upstream, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Rules == nil {
		o.Rules = replies.BuiltIn() // once for all hosts
	}
	finder, err := mx.New(mx.Options{Config: cfg.Config, Self: o.Self, DNSTimeout: o.DNSTimeout})
	if err != nil {
		return nil, err
	}
	roots, err := upstream.LoadRoots(cfg.CA)
	if err != nil {
		finder.Close()
		return nil, err
	}
	known, book := &groupsKnown{}, patience.New(nil)
	if o.After != nil {
		known, book = o.After.known, o.After.patience
		o.After = nil // it goes once its transactions have ended
	}
	u := &Upstream{name: name, cfg: cfg, opt: o, finder: finder, exceptions: exceptionsOf(&cfg), known: known, patience: book, told: map[string]time.Time{}}
	u.reports = tlsrpt.New(tlsrpt.Options{Socket: cfg.TLSRPTSocket, Resolver: finder.Resolver(), Log: o.Log})
	u.pool = newPool(name, cfg, o, roots)
	u.warmup.Store(o.Warmup)
	if cfg.MTASTS {
		u.sts = sts.New(sts.Options{Resolver: finder.Resolver(), Refused: finder.Refused, File: o.STSFile, Roots: roots, Port: o.STSPort, Log: o.Log})
	}
	return u, nil
}

// Name is the upstream's name in the configuration.
func (u *Upstream) Name() string { return u.name }

// SetRules takes other rules for the refusals that come from now on; nil are the
// built-in ones.
func (u *Upstream) SetRules(r *replies.Classifier) { u.pool.setRules(r) }

// UseWarmup holds the mail of transactions that begin from now on to the budgets of g; with
// nil all may leave.
func (u *Upstream) UseWarmup(g *warmup.Gate) { u.warmup.Store(g) }

// Connections is how many are open with all hosts, those that are idle included.
func (u *Upstream) Connections() int { return u.pool.connections() }

// Close closes idle connections at once and the others as their transactions end,
// as that of upstream.Upstream does.
func (u *Upstream) Close(ctx context.Context) error {
	defer u.finder.Close()
	defer u.reports.Close()
	if u.sts != nil {
		defer u.sts.Close()
	}
	return u.pool.close(ctx)
}

// Begin starts a transaction. It does no I/O; env must stay as it is until the
// transaction's end, except for env.To, which is not read. The caller calls Close
// in the end.
func (u *Upstream) Begin(r upstream.Route, env *mail.Envelope) *Transaction {
	return &Transaction{u: u, route: r, env: env, warmup: u.warmup.Load(), visit: u.patience.Begin(env.Client)}
}

// Source picks our address for a domain and an address of its hosts, out of those
// of its family: for one domain always the same, since a greylist that sees each
// try come from another address begins anew each time. ok is false where there is
// none of the family; the zero address where the route names none at all.
func Source(all []netip.Addr, domain string, to netip.Addr) (best netip.Addr, ok bool) {
	var most uint64
	for _, a := range all {
		a = a.Unmap()
		if a.Is4() != to.Is4() {
			continue
		}
		// The highest hash, so that a change of one address moves only its domains.
		sum := sha256.Sum256([]byte(a.String() + " " + domain))
		if h := binary.BigEndian.Uint64(sum[:]); !ok || h > most {
			best, most, ok = a, h, true
		}
	}
	return best, ok || len(all) == 0
}

// tellRefused says that a domain names addresses to which no mail may go, once in
// an hour for each of not too many: somebody may be looking for a way in.
func (u *Upstream) tellRefused(a *mx.Answer) {
	var refused []string
	for i := range a.Exchangers {
		for _, ip := range a.Exchangers[i].Addresses {
			if ip.Refused != "" {
				refused = append(refused, ip.IP.String()+" ("+ip.Refused+")")
			}
		}
	}
	if len(refused) == 0 || !u.firstToTell(a.Domain, time.Now()) {
		return
	}
	u.opt.Log.Warn("mail is not sent to the addresses that a recipient's domain names", "upstream", u.name, "domain", a.Domain, "addresses", refused[:min(len(refused), 5)])
}

const (
	tellEvery = time.Hour
	maxTold   = 100
)

func (u *Upstream) firstToTell(domain string, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if at, ok := u.told[domain]; ok && now.Sub(at) < tellEvery {
		return false
	}
	for d, at := range u.told {
		if now.Sub(at) >= tellEvery {
			delete(u.told, d)
		}
	}
	if len(u.told) >= maxTold {
		return false
	}
	u.told[domain] = now
	return true
}

// Lane is the use that is made of one group of receivers from one of our addresses.
type Lane struct {
	Provider string
	Source   netip.Addr // zero: whichever the system chooses
	InUse    int        // transactions
	Open     int        // connections, those that are idle included
	Waiting  int
	Refused  uint64 // transactions that found no room, or no turn, in time
}

// Lanes returns the lanes used since the start. The use of all hosts that are in no group
// is one lane, that of provider.Other.
func (u *Upstream) Lanes() []Lane { return u.pool.uses() }

func ehlo(r upstream.Route, hostname string) string { return cmp.Or(r.EHLO, hostname) }
