package ratelimit

import (
	"context"
	"time"

	"postern/mail"
)

// onceLimit is a name that no [limit.NAME] has.
const onceLimit = "once:automatic_replies"

// Once claims the one automatic reply that author may send to a recipient (an identity or
// a name that is not an address) within a period of at most
// MaxPeriod, whoever submits it (RFC 3834 s. 2). A nil release means that one was
// sent already; release gives the claim back, for a message that did not leave;
// its error is lost, and the claim then stays. It is the memory behind
// automatic_replies = "once_per_recipient/7d", kept in the limits' store and
// snapshot. Where memory is short it is forgotten before any limit is; while
// Redis is away each node goes by its own. Claims of releases that kept them by
// client are not asked for and run out.
//
// The error is the store's: nothing is known then, and the mail is to be
// deferred.
func (l *Limiter) Once(ctx context.Context, author string, to mail.RecipientID, period time.Duration) (release func(), err error) {
	key := appendValue([]byte("author="), author)
	key = appendValue(append(key, " recipient="...), string(to))
	b := Batch{
		ID: l.attempt(),
		Budgets: []Budget{{
			Limit: onceLimit, Key: key, Spare: true,
			Windows: []Window{{Unit: Messages, Max: 1, Length: min(period, MaxPeriod).Truncate(time.Second)}},
		}},
		Requests: []Request{{Recipients: 1, Refs: []int{0}}},
	}
	r, err := l.store.Take(ctx, &b)
	if err != nil || !r.Requests[0].OK {
		return nil, err
	}
	back := []Return{{Budget: b.Budgets[0], At: r.Requests[0].Charges[0].At, Messages: 1}}
	return func() {
		_ = l.store.Refund(context.WithoutCancel(ctx), l.attempt(), back)
		back = nil
	}, nil
}
