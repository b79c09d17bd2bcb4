package ratelimit

import "context"

// Plan returns what Allow would return for r, and changes nothing.
func (l *Limiter) Plan(r Allowance) (Allowance, error) {
	r.Key = l.Limits().canonicalKey(r.Limit, r.Key)
	return r, l.checkAllowance(&r)
}

// Peek returns the counts that Reset would forget, and changes nothing.
func (l *Limiter) Peek(ctx context.Context, limit, key string) (Usage, error) {
	return l.state(ctx, limit, l.Limits().canonicalKey(limit, key))
}
