package console

import (
	"context"
	"time"

	"postern/internal/tally"
	"postern/mail"
	"postern/ratelimit"
)

// Data is what the console asks the node. Every function may be called from several
// goroutines at once.
type Data struct {
	// State is the relay at the moment.
	State func() RelayState
	// Budgets are the n budgets that are used most.
	Budgets func(ctx context.Context, n int) ([]ratelimit.Usage, error)
	// History are the recipients of somebody of the last 14 days, today last; nil where
	// nothing is known.
	History func(scope, name string) []int
	// Senders are those of a stream within an hour, from the journal, and of a client where
	// one is named; whole is false where there were more.
	Senders func(ctx context.Context, stream, client string, hour tally.Hour) (list []tally.Sender, whole bool, err error)
	// UsualHour is how many recipients a sender has in its busiest usual hour; 0: unknown.
	UsualHour func(*tally.Sender) int
	// Report and Ways are what was counted.
	Report func() tally.Report
	Ways   func() map[string]tally.UpstreamUse
	// Now says what mail like that of an event would get now, a line for each thing that
	// would stop it; none: it would go on to the upstream.
	Now func(ctx context.Context, e *mail.Event) ([]string, error)
}

// RelayState is a relay at one moment.
type RelayState struct {
	Relay, Version string
	Started        time.Time
	Ready          bool // mail is taken
	// Conditions are what is wrong, the worst first.
	Conditions  []Condition
	Connections int64
	Streams     []Stream
	Hosts       []Host
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
	// Connections are those that transactions use, Idle those that are kept; Max is how
	// many both may be.
	Connections, Idle, Max int
}
