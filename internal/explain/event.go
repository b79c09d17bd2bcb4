// Package explain tells in words what happened to one transaction: who sent
// it, what limits and scanners said, what became of each recipient, and why.
package explain

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"postern/internal/phrase"
	"postern/internal/text"
	"postern/mail"
	"postern/ratelimit"
)

// Event writes an event for people, a line for each subject. What others chose
// (addresses, names, replies) stands in it as the event has it: a terminal
// needs it cleaned, as package plain does.
func Event(e *mail.Event) string {
	var l lines
	l.origin(e)
	l.message(e)
	for _, x := range e.Limits {
		l.line("limit", "%s", limitWords(&x))
	}
	l.b.WriteString(Content(e))
	if e.Harmful() {
		l.line("watch", "counts as refused against its sender, user and client")
	}
	for i := range e.To {
		l.recipient(&e.To[i])
	}
	l.end(e)
	return l.b.String()
}

// lines gathers the lines of one event.
type lines struct{ b strings.Builder }

// line appends one, behind the word for its subject.
func (l *lines) line(subject, format string, args ...any) {
	fmt.Fprintf(&l.b, "%-12s%s\n", subject, fmt.Sprintf(format, args...))
}

// origin says which transaction it was, and who sent it as whom.
func (l *lines) origin(e *mail.Event) {
	l.line("transaction", "%s, begun %s, %s long", e.ID, e.Time.Local().Format(time.DateTime+".000"), e.Duration.Round(time.Millisecond))
	l.line("client", "%s from [%s] on listener %s, as %q%s%s", cmp.Or(e.Client, "none"), e.ClientIP, e.Listener, e.Helo,
		phrase.Prefixed(", user ", e.User), phrase.Prefixed(", ", e.TLS))
	if e.Submitter != "" || e.SubmitterIP != "" || e.SubmitterDoubt != "" {
		l.line("submitter", "%s%s%s", cmp.Or(e.Submitter, "none is told"), phrase.Prefixed(" from ", e.SubmitterIP), phrase.Prefixed("; ", e.SubmitterDoubt))
	}
	author := phrase.Prefixed(", header From ", strings.Join(e.Authors, ", "))
	if e.FromRewritten {
		author += " (written anew in plain form)"
	}
	if e.Forwarded != "" {
		author += " (forwarded: " + e.Forwarded + ")"
	}
	if e.From != "" {
		l.line("from", "<%s>%s", strings.Trim(e.From, "<>"), author)
	}
}

// message says what was sent, what was changed in it, and which way it went.
func (l *lines) message(e *mail.Event) {
	if e.MessageID != "" || e.Size > 0 {
		l.line("message", "%d octets%s", e.Size, phrase.Prefixed(", Message-ID ", e.MessageID))
	}
	if len(e.Rewritten) > 0 {
		l.line("forms", "written anew for a lenient client: %s", strings.Join(e.Rewritten, ", "))
	}
	if e.LongLines > 0 {
		l.line("long lines", "%d over 998 octets, which a next hop may cut; signatures then no longer fit", e.LongLines)
	}
	if e.Upstream != "" {
		l.line("way", "stream %s, upstream %s%s%s", e.Stream, e.Upstream, phrase.Prefixed(" at ", e.Host), phrase.Prefixed(" from ", e.SourceIP)+phrase.Prefixed(" over ", e.HostTLS))
	}
	if len(e.Signed) > 0 {
		l.line("signed", "%s", strings.Join(e.Signed, ", "))
	}
}

// recipient says what became of one recipient, and why.
func (l *lines) recipient(r *mail.RecipientEvent) {
	l.line("to", "<%s> %s%s%s%s%s%s", r.Address, verdictWords(r.Outcome, r.Code, r.Status, r.Rule, r.Reply),
		phrase.Prefixed(", class ", string(r.Class)), phrase.Prefixed(", by ", r.Host), phrase.Prefixed(", provider ", r.Provider), saidWords(r.Said), trialWords(r))
}

// end says how the transaction ended, and what else is to be known of it.
func (l *lines) end(e *mail.Event) {
	l.line("end", "%s at stage %s", verdictWords(e.Outcome, e.Code, e.Status, e.Rule, e.Reply)+phrase.Prefixed(", class ", string(e.Class)), e.Stage)
	if words := took(&e.Took); words != "" {
		l.line("took", "%s", words)
	}
	if e.Times > 0 {
		l.line("times", "%d of this kind, told by this one; this was the last", e.Times)
	}
	if kinds := e.Refusals(); len(e.To) > 1 && len(kinds) > 0 {
		words := make([]string, len(kinds))
		for i, k := range kinds {
			words[i] = k.String()
		}
		l.line("refused", "%s", strings.Join(words, ", "))
	}
	if len(e.Shadow) > 0 {
		l.line("shadow", "would have been refused by %s", strings.Join(e.Shadow, ", "))
	}
	for i := range e.Unreached {
		l.line("fault", "%s", e.Unreached[i].Err)
	}
	if e.Err != "" && len(e.Unreached) == 0 {
		l.line("fault", "%s", e.Err)
	}
}

func limitWords(l *mail.LimitEvent) string {
	s := fmt.Sprintf("%s on %s: %d of %d %s in %s", l.Limit, l.Key, l.Used, l.Max, strings.ReplaceAll(l.Unit, "_", " "), ratelimit.FormatWindow(l.Window))
	switch {
	case l.Refused && l.Shadow:
		s += ", no room; a shadow limit, not enforced"
	case l.Refused:
		s += ", no room"
	case l.Near:
		s += ", now over 80 %"
	}
	return s + phrase.Prefixed("; most of it by ", strings.Join(l.Top, ", "))
}

// Content tells what was said of what a message holds: by the rules for attachments,
// the lists of links and the scanners, a line for each.
func Content(e *mail.Event) string {
	var l lines
	if e.Attachments != nil {
		l.line("attachments", "%s", attachments(e.Attachments))
	}
	if e.Links != nil {
		for _, words := range linkLines(e.Links) {
			l.line("links", "%s", words)
		}
	}
	for i := range e.Scans {
		l.line("scanner", "%s", scanWords(&e.Scans[i]))
	}
	return l.b.String()
}

// linkLines say what lists said of the hosts that a message links to.
func linkLines(l *mail.LinkEvent) []string {
	first := text.Count(l.Hosts, "host", "hosts")
	if l.More {
		first += " and more"
	}
	if l.Left > 0 {
		first += fmt.Sprintf(", %d of which were not asked about by DNS", l.Left)
	}
	if l.TextLeft {
		first += ", in the part of the text that was looked at"
	}
	first += fmt.Sprintf("; %d ms", l.Took.Milliseconds())
	if l.Shadow {
		first += "; only watched"
	}
	lines := []string{first}
	for _, x := range l.Listed {
		lines = append(lines, fmt.Sprintf("%s is listed by %s%s", x.Host, x.List, phrase.Prefixed(": ", x.Text)))
	}
	for _, x := range l.Lists {
		if x.Err != "" {
			lines = append(lines, fmt.Sprintf("nothing certain is known from %s: %s", x.List, x.Err))
		}
	}
	return lines
}

// attachments says what was found in a message.
func attachments(a *mail.AttachmentEvent) string {
	words := text.Count(a.Parts, "part", "parts")
	switch {
	case a.Refused != "" && a.Name != "":
		words += fmt.Sprintf(": %s is refused as %s", a.Name, a.Refused)
	case a.Refused != "":
		words += fmt.Sprintf(": one is refused as %s by its first octets", a.Refused)
	case a.Encrypted != "":
		words += ", one encrypted: " + a.Encrypted
	}
	return words + phrase.Prefixed("; can be read in two ways: ", a.Ambiguous) + fmt.Sprintf("; %d ms", a.Took.Milliseconds())
}

// scanWords says what a scanner made of a message.
func scanWords(s *mail.ScanEvent) string {
	words := fmt.Sprintf("%s: %s", s.Scanner, s.Verdict) + phrase.Prefixed(" ", s.Text)
	if s.Score != 0 {
		words += fmt.Sprintf(", score %.1f", s.Score)
	}
	words += phrase.Prefixed(", symbols ", strings.Join(s.Symbols, " ")) + fmt.Sprintf(", %d ms", s.Took.Milliseconds())
	if s.Cached {
		words += ", known from an earlier scan"
	}
	if s.Shadow {
		words += "; only watched"
	}
	if s.Unscanned {
		words += "; the message went on unscanned"
	}
	return words + phrase.Prefixed("; ", s.Err)
}

func verdictWords(outcome string, code int, status, rule, reply string) string {
	s := outcome
	if code > 0 {
		s += fmt.Sprintf(" with %d%s", code, phrase.Prefixed(" ", status))
	}
	return s + phrase.Prefixed(" by ", rule) + phrase.Prefixed(": ", reply)
}

// saidWords says what a refusal is worth.
func saidWords(s *mail.Evidence) string {
	switch {
	case s == nil:
		return ""
	case s.Remote:
		return ", passed on from another host, so that it changes nothing"
	}
	return phrase.Prefixed(", about ", string(s.About)) + phrase.Prefixed(", by ", s.By)
}

// trialWords says that a recipient went through to see whether mail is taken.
func trialWords(r *mail.RecipientEvent) string {
	if !r.Trial {
		return ""
	}
	return ", a trial: its stream or domain waits"
}

// took says where the time of a transaction went.
func took(t *mail.StageTimes) string {
	var words []string
	for i, d := range t.All() {
		if d >= 10*time.Microsecond {
			words = append(words, fmt.Sprintf("%s %s", strings.ReplaceAll(mail.StageNames()[i], "_", " "), d.Round(10*time.Microsecond)))
		}
	}
	return strings.Join(words, ", ")
}
