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

// OutcomeOf is the outcome that a reply to the client makes: Relayed for 2yz and 3yz,
// Deferred for 4yz, Rejected for all else. r is not nil.
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
	Time     time.Time     `json:"time"`           // of MAIL
	Duration time.Duration `json:"duration"`       // nanoseconds, to the last reply
	ID       string        `json:"id"`             // ours, as in Received
	Client   string        `json:"client"`         // configured client; "" when none
	ClientIP string        `json:"client_ip"`      // as AddrText writes it
	Listener string        `json:"listener"`       // name in the configuration
	Helo     string        `json:"helo"`           // see Peer.Helo
	TLS      string        `json:"tls,omitempty"`  // version, such as "TLSv1.3"; "" in plain text
	User     string        `json:"user,omitempty"` // SASL user, see Peer.User; "" without AUTH
	// Submitter is who submitted the message to the client, by the client's own account:
	// the client's name, "/" and the mailbox or script; "" where the client does not say,
	// or is not believed.
	Submitter string `json:"submitter,omitempty"`
	// SubmitterIP is the address from which the submitter connected to the client; ""
	// where that is not known.
	SubmitterIP string `json:"submitter_ip,omitempty"`
	// SubmitterDoubt says in plain words why there is no Submitter although the client's
	// configuration asks for one; "" otherwise.
	SubmitterDoubt string `json:"submitter_doubt,omitempty"`
	Stream         string `json:"stream,omitempty"`
	From           string `json:"from"` // Address.Key of the reverse-path; "<>" for null
	// Authors are the Keys of the addresses in header From; nil until the header was read.
	Authors []string `json:"authors,omitempty"`
	// Automatic is the kind of mail that no person wrote, by its header: "notice",
	// "reply", "receipt" or "report"; "" for other mail.
	Automatic string `json:"automatic,omitempty"`
	// FromRewritten: header From was not in plain form and left as we wrote it.
	FromRewritten bool `json:"from_rewritten,omitempty"`
	// LongLines counts the lines of over 998 octets (RFC 5322 s. 2.1.1) that left. A next
	// hop may cut them, which breaks the signatures over them.
	LongLines int `json:"long_lines,omitempty"`
	// Forwarded is the entry of the client's forwards, "srs" or "list:LIST-ID", that let
	// an author pass whom the client does not own; "" for other mail.
	Forwarded string `json:"forwarded,omitempty"`

	// Rewritten names what a lenient client sent in a form that the standards do not
	// allow, and what the relay wrote anew: path, newlines, header, from.
	Rewritten []string `json:"rewritten,omitempty"`

	MessageID string           `json:"message_id,omitempty"` // as in the header field; "" when none was read
	To        []RecipientEvent `json:"to"`
	Size      int64            `json:"size"`    // octets as the client sent them; those of SIZE when no body came
	Stage     string           `json:"stage"`   // StageConnect and so on
	Outcome   string           `json:"outcome"` // Relayed and so on
	// Code is the code of the reply that decided: the last reply to the client. Where all
	// recipients were refused it is the first temporary refusal, or without one the first
	// refusal, whatever the reply to DATA was. 0 when the client got none.
	Code     int    `json:"code"`
	Status   string `json:"status"`   // enhanced status code of that reply
	Rule     string `json:"rule"`     // what decided: "limit sender", "store", "senders", "upstream"
	Upstream string `json:"upstream"` // name in the configuration; "" when none was asked
	// Host is the host behind us that was spoken to, and SourceIP our address towards it;
	// "" where there was none.
	Host     string `json:"host,omitempty"`
	SourceIP string `json:"source_ip,omitempty"`
	// HostTLS is the version of TLS that was spoken with Host; "" in plain text.
	HostTLS string `json:"host_tls,omitempty"`
	// Reply is the reply that decided: the upstream's as it came, or ours. Where the client
	// left before the end it is the upstream's last reply.
	Reply string `json:"reply"`
	// Class is the class of the upstream's refusal that decided; "" where no refusal of the
	// upstream did.
	Class  Class        `json:"class,omitempty"`
	Signed []string     `json:"signed,omitempty"` // keys that signed, such as "example.org/s2026"
	Limits []LimitEvent `json:"limits,omitempty"` // windows that the transaction was checked against
	// Attachments is what was found in the message; nil where nothing was looked for.
	Attachments *AttachmentEvent `json:"attachments,omitempty"`
	// Links is what lists said of the hosts that the message links to; nil where no list
	// was asked.
	Links *LinkEvent `json:"links,omitempty"`
	// Scans are the verdicts of the scanners that were asked.
	Scans []ScanEvent `json:"scans,omitempty"`
	// Shadow lists the rules that would have refused the message but are only
	// being watched.
	Shadow []string `json:"shadow,omitempty"`
	Err    string   `json:"err,omitempty"` // the fault behind a 4yz of ours; never sent to the client
	// Times is how many events this one stands for, where events of peers that are not
	// clients, or of a client whose transactions come to nothing, are counted together; 0
	// means one. See eventlog.Strangers and eventlog.Fruitless.
	Times int `json:"times,omitempty"`
	// Took says where the time went.
	Took StageTimes `json:"took,omitzero"`
	// Said is what the upstream's host said instead of beginning a mail transaction, in
	// place of its greeting or in reply to EHLO or AUTH; nil where it said nothing such.
	Said *Evidence `json:"said,omitempty"`
	// Unreached lists the recipient domains of which no host took a transaction; at most
	// MaxUnreached. Where it is empty, Err and Said tell about the only domain.
	Unreached []Unreached `json:"unreached,omitempty"`
}

// Unreached says about one recipient domain what Err and Said of Event say about the only
// one.
type Unreached struct {
	Domain string    `json:"domain"` // lower-case A-labels
	Err    string    `json:"err"`    // at most 500 octets
	Said   *Evidence `json:"said,omitempty"`
}

// MaxUnreached is the greatest length of Event.Unreached; further domains are left out.
const MaxUnreached = 20

// AllSaid returns what hosts said instead of beginning a transaction: the Said of each
// entry of Unreached, or where that is empty the event's own; nil where there is none.
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

// FaultOf says why no host of a recipient domain took a transaction, and what one said; ""
// and nil for a domain that is not in Unreached. Where Unreached is empty it is Err and Said
// of the event, whatever the domain.
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

// Foreign reports whether the message was refused because its peer was no client, or was
// one no longer. An aborted transaction has the same rule and is not foreign.
func (e *Event) Foreign() bool { return e.Rule == "client" && e.Outcome != Aborted }

// HeaderRead reports whether the header was read and had an author, so that Submitter and
// Automatic say what the header says.
func (e *Event) HeaderRead() bool { return len(e.Authors) > 0 }

// Party is the function Party of the event's User and Submitter.
func (e *Event) Party() string { return Party(e.User, e.Submitter) }

// StageTimes are the times that parts of a transaction took, ours, the client's and the
// upstream's; each is in nanoseconds in JSON, and 0 where the part was not reached.
type StageTimes struct {
	Limit        time.Duration `json:"limit,omitempty"`         // in the store of limits
	UpstreamRcpt time.Duration `json:"upstream_rcpt,omitempty"` // until the upstream's verdicts on recipients, connecting included
	Body         time.Duration `json:"body,omitempty"`          // from DATA to the last octet: the client's
	Scan         time.Duration `json:"scan,omitempty"`          // attachments and scanners
	Sign         time.Duration `json:"sign,omitempty"`          // DKIM
	UpstreamData time.Duration `json:"upstream_data,omitempty"` // until the upstream's reply to the message
}

// Stages of StageTimes, as metrics name them.
var stageNames = [...]string{"limit", "upstream_rcpt", "body", "scan", "sign", "upstream_data"}

// StageNames returns the names of the fields of StageTimes as metrics have them, in their
// order. The slice must not be changed.
func StageNames() []string { return stageNames[:] }

// All returns the times in the order of StageNames.
func (t *StageTimes) All() [len(stageNames)]time.Duration {
	return [...]time.Duration{t.Limit, t.UpstreamRcpt, t.Body, t.Scan, t.Sign, t.UpstreamData}
}

// RecipientEvent is one RCPT command with the verdict it ended with.
type RecipientEvent struct {
	Address string `json:"address"`         // Address.Key; as the peer wrote it, quoted, where it did not parse
	Outcome string `json:"outcome"`         // Relayed, Rejected, Deferred, Aborted
	Code    int    `json:"code"`            // of the reply that decided
	Status  string `json:"status"`          // enhanced status code of that reply
	Rule    string `json:"rule"`            // what decided, as in Event
	Reply   string `json:"reply,omitempty"` // text of the upstream's reply, where it gave one
	Class   Class  `json:"class,omitempty"` // of the upstream's refusal
	// Said is what the upstream's refusal is worth; nil for all else.
	Said *Evidence `json:"said,omitempty"`
	// Host, SourceIP and HostTLS are those of Event for the host of this recipient's
	// domain; "" unless the message went to several domains.
	Host     string `json:"host,omitempty"`
	SourceIP string `json:"source_ip,omitempty"`
	HostTLS  string `json:"host_tls,omitempty"`
	// Provider is the group of receivers that its domain is in, such as "google", or
	// "other"; "" where mail goes to a configured upstream.
	Provider string `json:"provider,omitempty"`
	// Trial: the recipient was let through although other mail to its receiver waits, to
	// see whether the receiver takes mail again.
	Trial bool `json:"trial,omitempty"`
}

// RuleHalves is the rule for a recipient who has had the message since an earlier try, which
// failed for other recipients: the client hears 250 for him, and nothing is sent to him.
const RuleHalves = "halves"

// Left reports whether the message left for this recipient, in this transaction.
func (r *RecipientEvent) Left() bool { return LeftNow(r.Outcome, r.Rule) }

// LeftNow is RecipientEvent.Left for an outcome and a rule.
func LeftNow(outcome, rule string) bool { return outcome == Relayed && rule != RuleHalves }

// Refusal is a kind of refusal with Count, the number of recipients that got it. The other
// fields are those of RecipientEvent.
type Refusal struct {
	Code   int
	Status string
	Rule   string
	Class  Class
	Count  int
}

// Refusals counts the rejected and deferred recipients by kind, in the order in which the
// kinds first came; nil where there is none.
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

// String writes the refusal such as "3 by limit sender 450 4.7.1".
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
	Scanner string `json:"scanner"` // name in the configuration
	// Verdict is clean, spam, virus, policy, suspicious, encrypted, macros,
	// unscannable, later, too_large, fault, or cut where it was not waited for.
	Verdict string        `json:"verdict"`
	Text    string        `json:"text,omitempty"` // the scanner's own words, without controls
	Score   float64       `json:"score,omitempty"`
	Symbols []string      `json:"symbols,omitempty"`
	Took    time.Duration `json:"took"` // nanoseconds
	Err     string        `json:"err,omitempty"`
	// Shadow: the scanner is only watched. Cached: the verdict is one that it gave the
	// same message before.
	Shadow bool `json:"shadow,omitempty"`
	Cached bool `json:"cached,omitempty"`
	// Unscanned: the message went on without a verdict of this scanner.
	Unscanned bool `json:"unscanned,omitempty"`
}

// Harmful reports whether a scanner that is not in shadow mode had the message rejected as
// spam, suspicious or a virus. A message that a rule of a scanner or of ours refused, or
// that was too large or could not be scanned, is not harmful in this sense.
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
	Parts int `json:"parts"` // how many were looked at
	// Refused is the entry of refuse_attachments that a file matches, and Name the name of
	// that file; Name is "" where the file was recognized by its first octets.
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
	// Hosts is the number of different hosts, without our own and those that the
	// configuration leaves out; More: there were more than were counted.
	Hosts int  `json:"hosts"`
	More  bool `json:"more,omitempty"`
	// Left is the number of these hosts about which no list was asked; TextLeft: not all
	// of the text was looked at.
	Left     int           `json:"left,omitempty"`
	TextLeft bool          `json:"text_left,omitempty"`
	Listed   []LinkListing `json:"listed,omitempty"`
	Lists    []LinkList    `json:"lists,omitempty"`
	Took     time.Duration `json:"took"` // nanoseconds
	// Shadow: the lists are only watched, and a listing refuses nothing.
	Shadow bool `json:"shadow,omitempty"`
}

// LinkListing is one host that a list holds.
type LinkListing struct {
	Host string `json:"host"`
	List string `json:"list"`           // name of the list
	Text string `json:"text,omitempty"` // what the list says of it; "" where it says nothing
}

// LinkList is what one list said of all hosts of a message.
type LinkList struct {
	List string `json:"list"`
	// Verdict is listed, clean, or fault where the list did not answer about one of them.
	Verdict string `json:"verdict"`
	Err     string `json:"err,omitempty"`
}

// LimitEvent is one window of one limit as a transaction saw it.
type LimitEvent struct {
	Limit  string        `json:"limit"`
	Key    string        `json:"key"`    // what was counted on, such as "sender=news@example.org"
	Unit   string        `json:"unit"`   // messages, recipients, bytes, distinct_recipients
	Window time.Duration `json:"window"` // nanoseconds
	Max    int64         `json:"max"`
	Used   int64         `json:"used"` // after the charge; before it when refused
	// Refused: this window had no room. Shadow: the limit only counts, and the mail went on.
	Refused bool `json:"refused,omitempty"`
	Shadow  bool `json:"shadow,omitempty"`
	// Near: this charge was the first in Window to reach 80 % of Max.
	Near bool `json:"near,omitempty"`
	// Top names the largest senders in a budget that several share, each with its share of
	// Used, such as "news@example.org 62%"; a last entry such as "not seen here 30%" stands
	// for what this relay did not see.
	Top []string `json:"top,omitempty"`
}

// Observer takes finished events. Observe must not block, must not change the
// event and must not keep slices of it beyond the call.
type Observer interface {
	Observe(*Event)
}
