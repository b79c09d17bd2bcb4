package mail

import (
	"slices"
	"strconv"
	"time"
)

// Outcomes of a transaction.
const (
	Relayed  = "relayed"  // the upstream took it for at least one recipient
	Rejected = "rejected" // ended with a 5yz reply, ours or the upstream's
	Deferred = "deferred" // ended with a 4yz reply
	Aborted  = "aborted"  // the client went away or reset before the end
)

// OutcomeOf is the outcome that a reply to the client makes.
func OutcomeOf(r *Reply) string {
	switch {
	case r.Positive():
		return Relayed
	case r.Temporary():
		return Deferred
	}
	return Rejected
}

// Stages of a transaction: where it ended.
const (
	StageConnect = "connect" // before any command
	StageAuth    = "auth"
	StageMail    = "mail"
	StageRcpt    = "rcpt"
	StageData    = "data"    // from DATA or the first BDAT to the last octet
	StageHeader  = "header"  // what the header says
	StageScan    = "scan"    // what scanners say
	StageSign    = "sign"    // DKIM
	StageForward = "forward" // from the gate behind the message to the upstream's reply
)

// Event is the record of one transaction, from MAIL (or from a refused AUTH or
// connection) to its last reply. It goes once to every Observer. It holds no
// secret and nothing of the body.
type Event struct {
	Time     time.Time     `json:"time"`     // of MAIL
	Duration time.Duration `json:"duration"` // nanoseconds, to the last reply
	ID       string        `json:"id"`       // ours, as in Received
	Client   string        `json:"client"`   // configured client; "" when none
	ClientIP string        `json:"client_ip"`
	Listener string        `json:"listener"`
	Helo     string        `json:"helo"`
	TLS      string        `json:"tls,omitempty"`
	User     string        `json:"user,omitempty"`
	// Submitter is who has submitted the message to the client, as that tells: its
	// name, "/" and the mailbox or script; "" where it does not, or is not believed.
	Submitter string `json:"submitter,omitempty"`
	// SubmitterIP is from where that one has connected to the client.
	SubmitterIP string `json:"submitter_ip,omitempty"`
	// SubmitterDoubt says why there is no Submitter although the client is to tell.
	SubmitterDoubt string `json:"submitter_doubt,omitempty"`
	Stream         string `json:"stream,omitempty"`
	From           string `json:"from"` // Address.Key of the reverse-path; "<>" for null
	// Authors are the Keys of the addresses in header From, once read.
	Authors []string `json:"authors,omitempty"`
	// Automatic is the kind of mail that no person wrote, by its header: "notice",
	// "reply", "receipt" or "report"; "" for other mail.
	Automatic string `json:"automatic,omitempty"`
	// FromRewritten: header From was not in plain form and left as we wrote it.
	FromRewritten bool `json:"from_rewritten,omitempty"`
	// LongLines counts the lines that left over 998 octets, which a next hop may
	// cut: signatures over them then no longer fit.
	LongLines int `json:"long_lines,omitempty"`
	// Forwarded is the entry of the client's forwards, "srs" or "list:LIST-ID", by
	// which an author whom the client does not own passed; "" for other mail.
	Forwarded string `json:"forwarded,omitempty"`

	// Rewritten names what a lenient client sent in another form than the standards
	// have, and what was written anew: path, newlines, header, from.
	Rewritten []string `json:"rewritten,omitempty"`

	MessageID string           `json:"message_id,omitempty"`
	To        []RecipientEvent `json:"to"`
	Size      int64            `json:"size"`    // octets as the client sent them; declared when no body came
	Stage     string           `json:"stage"`   // StageConnect and so on
	Outcome   string           `json:"outcome"` // Relayed and so on
	// Code is that of the reply that decided: the last one, or where all
	// recipients were refused the first temporary refusal, else the first one,
	// whatever DATA was then told. 0 when the client got none.
	Code     int    `json:"code"`
	Status   string `json:"status"`   // enhanced status code of that reply
	Rule     string `json:"rule"`     // what decided: "limit sender", "store", "senders", "upstream"
	Upstream string `json:"upstream"` // name in the configuration; "" when none was asked
	Host     string `json:"host,omitempty"`
	SourceIP string `json:"source_ip,omitempty"`
	// HostTLS is the version of TLS that was spoken with Host; "" in plain text.
	HostTLS string `json:"host_tls,omitempty"`
	// Reply is the reply that decided, as the upstream gave it, else ours; of a
	// message that its client has left the upstream's last one.
	Reply string `json:"reply"`
	// Class is that of the upstream's refusal that decided, see Class;
	// "" where that was not the upstream's.
	Class  Class        `json:"class,omitempty"`
	Signed []string     `json:"signed,omitempty"`
	Limits []LimitEvent `json:"limits,omitempty"`
	// Attachments is what was found in the message; nil where nothing was looked for.
	Attachments *AttachmentEvent `json:"attachments,omitempty"`
	// Links is what lists said of the hosts that the message links to; nil where none
	// was asked.
	Links *LinkEvent `json:"links,omitempty"`
	// Scans are the verdicts of the scanners that were asked.
	Scans []ScanEvent `json:"scans,omitempty"`
	// Shadow lists the rules that would have refused the message but are only
	// being watched.
	Shadow []string `json:"shadow,omitempty"`
	Err    string   `json:"err,omitempty"` // the fault behind a 4yz of ours; never sent to the client
	// Times is how many events this one stands for, of peers that are not clients or of
	// a client whose transactions come to nothing; 0 is one. See eventlog.Strangers
	// and eventlog.Fruitless.
	Times int `json:"times,omitempty"`
	// Took says where the time went.
	Took StageTimes `json:"took,omitzero"`
	// Said is, of a fault, what the upstream's host said instead of beginning a
	// mail transaction: in place of its greeting, or to EHLO or AUTH.
	Said *Evidence `json:"said,omitempty"`
	// Unreached are the recipient domains without a host that took a transaction, where
	// there are several: of one, Err and Said tell. At most MaxUnreached.
	Unreached []Unreached `json:"unreached,omitempty"`
}

// Unreached is what Err and Said are of one of several domains.
type Unreached struct {
	Domain string    `json:"domain"`
	Err    string    `json:"err"` // at most 500 octets
	Said   *Evidence `json:"said,omitempty"`
}

// MaxUnreached is how many domains an event tells.
const MaxUnreached = 20

// AllSaid is Said, or those of several domains.
func (e *Event) AllSaid() (all []*Evidence) {
	for i := range e.Unreached {
		if s := e.Unreached[i].Said; s != nil {
			all = append(all, s)
		}
	}
	if len(e.Unreached) == 0 && e.Said != nil {
		all = append(all, e.Said)
	}
	return all
}

// FaultOf is why no host of a recipient domain took a transaction, and what one said; ""
// and nil where that is not so.
func (e *Event) FaultOf(domain string) (fault string, said *Evidence) {
	for i := range e.Unreached {
		if u := &e.Unreached[i]; u.Domain == domain {
			return u.Err, u.Said
		}
	}
	if len(e.Unreached) > 0 {
		return "", nil
	}
	return e.Err, e.Said
}

// Foreign reports whether the message was refused because it was nobody's who may send:
// of no client, or no longer of this one. An abort has the same rule, and is its client's.
func (e *Event) Foreign() bool { return e.Rule == "client" && e.Outcome != Aborted }

// HeaderRead reports whether the header was read, so that what it says of the message is
// known: its submitter, and whether it is automatic.
func (e *Event) HeaderRead() bool { return len(e.Authors) > 0 }

// Party is who has submitted the message, as package function Party says.
func (e *Event) Party() string { return Party(e.User, e.Submitter) }

// StageTimes are the times that stages of a transaction took, each in nanoseconds and 0
// where it was not reached: ours, the client's and the upstream's.
type StageTimes struct {
	Limit        time.Duration `json:"limit,omitempty"`         // in the store of limits
	UpstreamRcpt time.Duration `json:"upstream_rcpt,omitempty"` // until the upstream's verdicts on recipients, connecting included
	Body         time.Duration `json:"body,omitempty"`          // from DATA to the last octet: the client's
	Scan         time.Duration `json:"scan,omitempty"`          // attachments and scanners
	Sign         time.Duration `json:"sign,omitempty"`
	UpstreamData time.Duration `json:"upstream_data,omitempty"` // until the upstream's reply to the message
}

// Stages of StageTimes, as metrics name them.
var stageNames = [...]string{"limit", "upstream_rcpt", "body", "scan", "sign", "upstream_data"}

// StageNames are the names of the stages, in their order.
func StageNames() []string { return stageNames[:] }

// All are the times in the order of StageNames.
func (t *StageTimes) All() [len(stageNames)]time.Duration {
	return [...]time.Duration{t.Limit, t.UpstreamRcpt, t.Body, t.Scan, t.Sign, t.UpstreamData}
}

// RecipientEvent is one RCPT command with the verdict it ended with.
type RecipientEvent struct {
	Address string `json:"address"` // Address.Key; as quoted by the peer where it did not parse
	Outcome string `json:"outcome"` // Relayed, Rejected, Deferred, Aborted
	Code    int    `json:"code"`
	Status  string `json:"status"`
	Rule    string `json:"rule"`
	Reply   string `json:"reply,omitempty"` // text of the upstream's reply, where it gave one
	Class   Class  `json:"class,omitempty"` // of the upstream's refusal
	// Said is what the upstream's refusal is worth; nil for all else.
	Said *Evidence `json:"said,omitempty"`
	// Host, SourceIP and HostTLS are as those of Event, of the host of this recipient's
	// domain; "" unless the message went to several domains.
	Host     string `json:"host,omitempty"`
	SourceIP string `json:"source_ip,omitempty"`
	HostTLS  string `json:"host_tls,omitempty"`
	// Provider is the group of receivers that its domain is in, such as "google", or
	// "other"; "" where mail goes to a configured upstream.
	Provider string `json:"provider,omitempty"`
	// Trial: it was let through although mail of its kind waits, to see whether
	// the receiver takes mail again.
	Trial bool `json:"trial,omitempty"`
}

// RuleHalves decides about a recipient who had the message already, from an earlier try
// that others did not take: he hears 250, and nothing is sent.
const RuleHalves = "halves"

// Left reports whether the message left for this recipient, in this transaction.
func (r *RecipientEvent) Left() bool { return LeftNow(r.Outcome, r.Rule) }

// LeftNow is Left of an outcome with its rule.
func LeftNow(outcome, rule string) bool { return outcome == Relayed && rule != RuleHalves }

// Refusal is a kind of refusal with the number of recipients that got it.
type Refusal struct {
	Code   int
	Status string
	Rule   string
	Class  Class
	Count  int
}

// Refusals counts the recipients that were refused, for good or for now, by
// kind, in the order in which the kinds first came.
func (e *Event) Refusals() (kinds []Refusal) {
	for i := range e.To {
		r := &e.To[i]
		if r.Outcome != Rejected && r.Outcome != Deferred {
			continue
		}
		kind := Refusal{Code: r.Code, Status: r.Status, Rule: r.Rule, Class: r.Class}
		at := slices.IndexFunc(kinds, func(k Refusal) bool { k.Count = 0; return k == kind })
		if at < 0 {
			at, kinds = len(kinds), append(kinds, kind)
		}
		kinds[at].Count++
	}
	return kinds
}

// String is such as "3 by limit sender 450 4.7.1".
func (k Refusal) String() string {
	s := strconv.Itoa(k.Count) + " by " + k.Rule
	if k.Class != "" {
		s += "/" + string(k.Class)
	}
	s += " " + strconv.Itoa(k.Code)
	if k.Status != "" {
		s += " " + k.Status
	}
	return s
}

// ScanEvent is what one scanner said of a message.
type ScanEvent struct {
	Scanner string `json:"scanner"`
	// Verdict is clean, spam, virus, policy, suspicious, encrypted, macros,
	// unscannable, later, too_large, fault, or cut where it was not waited for.
	Verdict string        `json:"verdict"`
	Text    string        `json:"text,omitempty"` // in its own words, clean
	Score   float64       `json:"score,omitempty"`
	Symbols []string      `json:"symbols,omitempty"`
	Took    time.Duration `json:"took"` // nanoseconds
	Err     string        `json:"err,omitempty"`
	// Shadow: it is only watched. Cached: it had said so of the same message before.
	Shadow bool `json:"shadow,omitempty"`
	Cached bool `json:"cached,omitempty"`
	// Unscanned: the message went on without a verdict of this scanner.
	Unscanned bool `json:"unscanned,omitempty"`
}

// Harmful reports whether a scanner that counts has refused the message as spam or
// for a virus. What is refused by a rule of a scanner or of ours, for its size,
// or since nobody could look into it, is not called harmful.
func (e *Event) Harmful() bool {
	if e.Stage != StageScan || e.Outcome != Rejected {
		return false
	}
	return slices.ContainsFunc(e.Scans, func(s ScanEvent) bool {
		found := s.Verdict == "spam" || s.Verdict == "virus" || s.Verdict == "suspicious"
		return found && !s.Shadow && e.Rule == "scanner "+s.Scanner
	})
}

// AttachmentEvent is what was found in a message. At most one of Refused and
// Encrypted is set, since that ends the search.
type AttachmentEvent struct {
	Parts int `json:"parts"`
	// Refused is the entry of refuse_attachments that something matches, Name its
	// name; "" where it was told by its first octets.
	Refused string `json:"refused,omitempty"`
	Name    string `json:"name,omitempty"`
	// Encrypted is the kind of an encrypted archive or document, such as "zip".
	Encrypted string `json:"encrypted,omitempty"`
	// Ambiguous says why the message can be read in two ways.
	Ambiguous string        `json:"ambiguous,omitempty"`
	Took      time.Duration `json:"took"` // nanoseconds
}

// LinkEvent is what lists said of the hosts that a message links to.
type LinkEvent struct {
	// Hosts are those that were told apart, without our own and those to be left out;
	// More: there were more.
	Hosts int  `json:"hosts"`
	More  bool `json:"more,omitempty"`
	// Left is how many of them zones were not asked about; TextLeft: not all of the
	// text was looked at.
	Left     int           `json:"left,omitempty"`
	TextLeft bool          `json:"text_left,omitempty"`
	Listed   []LinkListing `json:"listed,omitempty"`
	Lists    []LinkList    `json:"lists,omitempty"`
	Took     time.Duration `json:"took"` // nanoseconds
	// Shadow: a listing refuses nothing.
	Shadow bool `json:"shadow,omitempty"`
}

// LinkListing is a host that a list holds.
type LinkListing struct {
	Host string `json:"host"`
	List string `json:"list"`
	Text string `json:"text,omitempty"`
}

// LinkList is what one list said of all hosts of a message.
type LinkList struct {
	List string `json:"list"`
	// Verdict is listed, clean, or fault where nothing is known of one of them.
	Verdict string `json:"verdict"`
	Err     string `json:"err,omitempty"`
}

// LimitEvent is one window of one limit as a transaction saw it.
type LimitEvent struct {
	Limit  string        `json:"limit"`
	Key    string        `json:"key"`    // what was counted on, as "sender=news@example.org"
	Unit   string        `json:"unit"`   // messages, recipients, bytes, distinct_recipients
	Window time.Duration `json:"window"` // nanoseconds
	Max    int64         `json:"max"`
	Used   int64         `json:"used"` // after the charge; before it when refused
	// Refused: this window had no room. With Shadow the mail went on.
	Refused bool `json:"refused,omitempty"`
	Shadow  bool `json:"shadow,omitempty"`
	// Near: this charge crossed 80 % of Max, the first in this window.
	Near bool `json:"near,omitempty"`
	// Top names the largest contributors to a shared budget, with their share of
	// all; what this relay did not see is "not seen here 30%".
	Top []string `json:"top,omitempty"`
}

// Observer takes finished events. Observe must not block, must not change the
// event and must not keep slices of it beyond the call.
type Observer interface {
	Observe(*Event)
}
