package warmup

import (
	"context"
	"errors"
	"testing"
	"time"

	"postern/ratelimit"
)

// between is a store in which something happens just before or behind a record is written.
type between struct {
	ratelimit.Store
	before *func()
	behind *error // is told instead of what became of it
}

func (b between) SwapAllowance(ctx context.Context, r ratelimit.Allowance, old string) (bool, error) {
	if f := *b.before; f != nil {
		*b.before = nil
		f()
	}
	ok, err := b.Store.SwapAllowance(ctx, r, old)
	if e := *b.behind; e != nil {
		*b.behind = nil
		return false, e
	}
	return ok, err
}

// judges are two nodes that share a store, at the third of five steps and behind a good day.
func judges(t *testing.T) (b *bench, one, two *Gate, before *func(), behind *error) {
	t.Helper()
	b = newBench(t, 2, 10, 20, 40, 80, 160)
	before, behind = new(func()), new(error)
	b.store = between{b.store, before, behind}
	for _, g := range b.nodes {
		g.store = b.store
	}
	for range 3 {
		b.send(100, Taken)
		b.clock.Add(25 * time.Hour)
		b.send(100, Taken)
		b.round()
		b.round()
	}
	one, two = b.nodes[0], b.nodes[1]
	if row := b.row(); row.Step != 4 || one.budgetOf(google) != 80 || two.budgetOf(google) != 80 {
		t.Fatalf("%+v", row)
	}
	b.clock.Add(25 * time.Hour)
	b.send(100, Taken)
	return b, one, two, before, behind
}

func (b *bench) listed(g *Gate) {
	b.t.Helper()
	if !g.Listed(&Listing{Pair: google, Client: "shop", Clients: 1, Domain: "b.example", OfGroup: true, Early: true}) {
		b.t.Fatal("no step back")
	}
}

// TestStepBackIsNotLost where another node grows at the same time, whoever writes first, and
// whatever the store says of it.
func TestStepBackIsNotLost(t *testing.T) {
	t.Run("written while the other one judges", func(t *testing.T) {
		b, one, two, before, _ := judges(t)
		*before = func() { // two has judged and is about to write
			b.listed(one)
			if err := one.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if err := two.grow(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.settled(20)
	})
	t.Run("behind the other one", func(t *testing.T) {
		b, one, two, before, _ := judges(t)
		b.listed(one)
		*before = func() {
			if err := two.grow(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if err := one.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.settled(20)
	})
	t.Run("by both", func(t *testing.T) {
		b, one, two, before, _ := judges(t)
		b.listed(one)
		b.listed(two)
		*before = func() {
			if err := two.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if err := one.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.settled(20)
	})
	t.Run("the answer is lost", func(t *testing.T) {
		b, one, two, _, behind := judges(t)
		b.listed(one)
		*behind = errors.New("connection reset")
		if err := one.Refresh(t.Context()); err == nil {
			t.Fatal("no error")
		}
		if err := two.grow(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.settled(20)
	})
}

// settled has both nodes look again, and holds them to one budget.
func (b *bench) settled(want int64) {
	b.t.Helper()
	for range 2 {
		b.round()
	}
	for i, g := range b.nodes {
		if got := g.budgetOf(google); got != want {
			b.t.Errorf("node %d has a budget of %d, want %d", i+1, got, want)
		}
	}
}

// TestRecordThatCannotBeReadIsReplaced, and stands in nobody's way.
func TestRecordThatCannotBeReadIsReplaced(t *testing.T) {
	b := newBench(t, 1, 10, 20)
	g := b.nodes[0]
	now := b.clock.Now()
	broken := ratelimit.Allowance{Limit: g.stateLimit(), Key: google.key(), Unit: ratelimit.Messages, Window: day, Add: 1, Made: now, Until: now.Add(day), Reason: "?"}
	if err := b.store.SetAllowance(t.Context(), broken); err != nil {
		t.Fatal(err)
	}
	b.send(1, Taken)
	b.round()
	if all, err := b.store.Allowances(t.Context()); err != nil || len(all) != 1 || all[0].Reason == "?" {
		t.Errorf("%+v, %v", all, err)
	}
}

// dated is a store that looks whether it is asked without a bound of time.
type dated struct {
	ratelimit.Store
	t     *testing.T
	asked *int
}

func (d dated) look(ctx context.Context) {
	*d.asked++
	if end, ok := ctx.Deadline(); !ok || time.Until(end) > endTimeout {
		d.t.Errorf("asked until %v", end)
	}
}

func (d dated) Refund(ctx context.Context, id ratelimit.Attempt, back []ratelimit.Return) error {
	d.look(ctx)
	return d.Store.Refund(ctx, id, back)
}

func (d dated) Take(ctx context.Context, b *ratelimit.Batch) (ratelimit.Result, error) {
	d.look(ctx)
	return d.Store.Take(ctx, b)
}

// TestEndOfAMessageWaitsForNoStore for more than a second in all.
func TestEndOfAMessageWaitsForNoStore(t *testing.T) {
	b := newBench(t, 1, 10)
	p, _, err := b.nodes[0].Take(t.Context(), cold, "google")
	if err != nil || p == nil {
		t.Fatal(err)
	}
	asked := 0
	p.g.store = dated{b.store, t, &asked}
	p.End(Deferred, false)
	if asked != 2 {
		t.Errorf("the store was asked %d times", asked)
	}
}
