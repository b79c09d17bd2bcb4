package warmup

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/ratelimit"
)

// How often the store is asked for the steps, and how often they are looked at.
const (
	refreshEvery = 10 * time.Second
	growEvery    = time.Minute
)

// stateLimit is under what name the store keeps the records, as temporary overrides of
// a budget that nobody asks for.
func (g *Gate) stateLimit() string { return LimitPrefix + g.name + " step" }

// kept is what the reason of such an override holds. The override's own number is that
// of a node, and would be divided among nodes.
type kept struct {
	Step int       `json:"step"`
	Back time.Time `json:"back,omitzero"`
}

// Run keeps steps in step with the store and lets them grow, until ctx ends. A store that
// is away is asked again; that it is away is told elsewhere.
func (g *Gate) Run(ctx context.Context) {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	grown := time.Time{}
	for {
		err := g.Refresh(ctx)
		if now := g.now(); err == nil && now.Sub(grown) >= growEvery {
			grown = now
			_ = g.grow(ctx)
		}
		select {
		case <-tick.C:
		case <-g.wake:
		case <-ctx.Done():
			return
		}
	}
}

// away reports whether a store that nodes share is away, so that what this node knows by
// itself is asked for.
func (g *Gate) away() bool {
	s, ok := g.store.(interface{ Down() bool })
	return ok && s.Down()
}

// Refresh reads what other nodes have written, and writes what the store does not have
// yet. While that is away nobody knows what it has, and nothing is written.
func (g *Gate) Refresh(ctx context.Context) error {
	away := g.away()
	all, err := g.store.Allowances(ctx)
	if err != nil {
		return err
	}
	g.mu.Lock()
	for _, s := range g.pairs {
		s.stored = ""
	}
	there := map[Pair]bool{}
	for i := range all {
		if p, ok := g.adopt(&all[i]); ok {
			there[p] = true
		}
	}
	due := g.missing(there)
	g.mu.Unlock()
	if away {
		return nil
	}
	var errs []error
	for p, r := range due {
		errs = append(errs, g.write(ctx, p, r))
	}
	return errors.Join(errs...)
}

// adopt takes over a record; g.mu is held. A step back that is not yet written here
// stays.
func (g *Gate) adopt(r *ratelimit.Allowance) (p Pair, ok bool) {
	p, ok = parsePair(r.Key)
	if r.Limit != g.stateLimit() || !ok {
		return p, false
	}
	var k kept
	s, readable := g.pairs[p], json.Unmarshal([]byte(r.Reason), &k) == nil && k.Step >= 0
	if s == nil && readable {
		s = &state{}
		g.pairs[p] = s
	}
	if s != nil {
		s.stored = r.Reason
	}
	if !readable {
		return p, false
	}
	if !s.unwritten || s.back.IsZero() {
		s.record, s.unwritten = record{step: min(k.Step, maxSteps), since: r.Made, until: r.Until, back: k.Back}, false
	}
	return p, true
}

// parsePair reads what key wrote.
func parsePair(key string) (p Pair, ok bool) {
	source, group, ok := strings.Cut(strings.TrimPrefix(key, "source_ip="), " provider=")
	if !ok || group == "" {
		return p, false
	}
	p.Group = group
	if source == "any" {
		return p, true
	}
	a, err := netip.ParseAddr(source)
	p.Source = a
	return p, err == nil
}

// missing are the records that the store does not have; g.mu is held.
func (g *Gate) missing(there map[Pair]bool) map[Pair]record {
	now, due := g.now(), map[Pair]record{}
	for p, s := range g.pairs {
		if s.unwritten || !there[p] && now.Before(s.until) {
			due[p] = s.record
		}
	}
	return due
}

// write has the store keep a record in the place of what it had when it was last read, and
// holds by it from then on. Where another node was quicker nothing is written: a step back
// is tried again behind the next Refresh, and whether to grow is judged anew.
func (g *Gate) write(ctx context.Context, p Pair, r record) error {
	reason, err := json.Marshal(kept{r.step, r.back})
	if err != nil {
		return err
	}
	ok, err := g.store.SwapAllowance(ctx, ratelimit.Allowance{
		Limit: g.stateLimit(), Key: p.key(), Unit: ratelimit.Messages, Window: day, Add: 1, Made: r.since.UTC(), Until: r.until.UTC(), Reason: string(reason),
	}, g.storedOf(p))
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.pairs[p]
	if err != nil || !ok || s == nil {
		return err
	}
	s.stored = string(reason)
	if !s.unwritten || !s.back.After(r.back) {
		s.record, s.unwritten = r, false
	}
	return nil
}

// storedOf is what the store had of a pair when it was last read.
func (g *Gate) storedOf(p Pair) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.pairs[p]; s != nil {
		return s.stored
	}
	return ""
}

// counts are those of the last 24 hours.
type counts struct{ sent, tried, deferred, refused int64 }

// grow looks at all pairs, and lets those grow whose day was a good one.
func (g *Gate) grow(ctx context.Context) error {
	g.mu.Lock()
	var pairs []Pair
	now := g.now()
	for p, s := range g.pairs {
		if !now.Before(s.until) {
			delete(g.pairs, p) // the store has forgotten it, too
			continue
		}
		pairs = append(pairs, p)
	}
	g.mu.Unlock()
	for _, p := range pairs {
		c, err := g.count(ctx, p)
		if err != nil {
			return err
		}
		r, changed := g.grown(p, c)
		if !changed || g.away() {
			continue
		}
		if err := g.write(ctx, p, r); err != nil {
			return err
		}
	}
	return nil
}

// count asks the store for the counts of a pair.
func (g *Gate) count(ctx context.Context, p Pair) (c counts, err error) {
	b := ratelimit.Batch{ID: g.attempt(), Peek: true, Requests: []ratelimit.Request{{Refs: []int{0, 1, 2, 3}}}}
	for _, name := range []string{"", tried, deferred, refused} {
		b.Budgets = append(b.Budgets, g.budget(p, name, ratelimit.MaxNumber))
	}
	r, err := g.store.Take(ctx, &b)
	if err != nil {
		return c, err
	}
	for i, n := range []*int64{&c.sent, &c.tried, &c.deferred, &c.refused} {
		*n = r.Budgets[i].Windows[0].Used
	}
	return c, nil
}

// grown is the record of a pair after a check of its counts. It holds only once the
// store has it: while that is away no node grows by itself.
func (g *Gate) grown(p Pair, c counts) (r record, changed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, now := g.pairs[p], g.now()
	if s == nil {
		return r, false
	}
	r = s.record
	if g.held(s, c, now) == "" {
		r.step, r.since = r.step+1, now
	}
	if c.sent > 0 && r.until.Sub(now) < coldAfter-renew {
		r.until = now.Add(coldAfter)
	}
	return r, r != s.record
}

// held says why a pair does not grow now; "" where it does.
func (g *Gate) held(s *state, c counts, now time.Time) string {
	switch {
	case s.step >= len(g.cfg.Schedule):
		return "warm"
	case now.Sub(s.since) < day:
		return "the step is not a day old"
	case now.Sub(s.back) < day:
		return "a receiver called the address listed"
	case 2*c.sent < g.most(s):
		return "less than half of the budget went out"
	case 20*c.deferred > c.tried:
		return "over 5 % of the messages were deferred"
	case 50*c.refused > c.tried:
		return "over 2 % of the messages were refused"
	}
	return ""
}

// Row is the present state of a pair, for operators.
type Row struct {
	Upstream string    `json:"upstream"`
	Source   string    `json:"source_ip"` // "any" where the system chooses
	Provider string    `json:"provider"`
	Step     int       `json:"step"`             // from 1; one more than Steps: warm
	Steps    int       `json:"steps"`            // of the schedule
	Budget   int64     `json:"budget,omitempty"` // messages in any 24 hours; 0: any number
	Sent     int64     `json:"sent"`             // in the last 24 hours, as Tried, Deferred and Refused
	Tried    int64     `json:"tried"`
	Deferred int64     `json:"deferred"`
	Refused  int64     `json:"refused"`
	Since    time.Time `json:"since"` // of the step
	Cold     time.Time `json:"cold"`  // when it begins anew, if nothing is sent until then
	// Holds says why it does not grow now.
	Holds string `json:"holds,omitempty"`
}

// List returns all pairs, by address and group. The error is the store's.
func (g *Gate) List(ctx context.Context) ([]Row, error) {
	g.mu.Lock()
	pairs := make([]Pair, 0, len(g.pairs))
	for p := range g.pairs {
		pairs = append(pairs, p)
	}
	g.mu.Unlock()
	slices.SortFunc(pairs, func(a, b Pair) int { return cmp.Or(a.Source.Compare(b.Source), cmp.Compare(a.Group, b.Group)) })
	rows := make([]Row, 0, len(pairs))
	for _, p := range pairs {
		c, err := g.count(ctx, p)
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		if s := g.pairs[p]; s != nil {
			row := Row{Upstream: g.name, Source: "any", Provider: p.Group, Step: s.step + 1, Steps: len(g.cfg.Schedule), Sent: c.sent, Tried: c.tried, Deferred: c.deferred,
				Refused: c.refused, Since: s.since, Cold: s.until, Holds: g.held(s, c, g.now())}
			if p.Source.IsValid() {
				row.Source = p.Source.String()
			}
			if s.step < len(g.cfg.Schedule) {
				row.Budget = g.most(s)
			}
			rows = append(rows, row)
		}
		g.mu.Unlock()
	}
	return rows, nil
}
