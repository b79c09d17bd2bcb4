package redisstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/redistest"
	"postern/ratelimit"
	"postern/ratelimit/storetest"
)

// nodesOf makes stores as if each were in a relay of its own.
func nodesOf(t testing.TB, n int, cfg Config) []*Store {
	t.Helper()
	nodes := make([]*Store, n)
	for i := range nodes {
		nodes[i] = openRedis(t, cfg)
	}
	return nodes
}

// attemptsOf names attempts as a Limiter of the node would.
func attemptsOf(node int) func() ratelimit.Attempt {
	var seq atomic.Uint64
	base := rand.Uint64()
	return func() ratelimit.Attempt { return ratelimit.Attempt{Node: base + uint64(node), Seq: seq.Add(1)} }
}

// onAll runs sessions on every node at the same time, and reports their errors.
func onAll(t *testing.T, nodes []*Store, sessions int, session func(r *Store, id func() ratelimit.Attempt) error) {
	t.Helper()
	var wg sync.WaitGroup
	for i, r := range nodes {
		id := attemptsOf(i)
		for range sessions {
			wg.Go(func() {
				if err := session(r, id); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
}

// usedOf is what windows hold, as a node sees it.
func usedOf(t *testing.T, r *Store, budget ratelimit.Budget) []int64 {
	t.Helper()
	b := storetest.BatchOf([]ratelimit.Request{{Recipients: 1}}, budget)
	b.Peek = true
	said, err := r.Take(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	var used []int64
	for _, w := range said.Budgets[0].Windows {
		used = append(used, w.Used)
	}
	return used
}

// TestRedisNodesShareALimit: two nodes with fifty sessions each ask for far more
// than there is.
func TestRedisNodesShareALimit(t *testing.T) {
	server := redistest.Start(t)
	nodes := nodesOf(t, 2, redisSettings(server.Addr))
	windows := []ratelimit.Window{storetest.Win(ratelimit.Messages, 321, time.Hour), storetest.Win(ratelimit.Recipients, 5000, 24*time.Hour)}
	var passed atomic.Int64
	onAll(t, nodes, 50, func(r *Store, id func() ratelimit.Attempt) error {
		for range 10 {
			b := storetest.BatchOf([]ratelimit.Request{{Recipients: 1}}, storetest.BudgetOf("sender", "sender=a@x.example", windows...))
			b.ID = id()
			said, err := r.Take(t.Context(), b)
			if err != nil {
				return err
			}
			if said.Requests[0].OK {
				passed.Add(1)
			}
		}
		return nil
	})
	if passed.Load() != 321 {
		t.Errorf("%d passed, want exactly 321", passed.Load())
	}
	if used := usedOf(t, nodes[0], storetest.BudgetOf("sender", "sender=a@x.example", windows...)); used[0] != 321 || used[1] != 321 {
		t.Errorf("used %v, want 321 in both", used)
	}
	for _, r := range nodes {
		if n, err := r.Nodes(t.Context()); err != nil || n != 2 {
			t.Errorf("%d nodes were seen, %v; want 2", n, err)
		}
	}
}

// TestRedisNodesWithRefunds: 200 sessions on four nodes charge two budgets and
// give some back, until no room is left: what was admitted and kept is exactly
// the number.
func TestRedisNodesWithRefunds(t *testing.T) {
	server := redistest.Start(t)
	testNodesWithRefunds(t, nodesOf(t, 4, redisSettings(server.Addr)), "client=shop", "client=shop recipient_domain=x.example")
}

func testNodesWithRefunds(t *testing.T, nodes []*Store, narrowKey, wideKey string) {
	t.Helper()
	const most = 500
	narrow := func() ratelimit.Budget {
		return storetest.BudgetOf("narrow", narrowKey, storetest.Win(ratelimit.Messages, most, time.Hour))
	}
	wide := func() ratelimit.Budget {
		return storetest.BudgetOf("wide", wideKey, storetest.Win(ratelimit.Recipients, 100_000, time.Hour), storetest.Win(ratelimit.Bytes, ratelimit.MaxNumber, 24*time.Hour))
	}
	var kept atomic.Int64
	onAll(t, nodes, 50, func(r *Store, id func() ratelimit.Attempt) error {
		back := 0
		for range 50_000 {
			b := storetest.BatchOf([]ratelimit.Request{{Recipients: 2, Bytes: 1000}}, narrow(), wide())
			b.ID = id()
			said, err := r.Take(t.Context(), b)
			if err != nil {
				return err
			}
			q := &said.Requests[0]
			if !q.OK && kept.Load() == most {
				return nil
			}
			if !q.OK {
				continue // others hold room that they will give back
			}
			if back++; back%3 > 0 {
				kept.Add(1)
				continue
			}
			returns := []ratelimit.Return{
				{Budget: narrow(), At: q.Charges[0].At, Messages: 1},
				{Budget: wide(), At: q.Charges[1].At, Recipients: 2, Bytes: 1000},
			}
			if err := r.Refund(context.WithoutCancel(t.Context()), id(), returns); err != nil {
				return err
			}
		}
		return errors.New("there was never room for the last ones")
	})
	if kept.Load() != most {
		t.Errorf("%d were admitted and kept, want exactly %d", kept.Load(), most)
	}
	if used := usedOf(t, nodes[0], narrow()); used[0] != most {
		t.Errorf("the narrow budget holds %d, want %d", used[0], most)
	}
	if used := usedOf(t, nodes[0], wide()); used[0] != 2*most || used[1] != 1000*most {
		t.Errorf("the wide budget holds %v, want %d and %d", used, 2*most, 1000*most)
	}
}
