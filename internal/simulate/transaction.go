package simulate

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"postern/mail"
)

// Transaction is what a replay needs of a mail.Event.
type Transaction struct {
	// Time of MAIL and End of the last reply, in nanoseconds since 1970.
	Time, End int64

	Client, ClientIP, Listener, TLS, User, Submitter, SubmitterIP, Stream, Upstream string

	From                 string // mail.Address.Key; a mail.Identity within a replay
	Stage, Outcome, Rule string
	Code                 int
	Size                 int64
	To                   []Recipient
}

// Recipient is one RCPT and the verdict that it ended with.
type Recipient struct {
	Address, Outcome, Rule string
	// Provider is the group of receivers that its domain was in; "" in mail to a
	// configured upstream, where no host was asked, and in older journals.
	Provider string
}

// SenderDomain is the domain of the reverse-path, "" for the null one.
func (t *Transaction) SenderDomain() string { return domainOf(t.From) }

// domainOf is the domain of an address's key, "" where it has none.
func domainOf(key string) string {
	at := strings.LastIndexByte(key, '@')
	if at < 0 {
		return ""
	}
	return key[at+1:]
}

// limitRule is how a journal names the limit that decided.
const limitRule = "limit "

// byLimit is the name of the limit that decided, "" when something else did.
func byLimit(rule string) string {
	name, ok := strings.CutPrefix(rule, limitRule)
	if !ok {
		return ""
	}
	return name
}

// fromEvent fills t from a line that the fast decoder does not understand.
func (t *Transaction) fromEvent(line []byte) error {
	var e mail.Event
	if err := json.Unmarshal(line, &e); err != nil {
		return err
	}
	if !plausible(e.Time) {
		return errTime
	}
	*t = Transaction{
		Time: e.Time.UnixNano(), Client: e.Client, ClientIP: e.ClientIP, Listener: e.Listener, TLS: e.TLS, User: e.User, Submitter: e.Submitter, SubmitterIP: e.SubmitterIP, Stream: e.Stream, Upstream: e.Upstream,
		From: e.From, Stage: e.Stage, Outcome: e.Outcome, Rule: e.Rule, Code: e.Code, Size: e.Size,
	}
	t.end(e.Duration)
	for i := range e.To {
		r := &e.To[i]
		t.To = append(t.To, Recipient{Address: r.Address, Outcome: r.Outcome, Rule: r.Rule, Provider: r.Provider})
	}
	return nil
}

// fold puts the one form of sender, user and recipients in the place of what was
// written; a journal keeps the spelling.
func (t *Transaction) fold(parse func(string) (mail.Address, error)) {
	t.From = string(mail.IdentityOf(t.From))
	if t.User != "" {
		t.User = mail.User(t.User, parse)
	}
	for i := range t.To {
		t.To[i].Address = string(mail.RecipientOf(t.To[i].Address))
	}
}

var errTime = errors.New("it has no time")

// plausible: nanoseconds since 1970 can say it.
func plausible(t time.Time) bool { return t.Year() > 1970 && t.Year() < 2262 }

// end sets End; a duration that cannot be is none.
func (t *Transaction) end(d time.Duration) {
	t.End = t.Time
	if d > 0 && d < 24*time.Hour {
		t.End += int64(d)
	}
}
