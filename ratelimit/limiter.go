package ratelimit

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"postern/ratelimit/contributors"
	"postern/ratelimit/recipients"
)

// Limiter applies rules to mail transactions, over a store. It is safe for
// concurrent use.
type Limiter struct {
	store  Store
	rules  atomic.Pointer[Limits]
	now    func() time.Time
	secret *recipients.Secret
	node   uint64
	seq    atomic.Uint64
	pool   sync.Pool
	top    *contributors.Table
	// provider is what UseProviders has set.
	provider   func(ctx context.Context, upstream, domain string) string
	allowances atomic.Pointer[map[budgetName][]Allowance]
	// retries is until when messages may come again whose outcome was unknown, in
	// nanoseconds since 1970; 0: none.
	retries atomic.Int64
}

// budgetName names a budget.
type budgetName struct{ limit, key string }

// NewLimiter makes a limiter; now nil is time.Now, and serves only for who
// contributed to a shared budget and for when a temporary override ends: counts keep the
// store's own time.
func NewLimiter(store Store, rules *Limits, now func() time.Time) *Limiter {
	if now == nil {
		now = time.Now
	}
	l := &Limiter{store: store, now: now, top: contributors.New(), secret: recipients.NewSecret(now)}
	var node [8]byte
	rand.Read(node[:]) // never fails since Go 1.24
	l.node = binary.LittleEndian.Uint64(node[:])
	l.pool.New = func() any { return new(Account) }
	l.rules.Store(rules)
	l.allowances.Store(&map[budgetName][]Allowance{})
	return l
}

// UseSecret makes the limiter count recipients under s in place of a secret of
// its own. Call it before the first Begin.
func (l *Limiter) UseSecret(s *recipients.Secret) { l.secret = s }

// UseProviders has Explain ask f for the group of receivers that a domain is in, as mail
// by an upstream sees it; "" where that does not go to exchangers. Call it before the
// first Explain.
func (l *Limiter) UseProviders(f func(ctx context.Context, upstream, domain string) string) {
	l.provider = f
}

// Waits reports whether a decision may have to wait for another process, so that it needs a
// timeout.
func (l *Limiter) Waits() bool { return l.store.Waits() }

// SetLimits puts other rules in force, from the next RCPT on, also in transactions that
// have begun. Counts stay: they do not depend on the numbers.
func (l *Limiter) SetLimits(rules *Limits) { l.rules.Store(rules) }

// Limits returns the rules in force.
func (l *Limiter) Limits() *Limits { return l.rules.Load() }

// Run learns of temporary overrides that other nodes made, and of messages whose outcome is
// unknown to them, until ctx ends.
func (l *Limiter) Run(ctx context.Context) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		// A store that is away is reported by the decisions that need it.
		_ = l.Refresh(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Refresh reads the temporary overrides from the store, which only Declared needs here (every
// other decision adds them in the store), and whether other nodes have messages
// of unknown outcome, see ExpectsRetries.
func (l *Limiter) Refresh(ctx context.Context) error {
	allowances, err := l.store.Allowances(ctx)
	if err != nil {
		return err
	}
	byName := make(map[budgetName][]Allowance, len(allowances))
	for _, r := range allowances {
		name := budgetName{r.Limit, r.Key}
		byName[name] = append(byName[name], r)
	}
	l.allowances.Store(&byName)
	return l.refreshHint(ctx)
}

// raised is what live allowances add to a window.
func (l *Limiter) raised(limit string, key []byte, w *Window) int64 {
	allowances := *l.allowances.Load()
	if len(allowances) == 0 {
		return 0
	}
	var add int64
	for _, r := range allowances[budgetName{limit, string(key)}] {
		if r.Unit == w.Unit && (r.Window == 0 || r.Window == w.Length) && l.now().Before(r.Until) {
			add += r.Add
		}
	}
	return add
}

func (l *Limiter) attempt() Attempt { return Attempt{l.node, l.seq.Add(1)} }
