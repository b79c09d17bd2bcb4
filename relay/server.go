package relay

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"postern/dkimsign"
	"postern/internal/parts"
	"postern/mail"
	"postern/policy/submitter"
	"postern/ratelimit"
	"postern/relay/halves"
	"postern/relay/smtpd"
	"postern/scan"
	"postern/scan/links"
	"postern/upstream"
	"postern/upstream/direct"
)

// Snapshot is the rules of one moment. It must not change once New or Reload has it, and is
// for one Server; a reload puts another in its place, and a transaction ends under the one
// that it began with.
type Snapshot struct {
	smtpd.Settings
	Postmaster mail.Address // where mail to <postmaster> goes; null: refused
	// SuspendedMay are the recipients to whom a suspended sender may write; nil: none.
	SuspendedMay *mail.Patterns
	HelpURL      string // a page that replies about suspensions name; "": none
	Signers      *dkimsign.Signers
	Routes       map[string]*Route // by stream; each stream of a client has one
	Scanners     *scan.Set         // nil: none
	Links        *links.Lists      // nil: none

	attachments map[string]*parts.RefusedNames // that Rules refuse, by client
}

// Route is how the mail of one stream leaves.
type Route struct {
	Name      string             // of the upstream in the configuration
	Upstream  *upstream.Upstream // nil where Direct is not
	Direct    *direct.Upstream   // to the recipients' own exchangers
	Via       upstream.Route     // source addresses and the like
	SourceKey string             // what limits per source_ip count on
	// Sign is how mail of this route is signed: chosen with the route, so that a message is
	// signed for the upstream that gets it. Nil: by all keys.
	Sign *dkimsign.Way
	// MaxRecipients is how many recipients of one message the upstream takes; 0: as many as
	// [message] max_recipients allows.
	MaxRecipients int
}

// Hop is a mail transaction with what is behind us: with a configured upstream
// (upstream.Transaction, whose methods have the same meaning) or with exchangers of the
// recipients' domains (direct.Fan). One goroutine at a time may use it.
type Hop interface {
	Recipients(ctx context.Context, rs []mail.Recipient, out []mail.Reply) ([]mail.Reply, error)
	Resume(ctx context.Context, size int64) (parked bool, err error)
	// Send returns one verdict for all recipients, or one for each of their domains.
	Send(ctx context.Context, body upstream.Content) []upstream.Verdict
	Park() error
	Wanted() bool
	Host() string
	SourceIP() netip.Addr
	TLS() string
	Close()
}

// Begin starts a mail transaction on this route. It does no I/O. env must stay as it is
// until the end of the transaction, and the caller calls Close then.
func (r *Route) Begin(env *mail.Envelope) Hop {
	if r.Direct != nil {
		return r.Direct.Fan(r.Via, env)
	}
	return next{r.Upstream.Begin(r.Via, env)}
}

// next is a transaction with the configured upstream as a Hop.
type next struct{ *upstream.Transaction }

func (n next) Send(ctx context.Context, body upstream.Content) []upstream.Verdict {
	r, err := n.Transaction.Send(ctx, body)
	return []upstream.Verdict{{Reply: r, Err: err}}
}

// Server runs the listeners and their sessions. It is safe for concurrent use.
type Server struct {
	engine    *smtpd.Server
	snap      atomic.Pointer[Snapshot]
	limiter   *ratelimit.Limiter
	hooks     Hooks
	observers []mail.Observer
	spool     *spooler
	walker    parts.Walker
	faults    faultLog
	halves    *halves.Memory // nil: nothing is remembered
	asking    askers
	marks     *submitter.Marks
}

// Options are what a Server is made of. Snapshot, Limiter, SpoolDir and Log are needed.
type Options struct {
	Snapshot  *Snapshot // the first rules; see Reload
	Limiter   *ratelimit.Limiter
	Hooks     Hooks
	Observers []mail.Observer // each gets every event, in this order
	// Halves remembers messages that one domain took and another did not; nil: a
	// transaction of SMTP is then for recipients of one domain, where mail goes to the
	// domains' own exchangers.
	Halves    *halves.Memory
	SpoolDir  string // for bodies over [message] memory; must exist
	Log       *slog.Logger
	RateGrace time.Duration // see smtpd.Options
}

// New makes a server that does not listen yet.
func New(o Options) *Server {
	s := &Server{limiter: o.Limiter, hooks: o.Hooks, observers: o.Observers, spool: newSpooler(o.SpoolDir), halves: o.Halves, faults: faultLog{log: o.Log}, marks: submitter.NewMarks()}
	s.Reload(o.Snapshot)
	s.engine = smtpd.New(smtpd.Options{
		Settings: func() *smtpd.Settings { return &s.snapshot().Settings }, Begin: s.mail, DSN: s.offersDSN, Suspended: s.userSuspended,
		Observe: s.observe, Fault: s.fault, Log: o.Log, RateGrace: o.RateGrace,
	})
	return s
}

// Reload puts other rules in place, which the caller must not change afterwards.
// Transactions that have begun end under the old ones.
func (s *Server) Reload(n *Snapshot) {
	n.attachments = attachmentRules(n.Rules)
	s.snap.Store(n)
}

func (s *Server) snapshot() *Snapshot { return s.snap.Load() }

// Connections is how many connections are open now.
func (s *Server) Connections() int64 { return s.engine.Connections() }

// Serve accepts connections until ctx ends, l is closed or the server is shut down, and
// returns smtpd.ErrStopped then. Sessions that are open go on.
func (s *Server) Serve(ctx context.Context, l *smtpd.Listener) error { return s.engine.Serve(ctx, l) }

// Shutdown stops accepting, tells idle clients 421, lets transactions finish
// until ctx ends, and then closes what is left. It returns the number of
// connections that it had to cut off.
func (s *Server) Shutdown(ctx context.Context) int { return s.engine.Shutdown(ctx) }

func (s *Server) observe(ev *mail.Event) {
	ev.Bound()
	for _, o := range s.observers {
		o.Observe(ev)
	}
}

// fault logs trouble of ours or behind us, at most one line per cause and ten
// seconds.
func (s *Server) fault(cause string, err error, attrs ...any) { s.faults.report(cause, err, attrs...) }
