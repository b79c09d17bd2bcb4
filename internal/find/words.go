package find

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/syntax"
	"postern/internal/text"
	"postern/mail"
)

// Address reads what a user writes for a sender or recipient: an address in any spelling,
// "@domain" or "<>". It returns it as a Query has it.
func Address(text string) (string, error) {
	if text == "<>" {
		return text, nil
	}
	if strings.HasPrefix(text, "@") {
		domain, err := syntax.Domain(text[1:])
		return "@" + domain, err
	}
	a, err := syntax.Mailbox(strings.Trim(text, "<>"), true)
	if err != nil {
		return "", err
	}
	return a.Key(), nil
}

// Recipient is the index of the first recipient of an event that to, as in Query.To, asks
// for; -1 where none is, or to is blank.
func Recipient(e *mail.Event, to string) int {
	if to == "" {
		return -1
	}
	asked := (&matcher{}).address(to)
	return slices.IndexFunc(e.To, func(r mail.RecipientEvent) bool { return asked.is(r.Address) })
}

// maxReply is how much of a reply a line shows.
const maxReply = 120

// Words tells an event on one line: when, its id, the client, from whom to whom, and how it
// ended for the recipient that was asked for, else for all.
func Words(e *mail.Event, to string) string {
	first, outcome, code, status, rule, class, reply := 0, e.Outcome, e.Code, e.Status, e.Rule, e.Class, e.Reply
	if i := Recipient(e, to); i >= 0 {
		r := &e.To[i]
		first, outcome, code, status, rule, class, reply = i, r.Outcome, r.Code, r.Status, r.Rule, r.Class, r.Reply
		if reply == "" && rule == "mx" { // no host of its domain took a transaction
			reply, _ = e.FaultOf(r.Address[strings.LastIndexByte(r.Address, '@')+1:])
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  %s  <%s>", e.Time.Local().Format(time.DateTime), e.ID, orNone(e.Client), strings.Trim(e.From, "<>"))
	if len(e.To) > 0 {
		fmt.Fprintf(&b, " to <%s>", e.To[first].Address)
	}
	if len(e.To) > 1 {
		fmt.Fprintf(&b, " and %d more", len(e.To)-1)
	}
	fmt.Fprintf(&b, "  %s", outcome)
	if code > 0 {
		fmt.Fprintf(&b, " %d", code)
	}
	for _, word := range []string{status, rule, string(class)} {
		if word != "" {
			b.WriteString(" " + word)
		}
	}
	reply = strings.TrimPrefix(strings.TrimPrefix(reply, fmt.Sprintf("%d ", code)), status+" ")
	if reply != "" {
		b.WriteString(": " + strings.ReplaceAll(text.Clip(reply, maxReply), "\n", " "))
	}
	return b.String()
}

func orNone(client string) string {
	if client == "" {
		return "(no client)"
	}
	return client
}
