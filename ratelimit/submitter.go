package ratelimit

import (
	"context"
	"strings"

	"postern/mail"
)

// Submitted charges the limits by submitter, which stands in the header, for the
// recipients that are to get the message: rs, which Refund knows by is. submitter is
// "" where the header tells none; then the limits go by what they say for absent
// keys. Call it once, when the header has come, before Body. It is one call of the
// store, and none where no limit goes by submitter. A refusal gives nothing back.
func (a *Account) Submitted(ctx context.Context, submitter string, rs []Recipient, is []int) Decision {
	a.renew()
	a.facts.Submitter, a.headed = submitter, true
	late := func(r *rule) bool { return r.late }
	before := len(a.concern)
	for _, r := range a.rules.of(a.facts.Client) {
		if sender := r.sender(a.facts.Sender); r.late && r.concerns(&a.facts, sender) {
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
