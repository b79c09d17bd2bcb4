// Package incident tells what left in somebody's name while the password was stolen or
// the script ran wild: how much, to whom, what each receiver said, and what those who
// got it may be told.
package incident

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"postern/internal/plain"
	"postern/internal/text"
	"postern/mail"
)

// Who is whose mail is looked at. One that begins with "user:", "submitter:", "client:"
// or "sender:" is that; else it is the sender of that address.
type Who struct {
	scope, name string
	identity    mail.Identity
}

// Parse reads what an operator calls somebody.
func Parse(s string, parse func(string) (mail.Address, error)) (Who, error) {
	scope, name, ok := strings.Cut(s, ":")
	switch {
	case ok && name == "":
		return Who{}, fmt.Errorf("%q names nobody", s)
	case ok && scope == "user":
		return Who{scope: scope, name: mail.User(name, parse)}, nil
	case ok && scope == "submitter":
		client, box, ok := strings.Cut(name, "/")
		if !ok {
			return Who{}, fmt.Errorf("%q has no client; write submitter:CLIENT/NAME", s)
		}
		return Who{scope: scope, name: client + "/" + mail.User(box, parse)}, nil
	case ok && scope == "client":
		return Who{scope: scope, name: name}, nil
	case ok && scope == "sender":
		s = name
	}
	a, err := mail.ParseAddress(s, parse)
	if err != nil {
		return Who{}, fmt.Errorf("%q is not an address; write one, user:NAME, submitter:CLIENT/NAME or client:NAME", s)
	}
	return Who{scope: "sender", identity: a.Identity()}, nil
}

// sent reports whether an event is of that one.
func (w *Who) sent(e *mail.Event) bool {
	switch w.scope {
	case "user":
		return mail.User(e.User, nil) == w.name
	case "submitter":
		return e.Submitter == w.name
	case "client":
		return e.Client == w.name
	}
	return mail.IdentityOf(e.From) == w.identity
}

// maxRecipients bounds the recipients that are told apart.
const maxRecipients = 1_000_000

// Report is what was found. NewReport makes one.
type Report struct {
	who          Who
	since, until time.Time
	list         *csv.Writer // nil: no list is wanted

	// Messages were relayed to one recipient at least; Relayed and Refused are recipients,
	// and Waiting is how often one was deferred: the client tries again.
	Messages int       `json:"messages"`
	Relayed  int       `json:"relayed"`
	Refused  int       `json:"refused"`
	Waiting  int       `json:"waiting"`
	People   int       `json:"people"` // different recipients that got something
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
	// Domains are recipients' domains, with what their receivers said.
	Domains map[string]*Domain `json:"domains"`
	From    map[string]int     `json:"from"`    // addresses that submitted, with their messages
	SentFor map[string]int     `json:"reverse"` // reverse-paths, with their messages
	Source  map[string]int     `json:"left_by"` // addresses that mail left from
	Over    bool               `json:"cut_off"` // there are more recipients than are told apart
	// Damaged is how many lines of the journal could not be read: what they held is
	// missing.
	Damaged int `json:"damaged_lines"`
	seen    map[mail.RecipientID]bool
	events  int // transactions of who
	before  int // of them those that ended before their message was handed on
}

// Domain is what became of the mail to one domain.
type Domain struct {
	Relayed int    `json:"relayed"`
	Refused int    `json:"refused"`
	Waiting int    `json:"waiting"`
	Reply   string `json:"reply,omitempty"` // the last refusal
}

// NewReport makes a report on the mail of who since and until a time, zero for no
// bound. list gets a line of CSV for each recipient; nil: none.
func NewReport(who Who, since, until time.Time, list io.Writer) *Report {
	r := &Report{who: who, since: since, until: until, Domains: map[string]*Domain{}, From: map[string]int{}, SentFor: map[string]int{}, Source: map[string]int{}, seen: map[mail.RecipientID]bool{}}
	if list != nil {
		r.list = csv.NewWriter(list)
		r.list.Write([]string{"time", "id", "from", "recipient", "outcome", "code", "reply", "message-id", "submitted from", "left from"})
	}
	return r
}

// Add takes the next event of a journal.
func (r *Report) Add(e *mail.Event) error {
	if !r.who.sent(e) || !r.since.IsZero() && e.Time.Before(r.since) || !r.until.IsZero() && e.Time.After(r.until) {
		return nil
	}
	r.events++
	if e.Stage != mail.StageForward && e.Outcome != mail.Relayed {
		r.before++
		return nil // nothing was handed over
	}
	left := false
	for i := range e.To {
		t := &e.To[i]
		if t.Outcome == mail.Relayed && !t.Left() {
			continue // it left before, as another event says
		}
		r.recipient(e, t)
		left = left || t.Left()
	}
	if left {
		r.Messages++
		r.From[cmp.Or(e.SubmitterIP, e.ClientIP)]++
		r.SentFor[e.From]++
		r.Source[cmp.Or(e.SourceIP, e.Upstream)]++
		if r.First.IsZero() || e.Time.Before(r.First) {
			r.First = e.Time
		}
		if e.Time.After(r.Last) {
			r.Last = e.Time
		}
	}
	return nil
}

func (r *Report) recipient(e *mail.Event, t *mail.RecipientEvent) {
	domain := t.Address[strings.LastIndexByte(t.Address, '@')+1:]
	d := r.Domains[domain]
	if d == nil {
		d = &Domain{}
		if len(r.Domains) < maxRecipients {
			r.Domains[domain] = d
		}
	}
	switch t.Outcome {
	case mail.Relayed:
		r.Relayed++
		d.Relayed++
		id := mail.RecipientOf(t.Address)
		if !r.seen[id] && len(r.seen) < maxRecipients {
			r.seen[id] = true
			r.People++
		} else if !r.seen[id] {
			r.Over = true
		}
	case mail.Rejected:
		r.Refused++
		d.Refused++
		d.Reply = reply(t)
	default:
		r.Waiting++
		d.Waiting++
	}
	if r.list != nil {
		r.list.Write([]string{e.Time.UTC().Format(time.RFC3339), e.ID, cell(e.From), cell(t.Address), t.Outcome, strconv.Itoa(t.Code), cell(t.Reply),
			cell(e.MessageID), cmp.Or(e.SubmitterIP, e.ClientIP), e.SourceIP})
	}
}

func reply(t *mail.RecipientEvent) string {
	return lineEnds.Replace(strings.TrimSpace(strconv.Itoa(t.Code) + " " + t.Status + " " + t.Reply))
}

// cell is a text that a spreadsheet takes for no formula and that does nothing to a
// terminal, whoever has chosen it. It is one line.
func cell(s string) string {
	s = lineEnds.Replace(string(plain.Append(nil, []byte(s))))
	if first, _ := utf8.DecodeRuneInString(strings.TrimLeft(s, " ")); strings.ContainsRune("=+-@\t＝＋－＠", first) {
		return "'" + s
	}
	return s
}

var lineEnds = strings.NewReplacer("\n", `\u000a`)

// Flush writes what is left of the list.
func (r *Report) Flush() error {
	if r.list == nil {
		return nil
	}
	r.list.Flush()
	return r.list.Error()
}

// mostLines is how many domains and addresses are shown.
const mostLines = 20

// Write says in words what was found; list names the file of the list, "" for none.
func (r *Report) Write(out io.Writer, list string) error {
	w := bufio.NewWriter(out)
	switch {
	case r.events == 0:
		fmt.Fprintln(w, "the journal has no mail of that name in that time, not even refused mail; see that both are right: relay senders lists names")
		return w.Flush()
	case r.Messages == 0:
		fmt.Fprintf(w, "nothing has left; %s\n", r.rest())
		return w.Flush()
	}
	people := text.Count(r.Relayed, "recipient", "recipients")
	if r.Relayed != r.People {
		people += ", " + text.Count(r.People, "different one", "different ones")
	}
	fmt.Fprintf(w, "%s left from %s to %s: to %s; %s\n", text.Count(r.Messages, "message", "messages"),
		r.First.UTC().Format(time.RFC3339), r.Last.UTC().Format(time.RFC3339), people, r.rest())
	if r.Over {
		fmt.Fprintf(w, "there are more than %d different ones\n", maxRecipients)
	}
	counts(w, "submitted from", r.From)
	counts(w, "with the reverse-path", r.SentFor)
	counts(w, "left from", r.Source)
	fmt.Fprintf(w, "\n%-40s %8s %8s %8s  last refusal\n", "receivers", "taken", "refused", "deferred")
	domains := slices.SortedFunc(maps.Keys(r.Domains), func(a, b string) int {
		x, y := r.Domains[a], r.Domains[b]
		return cmp.Or(cmp.Compare(y.Relayed+y.Refused+y.Waiting, x.Relayed+x.Refused+x.Waiting), cmp.Compare(a, b))
	})
	for i, name := range domains {
		if i == mostLines {
			fmt.Fprintf(w, "and %s\n", text.Count(len(domains)-i, "more domain", "more domains"))
			break
		}
		d := r.Domains[name]
		fmt.Fprintf(w, "%-40s %8d %8d %8d  %s\n", name, d.Relayed, d.Refused, d.Waiting, d.Reply)
	}
	if list != "" {
		fmt.Fprintf(w, "\neach recipient stands in %s, which only its owner can read\n", list)
	}
	fmt.Fprintf(w, notice, r.First.UTC().Format("2 January 2006 15:04"), r.Last.UTC().Format("2 January 2006 15:04"))
	return w.Flush()
}

// rest says what became of the mail that did not leave.
func (r *Report) rest() string {
	words := text.Count(r.Refused, "recipient", "recipients") + " refused"
	if r.Waiting > 0 {
		words += ", " + text.Count(r.Waiting, "try", "tries") + " deferred: what has not left by now waits with the client"
	}
	if r.before > 0 {
		words += "; " + text.Count(r.before, "transaction", "transactions") + " ended before a message was handed on"
	}
	return words
}

// notice may go to those who got the mail, once what stands in brackets is filled in.
const notice = `
What you may tell those who got it:

    Between %s and %s (UTC) you may have received messages that
    seemed to come from us. They were sent by somebody who misused an account of ours, and
    not by us. Please do not open their attachments, do not follow their links, and do not
    answer them. If you have entered a password on a page that they led to, change it.
    [What you have done to stop it.] We apologise for the trouble.
`

func counts(w io.Writer, label string, n map[string]int) {
	names := slices.SortedFunc(maps.Keys(n), func(a, b string) int { return cmp.Or(cmp.Compare(n[b], n[a]), cmp.Compare(a, b)) })
	for i, name := range names {
		if i == mostLines {
			fmt.Fprintf(w, "  and %d more\n", len(names)-i)
			return
		}
		fmt.Fprintf(w, "  %s %s: %s\n", label, cmp.Or(name, "an unknown address"), text.Count(n[name], "message", "messages"))
	}
}
