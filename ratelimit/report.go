package ratelimit

import "context"

// Report charges a message that is a report or a receipt to the limits with
// RuleConfig.Reports that do not concern its sender; those that do were charged with the
// recipients. Call it once, after the recipients. i is the index of this charge for Refund.
func (a *Account) Report(ctx context.Context) (i int, v Decision) {
	a.startBatch()
	from := len(a.refs)
	for _, r := range a.rules.of(a.facts.Client) {
		sender := r.sender(a.facts.Sender)
		if !r.cfg.Reports || r.concerns(&a.facts, sender) {
			continue
		}
		a.concern = append(a.concern, concern{r, sender, -1})
		if b := a.budget(len(a.concern)-1, &Recipient{}); b >= 0 {
			a.ref(b)
		}
	}
	a.batch.Requests = append(a.batch.Requests, Request{Recipients: 1, Refs: a.refs[from:]})
	r, err := a.take(ctx)
	if err == nil && r.Requests[0].OK {
		a.keep(0, &r.Requests[0])
	} else {
		a.rcpts = append(a.rcpts, charged{})
	}
	return len(a.rcpts) - 1, a.verdict(0, &r, err)
}
