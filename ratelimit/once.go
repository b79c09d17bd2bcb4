package ratelimit

import (
	"context"
	"slices"
	"time"
)

// Noted is what one call of Once noted, so that it can be forgotten again.
type Noted struct {
	limiter *Limiter
	returns []Return
}

// onceLimit is a name that no [limit.NAME] has.
const onceLimit = "once:automatic_replies"

// Once notes that client writes to each of the recipients (mail.Address.Keys),
// unless it has written to one of them within the period, at most MaxPeriod:
// that one is then returned, and nothing is noted. It is the memory behind
// automatic_replies = "once_per_recipient/7d", kept in the limits' store and
// snapshot. Where memory is short it is forgotten before any limit is; while
// Redis is away each node goes by its own.
//
// The error is the store's: nothing is known then, and the mail is to be
// deferred. Noted.Forget belongs after a transaction that ends in a 4yz reply.
func (l *Limiter) Once(ctx context.Context, client string, recipients []string, period time.Duration) (n *Noted, already string, err error) {
	recipients = slices.Compact(slices.Sorted(slices.Values(recipients)))
	if len(recipients) == 0 {
		return &Noted{limiter: l}, "", nil
	}
	windows := []Window{{Unit: Messages, Max: 1, Length: min(period, MaxPeriod).Truncate(time.Second)}}
	b := Batch{ID: l.attempt(), Requests: []Request{{Recipients: 1}}}
	for i, to := range recipients {
		key := appendPart(nil, 0, PerClient, client)
		key = appendValue(append(key, " recipient="...), to)
		b.Budgets = append(b.Budgets, Budget{
			Limit: onceLimit, Key: key, Windows: windows, Spare: true, Results: make([]WindowResult, 1),
		})
		b.Requests[0].Refs = append(b.Requests[0].Refs, Ref{Budget: i})
	}
	if err := l.store.Take(ctx, &b); err != nil {
		return nil, "", err
	}
	if !b.Requests[0].OK {
		return nil, recipients[b.Requests[0].Budget], nil
	}
	n = &Noted{limiter: l}
	for i, ref := range b.Requests[0].Refs {
		n.returns = append(n.returns, Return{Budget: b.Budgets[i], At: ref.At, Messages: 1})
	}
	return n, "", nil
}

// Forget takes the notes back; twice is the same as once. A nil Noted has none.
func (n *Noted) Forget(ctx context.Context) error {
	if n == nil || len(n.returns) == 0 {
		return nil
	}
	err := n.limiter.store.Refund(context.WithoutCancel(ctx), n.limiter.attempt(), n.returns)
	n.returns = nil
	return err
}
