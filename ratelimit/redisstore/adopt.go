package redisstore

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"postern/ratelimit"
)

// Adopt joins what an older relay has counted under spellings of senders and
// users that are one now: of each window the larger count holds, and of two
// temporary overrides the larger one. It is for the start; until it is done what came before
// does not count, and doing it twice changes nothing. It reads the name of every
// budget.
func (r *Store) Adopt(ctx context.Context) error {
	type budget struct{ limit, key string }
	var spelled []budget
	err := r.Scan(ctx, "", func(limit, key string) bool {
		if ratelimit.CanonicalKey(key) != key {
			spelled = append(spelled, budget{limit, key})
		}
		return true
	})
	if err != nil {
		return err
	}
	for _, b := range spelled {
		if err := r.adopt(ctx, b.limit, b.key); err != nil {
			return err
		}
	}
	return r.adoptAllowances(ctx)
}

// adopt joins one state to that of the identity, and removes it.
func (r *Store) adopt(outer context.Context, limit, key string) error {
	ctx, cancel := r.bounded(outer)
	defer cancel()
	old := r.budgetKey(limit, []byte(key))
	state, err := r.client.Get(ctx, old).Result()
	if errors.Is(err, redis.Nil) {
		return nil
	} else if err != nil {
		return err
	}
	if _, err := r.run(ctx, &r.scripts.adopt, []string{r.budgetKey(limit, []byte(ratelimit.CanonicalKey(key)))}, state); err != nil {
		return err
	}
	return r.client.Del(ctx, old).Err()
}

// adoptAllowances lists temporary overrides under the keys that are counted on now.
func (r *Store) adoptAllowances(ctx context.Context) error {
	listed, err := r.listed(ctx)
	if err != nil {
		return err
	}
	moved := false
	for _, allowance := range listed {
		if ratelimit.CanonicalKey(allowance.Key) == allowance.Key {
			continue
		}
		allowance.Add, moved = 0, true
		if err := r.SetAllowance(ctx, allowance); err != nil {
			return err
		}
	}
	if !moved {
		return nil
	}
	for _, allowance := range ratelimit.CanonicalAllowances(listed) {
		if err := r.SetAllowance(ctx, allowance); err != nil {
			return err
		}
	}
	return nil
}
