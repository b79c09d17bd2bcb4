package upstream

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"postern/internal/text"
	"postern/mail"
	"postern/upstream/replies"
)

// Commands that a refusal answers, as rules and mail.Evidence name them.
const (
	atConnect = "connect"
	atEHLO    = "ehlo"
	atAuth    = "auth"
	atMail    = "mail"
	atRcpt    = "rcpt"
	atDot     = "dot"
)

// say makes evidence of a refusal; rs are those whom it answers for, and it is
// their only look at the text.
func (t *Transaction) say(at string, r mail.Reply, rs []mail.Recipient) mail.Reply {
	if r.Positive() || r.Said != nil {
		return r
	}
	w := wording{at: at, code: r.Code, text: withoutAddresses(r.String(), t.env.From, rs), one: len(rs) == 1 && r.Code != 421,
		several: severalDomains(rs)}
	w.namesSender = !t.env.From.IsNull() && strings.Contains(strings.ToLower(r.Text), strings.ToLower(t.env.From.Key()))
	r.Said = w.weigh(t.u.rules.Load())
	return r
}

// severalDomains reports whether recipients are of more than one.
func severalDomains(rs []mail.Recipient) bool {
	for i := range rs {
		if rs[i].Domain != rs[0].Domain {
			return true
		}
	}
	return false
}

// withoutAddresses is the reply without what the client wrote into it: a quoted
// local-part can hold any text, also that of a reply.
func withoutAddresses(reply string, from mail.Address, rs []mail.Recipient) string {
	for i := range rs {
		reply = withoutAddress(reply, rs[i].Address)
	}
	if !from.IsNull() {
		reply = withoutAddress(reply, from)
	}
	return reply
}

func withoutAddress(reply string, a mail.Address) string {
	reply = cutAll(reply, string(a.AppendTo(nil)))
	reply = cutAll(reply, a.Key())
	if plainWord(a.Local) {
		return reply // as a word it may stand there for itself: user, postmaster
	}
	return cutAll(reply, a.Local)
}

func plainWord(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// cutAll puts <> in the place of each s in text, whatever the case.
func cutAll(text, s string) string {
	low, part := strings.ToLower(text), strings.ToLower(s)
	if part == "" || len(low) != len(text) || len(part) != len(s) {
		return text
	}
	var b strings.Builder
	for {
		i := strings.Index(low, part)
		if i < 0 {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:i])
		b.WriteString("<>")
		text, low = text[i+len(part):], low[i+len(part):]
	}
}

// wording is a refusal as it is weighed.
type wording struct {
	at          string
	code        int
	text        string // with its code, without the client's addresses
	one         bool   // it answers for one recipient
	several     bool   // for recipients of several domains
	namesSender bool   // the reverse-path stands in it
}

// weigh says what a refusal is worth.
func (w *wording) weigh(r *replies.Classifier) *mail.Evidence {
	v := r.Classify(ruleStage(w.at), w.text)
	e := &mail.Evidence{Remote: replies.Quotes(w.text), At: w.at, Several: w.several, Class: v.Class, List: v.List, Wait: v.Wait, Doubt: v.Doubt, By: v.By()}
	if v.Rule == sessionRule { // what one connection has carried slows no receiver down
		e.Class = mail.ClassTemporaryFault
	}
	e.About = w.about(e.Class)
	return e
}

// ruleStage is the stage that rules have for a command.
func ruleStage(at string) string {
	if at == atAuth {
		return ""
	}
	return at
}

// about says whom a refusal of a class is about. In doubt it is nobody.
func (w *wording) about(class mail.Class) mail.About {
	switch class {
	case mail.ClassListedIP, mail.ClassListedDomain, mail.ClassPolicyAuth, mail.ClassPTR, mail.ClassTLSRequired, mail.ClassRelayDenied:
		return mail.AboutUs
	case mail.ClassSenderRejected:
		return mail.AboutSender
	}
	switch {
	case w.at == atConnect || w.at == atEHLO || w.at == atAuth:
		return mail.AboutUs
	case w.at == atMail && class == mail.ClassRateLimited && !w.namesSender && ofAddress.MatchString(w.text) && !ofSender.MatchString(w.text):
		return mail.AboutUs
	case w.at == atMail || w.namesSender:
		return mail.AboutSender
	case class == mail.ClassRateLimited:
		return w.tooMuchOf()
	case w.one && (w.at == atRcpt || class == mail.ClassNoSuchUser || class == mail.ClassMailboxFull || class == mail.ClassMailboxDisabled):
		return mail.AboutRecipient
	}
	return mail.AboutNobody
}

var (
	// ofAddress is in what a host says of our address, and of no sender.
	ofAddress = regexp.MustCompile(`(?i)\b(?:your|this|the|from|client) (?:ip|ip address|server|host|network)\b|\bip address\b`)
	ofSender  = regexp.MustCompile(`(?i)\b(?:senders?|originators?|mail ?from|envelope[- ]from|from address|(?:return|reverse)[- ]path|sending|submissions?|sasl|login|` +
		`absender\w*|exp[eé]diteur|remitente|mittente|remetente)\b|\byour (?:account|daily|hourly|user|mailbox|plan)`)
	ofUser = regexp.MustCompile(`(?i)\b(?:users?|accounts?|quotas?|mailbox(?:es)?|daily|benutzer\w*|konto|kontos|compte|cuenta|conta|usuario|utente)\b`)
)

// tooMuchOf says of whom a receiver wants less. One that speaks of a user or an
// account may mean that of the sender or that of the recipient.
func (w *wording) tooMuchOf() mail.About {
	switch {
	case ofSender.MatchString(w.text):
		return mail.AboutSender
	case !ofUser.MatchString(w.text):
		if w.several {
			return mail.AboutNobody
		}
		return mail.AboutUs
	case w.at == atRcpt && w.one:
		return mail.AboutRecipient
	}
	return mail.AboutNobody
}

// hostError is what a host said so that no mail transaction could begin.
type hostError struct {
	what  string // for people
	reply mail.Reply
	err   error  // what it is besides; nil: nothing else
	text  string // the whole error; "": made of what and reply
}

func (e *hostError) Error() string {
	if e.text != "" {
		return e.text
	}
	return fmt.Sprintf("%s: host replied %q", e.what, text.Clip(e.reply.String(), maxQuoted))
}

// maxQuoted is how many octets of a host's own words an error has.
const maxQuoted = 600

// shortError is an error that quotes a host at length: a certificate holds as many names
// as its owner likes.
type shortError struct{ error }

func (e shortError) Error() string { return text.Clip(e.error.Error(), maxQuoted) }
func (e shortError) Unwrap() error { return e.error }

func (e *hostError) Unwrap() error { return e.err }

// refusedAt is the error of a reply to at; one that is not a refusal is evidence of
// nothing.
func (c *conn) refusedAt(at, what string, r mail.Reply) *hostError {
	e := &hostError{what: what, reply: r}
	if r.Code >= 400 {
		e.reply.Said = (&wording{at: at, code: r.Code, text: r.String()}).weigh(c.h.u.rules.Load())
		e.reply.Said.Reply = text.Clip(r.String(), maxQuoted)
	}
	return e
}

// Said is what a host said in place of its greeting, or to EHLO or AUTH, where that is why
// err came about. It is nil for other faults, and for those that repeat what was said
// before.
func Said(err error) *mail.Evidence {
	var e *hostError
	if errors.Is(err, errLocked) || !errors.As(err, &e) {
		return nil
	}
	return e.reply.Said
}
