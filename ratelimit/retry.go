package ratelimit

import (
	"context"
	"encoding/hex"
	"time"
)

// A message may have been taken although nobody heard so: its outcome is
// unknown, and it stays charged. The client sends it once more, and this retry is
// to cost nothing. What is remembered for that lies in the store of the limits,
// for all nodes, under the client's own key, so that no other client can use it.
// Where memory is short it is forgotten before any limit is.
const (
	// retryLimit is a name that no [limit.NAME] has.
	retryLimit = "once:unknown_outcome"
	retryFor   = time.Hour
	// retryHint is how long a node believes that there may be retries after it has
	// last seen one in the store, where Refresh looks.
	retryHint = 30 * time.Second
)

// MessageHash tells one message of a client from another: by its reverse-path,
// recipients and content.
type MessageHash [32]byte

// UnknownOutcome remembers a message that may have been taken or not, for an
// hour. The error is the store's: its retry will then be charged.
func (l *Limiter) UnknownOutcome(ctx context.Context, client string, m MessageHash) error {
	l.hintUntil(l.now().Add(retryFor))
	_, err := l.mark(ctx, retryBudget(client, "message", m), false)
	if err == nil {
		_, err = l.mark(ctx, hintBudget(), false)
	}
	return err
}

// ExpectsRetries reports whether the outcome of any message was unknown in the last hour,
// on any node; only then Retried is worth its call. While Run runs it learns of other
// nodes' messages within ten seconds.
func (l *Limiter) ExpectsRetries() bool {
	until := l.retries.Load()
	return until != 0 && l.now().UnixNano() < until
}

// Retried reports whether a message is the retry of one whose outcome was unknown in the
// last hour. It is true once for each such message. The error is the store's.
func (l *Limiter) Retried(ctx context.Context, client string, m MessageHash) (bool, error) {
	free, err := l.mark(ctx, retryBudget(client, "message", m), true)
	if err != nil || free {
		return false, err
	}
	return l.mark(ctx, retryBudget(client, "retried", m), false)
}

// mark takes the one place of a budget; false when it is taken already. A peek
// only looks.
func (l *Limiter) mark(ctx context.Context, b Budget, peek bool) (bool, error) {
	batch := Batch{ID: l.attempt(), Budgets: []Budget{b}, Requests: []Request{{Recipients: 1, Refs: []int{0}}}, Peek: peek}
	r, err := l.store.Take(ctx, &batch)
	if err != nil {
		return false, err
	}
	return r.Requests[0].OK, nil
}

func retryBudget(client, what string, m MessageHash) Budget {
	key := appendValue([]byte("client="), client)
	key = append(append(key, ' '), what...)
	return onceBudget(hex.AppendEncode(append(key, '='), m[:]), 1)
}

// hintBudget counts all unknown outcomes of the last hour.
func hintBudget() Budget { return onceBudget([]byte("all"), MaxNumber) }

func onceBudget(key []byte, most int64) Budget {
	return Budget{
		Limit: retryLimit, Key: key, Spare: true,
		Windows: []Window{{Unit: Messages, Max: most, Length: retryFor}},
	}
}

// refreshHint looks whether there may be retries of what other nodes sent.
func (l *Limiter) refreshHint(ctx context.Context) error {
	b := hintBudget()
	b.Windows[0].Max = 1
	none, err := l.mark(ctx, b, true)
	if err == nil && !none {
		l.hintUntil(l.now().Add(retryHint))
	}
	return err
}

// hintUntil makes ExpectsRetries true until then at least.
func (l *Limiter) hintUntil(at time.Time) {
	for old := l.retries.Load(); at.UnixNano() > old; old = l.retries.Load() {
		if l.retries.CompareAndSwap(old, at.UnixNano()) {
			return
		}
	}
}
