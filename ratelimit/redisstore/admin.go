package redisstore

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/ratelimit"
)

// Nodes counts the nodes that used the store in the last minute, this one
// included.
func (r *Store) Nodes(ctx context.Context) (int, error) {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	return r.nodesSeen(ctx)
}

func (r *Store) nodesSeen(ctx context.Context) (int, error) {
	v, err := r.run(ctx, &r.scripts.nodes, []string{r.prefix + ":nodes"}, r.name)
	if err != nil {
		return 0, err
	}
	n, _ := v.(int64)
	r.lastBeat.Store(time.Now().UnixNano())
	return int(n), nil
}

// Waits is true: the server of the shared store is another process.
func (r *Store) Waits() bool { return true }

// Agree answers with the secret of all nodes.
func (r *Store) Agree(ctx context.Context, own, bad string) (string, error) {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	v, err := r.run(ctx, &r.scripts.secret, []string{r.prefix + ":secret"}, own, bad)
	text, _ := v.(string)
	return text, err
}

// Ping makes a small change, as a decision does, and in a Cluster asks every
// master, too.
func (r *Store) Ping(ctx context.Context) error {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	if _, err := r.nodesSeen(ctx); err != nil {
		return err
	}
	if r.cluster == nil {
		return nil
	}
	return r.cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return c.Ping(ctx).Err() })
}

// Scan lists the budgets.
func (r *Store) Scan(ctx context.Context, limit string, f func(limit, key string) bool) error {
	pattern := r.prefix + ":b:"
	if limit != "" {
		pattern = string(appendEscaped([]byte(pattern), limit)) + ":"
	}
	s := scan{store: r, pattern: pattern + "*", f: f, seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}}
	if r.cluster != nil {
		return r.cluster.ForEachMaster(ctx, s.server)
	}
	return s.server(ctx, r.single.client)
}

// scan is one Scan; servers of a Cluster are asked at the same time.
type scan struct {
	store   *Store
	pattern string
	f       func(limit, key string) bool

	mu    sync.Mutex
	seed  maphash.Seed
	seen  map[uint64]struct{} // SCAN may name a key twice
	ended bool
}

func (s *scan) server(ctx context.Context, c *redis.Client) error {
	for cursor := uint64(0); ; {
		keys, next, err := c.Scan(ctx, cursor, s.pattern, 500).Result()
		if err != nil {
			return err
		}
		if cursor = next; !s.report(keys) || cursor == 0 {
			return nil
		}
	}
}

func (s *scan) report(names []string) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		hash := maphash.String(s.seed, name)
		_, again := s.seen[hash]
		limit, key, ok := s.store.parseBudgetKey(name)
		if s.ended || again || !ok {
			continue
		}
		s.seen[hash] = struct{}{}
		s.ended = !s.f(limit, key)
	}
	return !s.ended
}

// Reset forgets the counts of a budget.
func (r *Store) Reset(ctx context.Context, limit, key string) error {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	_, err := r.run(ctx, &r.scripts.reset, []string{r.budgetKey(limit, []byte(key))})
	return err
}

// SetAllowance keeps a temporary override in the state of the budget, where decisions find it,
// and in the list of all.
func (r *Store) SetAllowance(ctx context.Context, allowance ratelimit.Allowance) error {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	if err := r.decide(ctx, &allowance); err != nil {
		return err
	}
	_, err := r.enlist(ctx, &allowance)
	return err
}

// SwapAllowance does so if the override in force has the reason old; it changes the list of
// all first, where all nodes see which override is in force.
func (r *Store) SwapAllowance(ctx context.Context, allowance ratelimit.Allowance, old string) (ok bool, err error) {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	v, err := r.enlist(ctx, &allowance, old, allowance.Reason)
	if n, _ := v.(int64); err != nil || n == 0 {
		return false, err
	}
	return true, r.decide(ctx, &allowance)
}

// decide keeps a temporary override where decisions find it.
func (r *Store) decide(ctx context.Context, allowance *ratelimit.Allowance) error {
	_, err := r.run(ctx, &r.scripts.allowance, []string{r.budgetKey(allowance.Limit, []byte(allowance.Key))},
		int(allowance.Unit), int64(allowance.Window/time.Second), allowance.Add, allowance.Until.UnixMilli())
	return err
}

// enlist keeps it in the list of all; reasons are those of a swap.
func (r *Store) enlist(ctx context.Context, allowance *ratelimit.Allowance, reasons ...any) (any, error) {
	text, err := json.Marshal(allowance)
	if err != nil {
		return nil, err
	}
	until := allowance.Until.UnixMilli()
	if allowance.Add == 0 {
		until = 0
	}
	field := strconv.Itoa(int(allowance.Unit)) + " " + strconv.FormatInt(int64(allowance.Window/time.Second), 10) + " " + allowance.Limit + "\x00" + allowance.Key
	return r.run(ctx, &r.scripts.allowances, []string{r.prefix + ":raises"}, append([]any{field, until, text}, reasons...)...)
}

// Allowances lists the temporary overrides that have not ended.
func (r *Store) Allowances(ctx context.Context) ([]ratelimit.Allowance, error) {
	allowances, err := r.listed(ctx)
	return ratelimit.CanonicalAllowances(allowances), err
}

// listed is the list of temporary overrides as it stands there.
func (r *Store) listed(ctx context.Context) ([]ratelimit.Allowance, error) {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	v, err := r.run(ctx, &r.scripts.allowances, []string{r.prefix + ":raises"})
	if err != nil {
		return nil, err
	}
	texts, _ := v.([]any)
	allowances := make([]ratelimit.Allowance, 0, len(texts))
	for _, one := range texts {
		text, _ := one.(string)
		var allowance ratelimit.Allowance
		if err := json.Unmarshal([]byte(text), &allowance); err != nil {
			return nil, fmt.Errorf("raise in Redis: %w", err)
		}
		allowances = append(allowances, allowance)
	}
	return allowances, nil
}
