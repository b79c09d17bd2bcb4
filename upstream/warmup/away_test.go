package warmup

import (
	"testing"
	"time"

	"postern/ratelimit/embedded"
)

// TestNodeThatHasNotAskedWritesNothing: until the shared store has been asked, a node knows
// no steps, and must not write first ones over those that are there.
func TestNodeThatHasNotAskedWritesNothing(t *testing.T) {
	shared := embedded.New(embedded.Config{Memory: 16 << 20}, nil)
	cfg := Config{Schedule: []Step{20, 40, 80}, Overflow: Defer}
	old := New(Options{Upstream: "world", Config: cfg, Store: shared})
	kept := record{step: 2, since: time.Now().Add(-time.Hour), until: time.Now().Add(coldAfter)}
	old.of(google)
	if err := old.write(t.Context(), google, kept); err != nil {
		t.Fatal(err)
	}
	failover := embedded.NewFailover(shared, embedded.New(embedded.Config{Memory: 16 << 20}, nil), nil)
	if !failover.Down() {
		t.Fatal("it has asked")
	}
	begun := New(Options{Upstream: "world", Config: cfg, Store: failover})
	if _, _, err := begun.Take(t.Context(), google.Source, google.Group); err != nil {
		t.Fatal(err)
	}
	if err := begun.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := begun.grow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := old.Refresh(t.Context()); err != nil || old.budgetOf(google) != 80 {
		t.Errorf("%v: the step in the store is one of %d", err, old.budgetOf(google))
	}
}
