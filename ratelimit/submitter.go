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

// Submitted charges the limits that go by what stands in the header, for the
// recipients that are to get the message: rs, which Refund knows by is. Where the
// header tells no submitter, the limits go by what they say for absent keys. Call it
// once, when the header has come, before Body. It is one call of the store, and none
// where no limit goes by the header. A refusal gives nothing back.
func (a *Account) Submitted(ctx context.Context, h Header, rs []Recipient, is []int) Decision {
	a.renew()
	f := &a.facts
	f.Submitter, f.SubmitterIP, a.headed = h.Submitter, h.From, true
	if f.Names {
		f.NewSender = h.NewSender
	}
	late := func(r *rule) bool { return r.late(f) }
	before := len(a.concern)
	for _, r := range a.rules.of(f.Client) {
		if sender := r.sender(f.Sender); r.late(f) && r.concerns(f, sender) {
			a.concern = append(a.concern, concern{r, sender, -1})
		}
	}
	if len(a.concern) == before {
		return Decision{OK: true}
	}
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
