package embedded

import (
	"context"
	"slices"

	"postern/ratelimit"
)

// allowances are the temporary overrides, immutable. Every Take looks for those of its
// budgets, and most have none, however many there are of others.
type allowances struct {
	all []ratelimit.Allowance
	by  map[allowanceOf][]*ratelimit.Allowance
}

// allowanceOf names a budget.
type allowanceOf struct{ limit, key string }

func newAllowances(all []ratelimit.Allowance) *allowances {
	r := &allowances{all: all, by: make(map[allowanceOf][]*ratelimit.Allowance, len(all))}
	for i := range all {
		name := allowanceOf{all[i].Limit, all[i].Key}
		r.by[name] = append(r.by[name], &all[i])
	}
	return r
}

// of are those of a budget.
func (r *allowances) of(b *ratelimit.Budget) []*ratelimit.Allowance {
	if len(r.all) == 0 {
		return nil
	}
	return r.by[allowanceOf{b.Limit, string(b.Key)}]
}

func sameAllowance(a, b *ratelimit.Allowance) bool {
	return a.Limit == b.Limit && a.Key == b.Key && a.Unit == b.Unit && a.Window == b.Window
}

// SetAllowance keeps a temporary override, and has a snapshot written soon.
func (e *Store) SetAllowance(_ context.Context, r ratelimit.Allowance) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.putAllowance(r)
	return nil
}

// SwapAllowance sets a temporary override if the one in force is the one with this reason;
// see ratelimit.Store.
func (e *Store) SwapAllowance(_ context.Context, r ratelimit.Allowance, old string) (ok bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	reason, live := "", e.liveAllowances()
	if i := slices.IndexFunc(live, func(there ratelimit.Allowance) bool { return sameAllowance(&there, &r) }); i >= 0 {
		reason = live[i].Reason
	}
	if reason != old && reason != r.Reason {
		return false, nil
	}
	e.putAllowance(r)
	return true, nil
}

// putAllowance puts one into the place of another; e.mu is held.
func (e *Store) putAllowance(r ratelimit.Allowance) {
	kept := slices.DeleteFunc(e.liveAllowances(), func(old ratelimit.Allowance) bool { return sameAllowance(&old, &r) })
	if r.Add != 0 {
		kept = append(kept, r)
	}
	e.allowances.Store(newAllowances(kept))
	e.changed()
}

// setAllowances takes over the temporary overrides of the shared store.
func (e *Store) setAllowances(all []ratelimit.Allowance) {
	kept := make([]ratelimit.Allowance, len(all))
	for i, r := range all {
		kept[i] = shareOf(r, e.nodeCount())
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.allowances.Store(newAllowances(kept))
}

// liveAllowances are those that have not ended; the slice is the caller's.
func (e *Store) liveAllowances() []ratelimit.Allowance {
	var live []ratelimit.Allowance
	now := e.clock.now()
	for _, r := range e.allowances.Load().all {
		if now.Before(r.Until) {
			live = append(live, r)
		}
	}
	return live
}

// Allowances lists the temporary overrides that have not ended.
func (e *Store) Allowances(context.Context) ([]ratelimit.Allowance, error) {
	return e.liveAllowances(), nil
}
