package console

import (
	"context"
	"errors"
	"time"

	"postern/internal/find"
	"postern/internal/tally"
	"postern/mail"
	"postern/outlier"
	"postern/ratelimit"
	"postern/reputation"
)

// Data is what the console asks the node. Every function may be called from several
// goroutines at once.
type Data struct {
	// State is the relay at the moment.
	State func() State
	// Held are the senders, users and clients that are throttled or suspended.
	Held func() []outlier.State
	// Listings are those that are open.
	Listings func() []reputation.Listing
	// Budgets are the n budgets that are used most.
	Budgets func(ctx context.Context, n int) ([]ratelimit.Usage, error)
	// Raises are the temporary overrides of limits.
	Raises func(ctx context.Context) ([]ratelimit.Raise, error)
	// History are the recipients of somebody of the last 14 days, today last; nil where
	// nothing is known.
	History func(scope, name string) []int
	// Report and Ways are what was counted.
	Report func() tally.Report
	Ways   func() map[string]tally.Way
	// Search looks into the journal; ErrNoJournal where none is kept.
	Search func(ctx context.Context, q find.Query, hit func(*mail.Event) error) (find.Stats, error)
	// Now says what mail like that of an event would get now, a line for each thing that
	// would stop it; none: it would go on to the upstream.
	Now func(ctx context.Context, e *mail.Event) ([]string, error)
	// Owns reports whether a client owns a sender.
	Owns func(client, sender string) bool

	// Release, Suspend, Resume and Allow change something; by is who did it. Their errors
	// are shown to who asked.
	Release func(ctx context.Context, by Actor, scope, name string) ([]string, error)
	Suspend func(ctx context.Context, by Actor, scope, name string, d time.Duration) error
	Resume  func(ctx context.Context, by Actor, stream string) error
	Allow   func(ctx context.Context, by Actor, r ratelimit.Raise) error
}

// Actor is who changes something, and why.
type Actor struct {
	Identity
	Remote string // address of the browser
	Reason string
}

// ErrNoJournal means that there is no journal to look into.
var ErrNoJournal = errors.New("the relay keeps no journal; set journal.file")

// State is a relay at one moment.
type State struct {
	Relay, Version string
	Started        time.Time
	Ready          bool // mail is taken
	// Conditions are what is wrong, the worst first.
	Conditions  []Condition
	Connections int64
	Streams     []Stream
	Hosts       []Host
	Journal     bool // one is kept
}

// Condition is one thing that is wrong.
type Condition struct {
	Bad   bool   // mail is not taken, or not sent
	What  string // what it is about, such as "upstream"
	Text  string
	Since time.Time // zero: unknown
	// Remedy says what to do; "": the text says it.
	Remedy string
}

// Stream is one stream.
type Stream struct {
	Name, Upstream string
	Capture        bool      // its mail is kept in a folder
	Paused         time.Time // until when; zero: it is not
}

// Host is one host of an upstream.
type Host struct {
	Upstream, Host string
	Up             bool
	Since          time.Time // zero: never down
	LastSuccess    time.Time
	LastFailure    time.Time
	LastError      string
}
