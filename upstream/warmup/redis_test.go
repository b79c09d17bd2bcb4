package warmup

import (
	"context"
	"sync"
	"testing"
	"time"

	"postern/internal/redistest"
	"postern/ratelimit/embedded"
	"postern/ratelimit/redisstore"
)

// redisNode is a node that shares budgets over a real Redis, and goes on without it.
func redisNode(t *testing.T, addr string, steps ...Step) (*Gate, *embedded.Failover) {
	t.Helper()
	var cfg redisstore.Config
	cfg.SetDefaults()
	cfg.Addresses = []string{addr}
	client, err := redisstore.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	shared := redisstore.New(client, cfg)
	f := embedded.NewFailover(shared, embedded.New(embedded.Config{Memory: 16 << 20}, nil), nil)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		shared.Close()
		client.Close()
	})
	return New(Options{Upstream: "world", Config: Config{Schedule: steps, Overflow: Defer}, Store: f}), f
}

// TestNodesShareBudgetsOverRedis: two nodes have one budget and one step together, and while
// Redis is away no more than that.
func TestNodesShareBudgetsOverRedis(t *testing.T) {
	server := redistest.Start(t)
	one, oneStore := redisNode(t, server.Addr, 20, 40)
	two, twoStore := redisNode(t, server.Addr, 20, 40)
	until := func(ok func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !ok() && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	}
	until(func() bool {
		n, _ := twoStore.Nodes(t.Context())
		m, _ := oneStore.Nodes(t.Context())
		return !oneStore.Down() && !twoStore.Down() && n == 2 && m == 2
	})
	// On a machine that is busy a node may decide by itself now and then, and lets less
	// pass then.
	take := func(p Pair) (had int) {
		for i := range 100 {
			pass, _, err := []*Gate{one, two}[i%2].Take(t.Context(), p.Source, p.Group)
			if err != nil {
				t.Error(err)
			}
			if pass != nil {
				had++
				pass.End(Taken, true)
			}
		}
		return had
	}
	first := take(google)
	if first > 20 || first < 10 {
		t.Errorf("%d went out, want 20", first)
	}
	// A step that one node writes is the other's, with a time of its own.
	next := record{step: 1, since: time.Now().Add(-time.Hour), until: time.Now().Add(coldAfter)}
	until(func() bool { return !oneStore.Down() && one.write(t.Context(), google, next) == nil })
	until(func() bool {
		return !twoStore.Down() && two.Refresh(t.Context()) == nil && two.budgetOf(google) == 40
	})
	if had := take(google); first+had > 40 || first+had < 25 || two.budgetOf(google) != 40 {
		t.Errorf("%d more went out after %d, want 40 in all; the other node has a budget of %d", had, first, two.budgetOf(google))
	}
	server.Kill()
	if had := take(Pair{cold, "yahoo"}); had > 20 || had < 5 {
		t.Errorf("%d went out while Redis is away, want at most 20", had)
	}
	if err := one.grow(t.Context()); err == nil && one.budgetOf(google) != 40 {
		t.Error("a node has grown by itself")
	}
	server.Restart()
}
