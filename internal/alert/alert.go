package alert

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Kinds of conditions.
const (
	Suspended    = "suspended"     // a sender, user or client is suspended
	Listing      = "listing"       // an address or domain of ours is on a blocklist
	Suspect      = "suspect"       // who may have caused a listing
	UpstreamDown = "upstream_down" // no host of an upstream, or one of them, can be used
	NoSuccess    = "no_success"    // mail is deferred, and for 15 minutes an upstream took none
	Store        = "store"         // Redis is away
	Identity     = "identity"      // PTR, SPF, DKIM, DMARC, MX or HELO name is wrong
	Certificate  = "certificate"   // a certificate is within 14 days of its end
	Reload       = "reload"        // the last reload failed
	Scanner      = "scanner"       // a scanner does not answer, or finds nothing
	Disk         = "disk"          // the state folder or the journal cannot be written, or is nearly full
	Refusals     = "refusals"      // receivers refuse much of a stream's mail
	NearLimit    = "near_limit"    // a limit is used to 80 %
	Test         = "test"          // relay alert test
)

// Severities.
const (
	Critical = "critical" // mail of somebody does not leave, or soon will not
	Warning  = "warning"
)

// kind is what is fixed about a kind of conditions.
type kind struct {
	name     string
	severity string
	// after is how long a condition must hold until it is told: what mends itself
	// wakes nobody. clear is how long it must be gone until it is over.
	after, clear time.Duration
}

var kinds = [...]kind{
	{Suspended, Critical, 0, 0},
	{Listing, Critical, 0, 0},
	{Suspect, Critical, 0, 0},
	{UpstreamDown, Critical, 30 * time.Second, 10 * time.Second},
	{NoSuccess, Critical, 0, 0},
	{Store, Critical, 5 * time.Second, 10 * time.Second},
	{Identity, Warning, 0, 0},
	{Certificate, Warning, 0, 0},
	{Reload, Warning, 0, 0},
	{Scanner, Critical, 15 * time.Second, 10 * time.Second},
	{Disk, Critical, 0, 10 * time.Second},
	{Refusals, Warning, 0, 10 * time.Minute},
	{NearLimit, Warning, 0, 0},
	{Test, Warning, 0, 0},
}

func kindOf(name string) kind {
	for _, k := range kinds {
		if k.name == name {
			return k
		}
	}
	return kind{name: name, severity: Warning}
}

// crowd reports whether a is about one of the names that senders choose: whoever
// may send brings about as many of these as he likes, and must not hide with them
// what is told of the relay itself.
func (a *Alert) crowd() bool {
	return a.Kind == NearLimit || a.Kind == Suspended && a.About.Scope != "user" && a.About.Scope != "client"
}

// crowdLast puts alerts of a crowd behind the others, and leaves their order.
func crowdLast(list []Alert) {
	slices.SortStableFunc(list, func(x, y Alert) int { return cmp.Compare(rank(&x), rank(&y)) })
}

func rank(a *Alert) int {
	if a.crowd() {
		return 1
	}
	return 0
}

// Kinds are the names of all kinds that a channel can ask for, in the order of the
// documentation.
func Kinds() (names []string) {
	for _, k := range kinds {
		if k.name != Test {
			names = append(names, k.name)
		}
	}
	return names
}

// DocsOf is the section of the documentation about a kind.
func DocsOf(kind string) string { return "docs/alerts.md#" + kind }

// DefaultKinds are those that a channel without a list of its own is told.
func DefaultKinds() (names []string) {
	for _, name := range Kinds() {
		if name != NearLimit {
			names = append(names, name)
		}
	}
	return names
}

// Status of a notice.
const (
	Open     = "open"
	Resolved = "resolved"
	Tried    = "test"
)

// Alert is one condition with all that is told of it. Sources fill it; the board
// adds ID, Relay, Status, Severity and Ended. It holds no secret.
type Alert struct {
	// ID is that of the notice: the same in each try to deliver it, and another one
	// for the end of the condition.
	ID string `json:"id"`
	// Opened is the ID of the notice that the condition began with.
	Opened string `json:"opened"`
	Relay  string `json:"relay"`  // our host name
	Status string `json:"status"` // Open, Resolved, Tried
	Kind   string `json:"kind"`
	// Condition is the kind and what it is about; no two conditions that hold at a
	// time have the same one.
	Condition string `json:"condition"`
	Severity  string `json:"severity"`
	Summary   string `json:"summary"` // one line
	Reason    string `json:"reason,omitempty"`

	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"` // when it ends by itself
	Ended time.Time `json:"ended,omitzero"`

	About    About              `json:"about"`
	Numbers  map[string]float64 `json:"numbers,omitempty"`
	Commands []Command          `json:"commands"`
	Docs     string             `json:"docs"` // the section that says what to do
	// ReleaseLink releases what is suspended by a button; blank without one.
	ReleaseLink string `json:"release_link,omitempty"`
}

// About is what a condition is about, as far as that is known.
type About struct {
	Scope    string `json:"scope,omitempty"` // sender, user, client, stream, upstream, host, limit ...
	Name     string `json:"name,omitempty"`
	Client   string `json:"client,omitempty"`
	User     string `json:"user,omitempty"`
	Stream   string `json:"stream,omitempty"`
	Upstream string `json:"upstream,omitempty"`
	Address  string `json:"address,omitempty"` // of the client's connection
	// Transaction is the one that led to it, or the last one of those concerned.
	Transaction string    `json:"transaction,omitempty"`
	Envelope    *Envelope `json:"envelope,omitempty"`
	MessageID   string    `json:"message_id,omitempty"`
}

// Envelope is that of the transaction.
type Envelope struct {
	From    string   `json:"from"`
	To      []string `json:"to"` // ten at most
	ToCount int      `json:"to_count"`
}

// Command is a line for a shell.
type Command struct {
	What string `json:"what"` // show, release, extend, resume
	Line string `json:"line"`
}

const (
	maxText   = 1000 // octets of a reason or a summary
	maxName   = 320  // octets of a name
	maxListed = 10   // recipients, commands, numbers
)

// bound cuts an alert so that no sender can make it large, and takes line ends out of
// what is told on one line.
func (a *Alert) bound() {
	a.Summary, a.Reason = oneLine(cut(a.Summary, maxText)), oneLine(cut(a.Reason, maxText))
	a.Condition = strings.TrimSpace(oneLine(cut(a.Condition, maxName)))
	for _, s := range []*string{&a.About.Scope, &a.About.Name, &a.About.Client, &a.About.User, &a.About.Stream, &a.About.Upstream,
		&a.About.Address, &a.About.Transaction, &a.About.MessageID} {
		*s = oneLine(cut(*s, maxName))
	}
	if e := a.About.Envelope; e != nil {
		e.From = oneLine(cut(e.From, maxName))
		e.To = e.To[:min(len(e.To), maxListed)]
		for i := range e.To {
			e.To[i] = oneLine(cut(e.To[i], maxName))
		}
	}
	a.Commands = a.Commands[:min(len(a.Commands), maxListed)]
	a.Commands = slices.DeleteFunc(a.Commands, func(c Command) bool { return len(c.Line) > maxText }) // half of one is another one
	for i := range a.Commands {
		a.Commands[i].Line = oneLine(a.Commands[i].Line)
	}
}

// oneLine writes controls, and the characters that turn text round, as blanks.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ', r >= 0x7f && r < 0xa0, r >= 0x200e && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return ' '
		}
		return r
	}, s)
}

// cut keeps at most n octets, whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}
