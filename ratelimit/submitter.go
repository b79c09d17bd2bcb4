package ratelimit

import (
	"context"
	"strings"

	"postern/mail"
)

// Header is what the header of a message tells of its submitter.
type Header struct {
	Submitter string // client, "/" and name; "" where it tells none
	From      string // the submitter's address; "" where it tells none
	NewSender bool   // as in Facts
}

// HeaderCame tells the account what the header says of the submitter, and reports whether a
// limit depends on that, so that Submitted has something to charge. Call it once, when the
// header has come.
func (a *Account) HeaderCame(h Header) bool {
	a.renew()
	f := &a.facts
	f.Submitter, f.SubmitterIP, a.headed = h.Submitter, h.From, true
	if f.Names {
		f.NewSender = h.NewSender
	}
	before := len(a.concern)
	for _, r := range a.rules.of(f.Client) {
		if sender := r.sender(f.Sender); r.late(f) && r.concerns(f, sender) {
			a.concern = append(a.concern, concern{r, sender, -1})
		}
	}
	return len(a.concern) > before
}

// Submitted charges the limits that depend on the header, for the recipients that are to
// get the message: rs, whose indexes for Refund are is. Where the header names no
// submitter, the limits do what their absent key says. Call it once, after HeaderCame and
// before Body. It is one call of the store. A refusal gives nothing back.
func (a *Account) Submitted(ctx context.Context, rs []Recipient, is []int) Decision {
	a.renew()
	late := func(r *rule) bool { return r.late(&a.facts) }
	return a.chargeMissing(ctx, rs, is, a.missing(rs, is, late))
}

// foldSubmitter is the one form of what an operator has written.
func (e *Env) foldSubmitter(s string) string {
	client, name, ok := strings.Cut(s, "/")
	if !ok {
		return s
	}
	return client + "/" + mail.User(name, e.Parse)
}
