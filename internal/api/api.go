package api

import (
	"context"
	"log/slog"
	"net/http"
	"reflect"
	"time"

	"postern/internal/access"
	"postern/internal/admin"
	"postern/internal/audit"
	"postern/mail"
	"postern/mx/provider"
	"postern/outlier"
	"postern/ratelimit"
	"postern/reputation"
	"postern/reputation/dnsbl"
	"postern/reputation/identity"
	"postern/upstream/warmup"
)

// Call is one operation. Who calls it is in the context; the error is a *Problem.
type Call[In, Out any] func(ctx context.Context, in In) (Out, error)

// Parts are what operations ask and act on.
type Parts struct {
	Watch        *outlier.Watch
	Limiter      *ratelimit.Limiter
	Suppressions *reputation.Suppressions // nil: none are kept
	Backoff      *reputation.Backoff
	Warmups      func(context.Context) ([]warmup.Row, error)
	Monitor      *reputation.Monitor
	Guide        *admin.Guide
	Tokens       *access.Tokens
	Audit        *audit.Log
	Log          *slog.Logger
	Now          func() time.Time

	Status func() admin.Status
	Alerts func() admin.AlertStatus
	// Lanes are the uses of groups of receivers, and Groups what each of them is given.
	Lanes  func() []admin.ProviderLane
	Groups func() *provider.Groups
	// TLS is how TLS with receivers went, by upstream.
	TLS func() []admin.TLSUse
	// Journals are the files of the journals, that of clients first, with all that is to
	// stand in them; none: no journal is kept.
	Journals func() []string
	// Config is the configuration in force, its secrets hidden.
	Config func() map[string]any
	// Complete fills in what follows from the client of a mail; its error is for who
	// asks.
	Complete func(*ratelimit.Facts) error
	// Known, Stream and Channel say why the configuration has not what is named.
	Known   func(*ratelimit.Filter) error
	Stream  func(name string) error
	Channel func(name string) error
	// TestAlert sends a notice to a channel.
	TestAlert func(ctx context.Context, channel, by string) error
	// ConsoleLink is a link that logs somebody in to the console, once; "" where there
	// is none.
	ConsoleLink func(access.Caller) string
	// Reload reads the configuration again; CheckReload says what would become of that.
	Reload, CheckReload func() admin.ReloadStatus
	// Owners are the clients that own a sender, user or client of the configuration.
	Owners func(scope, name string) []string
}

// API has the operations, each with its rights.
type API struct {
	parts  Parts
	routes []*route
	search chan struct{} // holds one while the journal is searched
	listed *listed

	WhoAmI       Call[None, access.Caller]
	Status       Call[None, admin.Status]
	Senders      Call[SendersQuery, Page[outlier.Row]]
	Sender       Call[Named, admin.SenderDetail]
	Suspensions  Call[SuspensionsQuery, Page[outlier.State]]
	Limits       Call[LimitsQuery, Page[ratelimit.Usage]]
	ExplainLimit Call[ExplainQuery, Page[ratelimit.Explanation]]
	Allowances   Call[PageQuery, Page[ratelimit.Allowance]]
	Suppressions Call[SuppressionsQuery, Page[reputation.Suppression]]
	Backoffs     Call[PageQuery, Page[reputation.BackoffEntry]]
	Warmups      Call[PageQuery, Page[warmup.Row]]
	Upstreams    Call[PageQuery, Page[admin.UpstreamHost]]
	Providers    Call[PageQuery, Page[Provider]]
	TLS          Call[PageQuery, Page[admin.TLSUse]]
	Streams      Call[PageQuery, Page[admin.StreamStatus]]
	Scanners     Call[PageQuery, Page[admin.ScannerStatus]]
	Listings     Call[ListingsQuery, Page[reputation.Listing]]
	Listing      Call[Numbered, reputation.Listing]
	Zones        Call[PageQuery, Page[dnsbl.ZoneStatus]]
	Findings     Call[PageQuery, FindingsPage]
	Alerts       Call[None, admin.AlertStatus]
	Events       Call[EventsQuery, EventsPage]
	Event        Call[EventQuery, mail.Event]
	Config       Call[None, map[string]any]
	OpenAPI      Call[None, map[string]any]
	Undo         Call[Undo, Done[Undone]]
	Audit        Call[AuditQuery, AuditPage]
	Tokens       Call[PageQuery, Page[access.Token]]

	Suspend, Extend Call[Suspend, Done[outlier.State]]
	Release         Call[Release, Done[admin.Released]]
	Allow           Call[Allow, Done[ratelimit.Allowance]]
	Reset           Call[Reset, Done[ratelimit.Usage]]
	Suppress        Call[Suppress, Done[Suppressed]]
	Unsuppress      Call[Suppress, Done[Suppressed]]
	EndBackoff      Call[EndBackoff, Done[BackoffEnded]]
	Resume          Call[Resume, Done[Asked]]
	TestAlert       Call[TestAlert, Done[Asked]]
	Reload          Call[Reload, Done[admin.ReloadStatus]]
	ConsoleLink     Call[OpenConsole, Done[Link]]
	MakeToken       Call[MakeToken, Done[NewToken]]
	RevokeToken     Call[RevokeToken, Done[access.Token]]
}

// FindingsPage is what the last run of the identity checks has found.
type FindingsPage struct {
	Checked time.Time `json:"checked,omitzero"` // zero: not yet
	Page[identity.Finding]
}

// None is a request that says nothing.
type None struct{}

// New makes the operations.
func New(p Parts) *API {
	a := &API{parts: p, search: make(chan struct{}, 1), listed: newListed()}
	a.addReads()
	a.addSuspensions()
	a.addBudgets()
	a.addOthers()
	a.addTokens()
	a.addOpenAPI()
	return a
}

// route is one operation over HTTP.
type route struct {
	method, path string // path below Root
	id, about    string
	least        access.Role
	owned        bool // an owner may, for what is his
	in, out      reflect.Type
	serve        http.HandlerFunc
}

// rights say who may call an operation.
type rights struct {
	least access.Role
	owned bool
}

// query adds an operation that changes nothing.
func query[In, Out any](a *API, path, id, about string, who rights, do Call[In, Out]) Call[In, Out] {
	call := func(ctx context.Context, in In) (out Out, err error) {
		if no := access.Of(ctx).Allow(who.least, who.owned); no != nil {
			return out, refused(no)
		}
		if out, err = do(ctx, in); err != nil {
			return out, asProblem(err)
		}
		return out, nil
	}
	a.routes = append(a.routes, &route{method: http.MethodGet, path: path, id: id, about: about, least: who.least, owned: who.owned,
		in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), serve: func(w http.ResponseWriter, r *http.Request) {
			var in In
			if err := readQuery(r, &in); err != nil {
				writeProblem(w, asProblem(err))
				return
			}
			out, err := call(r.Context(), in)
			answer(w, out, err)
		}})
	return call
}

// Route is one route as a test or a document sees it.
type Route struct {
	Method, Path string // with Root
	ID           string
	Least        access.Role
	Owned        bool // an owner may, for what is his
}

// Routes are all routes, in the order of the documentation.
func (a *API) Routes() (list []Route) {
	for _, r := range a.routes {
		list = append(list, Route{r.method, Root + r.path, r.id, r.least, r.owned})
	}
	return list
}
