package redisstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"postern/internal/redistest"
	"postern/ratelimit"
	"postern/ratelimit/embedded"
	"postern/ratelimit/storetest"
)

func TestRedisCluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	flush := func(t *testing.T) {
		t.Helper()
		for _, node := range cluster.Nodes {
			if err := node.Client().FlushDB(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	cfg := redisSettings(cluster.Addrs()...)
	t.Run("store", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) storetest.Bed {
			flush(t)
			return simulated(t, cfg)
		})
	})
	for name, test := range map[string]func(*testing.T, *redistest.Cluster, Config){
		"decides as one server does":               testSlotsLikeOne,
		"an attempt over several slots comes once": testSlotsAttempt,
		"four nodes, several slots, refunds": func(t *testing.T, _ *redistest.Cluster, cfg Config) {
			testNodesWithRefunds(t, nodesOf(t, 4, cfg), "client=shop", "all")
		},
		"all calls":            func(t *testing.T, _ *redistest.Cluster, cfg Config) { useEverything(t, openRedis(t, cfg)) },
		"follows a moved slot": testMovedSlot,
		"one of three away":    testOneNodeAway,
	} {
		t.Run(name, func(t *testing.T) {
			flush(t)
			test(t, cluster, cfg)
		})
	}
}

// testSlotsLikeOne drives the same random batches through the Cluster, where
// each budget has a slot of its own, and through the store in process.
func testSlotsLikeOne(t *testing.T, _ *redistest.Cluster, cfg Config) {
	many := simulated(t, cfg)
	one := embedded.New(embedded.Config{Memory: 16 << 20}, many.Clock.Now)
	rnd := rand.New(rand.NewPCG(7, 8))
	keys := []string{"client=a", "client=b", "client=c", "all"}
	budget := func(i int, paid bool) ratelimit.Budget {
		b := storetest.BudgetOf("l", keys[i], storetest.Win(ratelimit.Messages, 4+int64(i), time.Hour), storetest.Win(ratelimit.Recipients, 9+2*int64(i), time.Hour), storetest.Win(ratelimit.Bytes, 90, time.Hour))
		b.Shadow, b.Paid = i == 2, paid
		return b
	}
	for round := range 150 {
		build := func(rnd *rand.Rand) *ratelimit.Batch {
			b := &ratelimit.Batch{ID: ratelimit.Attempt{Node: 9, Seq: uint64(round)}}
			for i := range keys {
				b.Budgets = append(b.Budgets, budget(i, rnd.IntN(3) == 0))
			}
			for range 1 + rnd.IntN(6) {
				q := ratelimit.Request{Recipients: 1 + rnd.Int64N(2), Bytes: rnd.Int64N(8)}
				for i := range keys {
					if rnd.IntN(2) == 0 {
						q.Refs = append(q.Refs, i)
					}
				}
				b.Requests = append(b.Requests, q)
			}
			return b
		}
		seed := rnd.Uint64()
		b := build(rand.New(rand.NewPCG(seed, 1)))
		got := many.Decide(t, b)
		want, err := one.Take(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		if g, w := outcome(&got), outcome(&want); !reflect.DeepEqual(g, w) {
			t.Fatalf("round %d: several slots\n%s\none store\n%s", round, g, w)
		}
		many.Clock.Add(time.Duration(rnd.IntN(10)) * time.Minute)
	}
}

// outcome is what both stores must agree on.
func outcome(r *ratelimit.Result) (lines []string) {
	for i := range r.Requests {
		q := &r.Requests[i]
		line := fmt.Sprintf("ok %v never %v charges", q.OK, q.Never)
		for _, c := range q.Charges {
			line += fmt.Sprintf(" %v,%v", c.Made, c.Message)
		}
		lines = append(lines, line)
	}
	for i := range r.Budgets {
		line := fmt.Sprintf("paid %v used", r.Budgets[i].Paid)
		for _, w := range r.Budgets[i].Windows {
			line += fmt.Sprintf(" %d/%d", w.Used, w.Max)
		}
		lines = append(lines, line)
	}
	return lines
}

// testSlotsAttempt asks the same again, after one slot has refused a part.
func testSlotsAttempt(t *testing.T, _ *redistest.Cluster, cfg Config) {
	r := openRedis(t, cfg)
	narrow := func() ratelimit.Budget {
		return storetest.BudgetOf("narrow", "client=a", storetest.Win(ratelimit.Recipients, 2, time.Hour))
	}
	wide := func() ratelimit.Budget {
		return storetest.BudgetOf("wide", "client=b", storetest.Win(ratelimit.Messages, 9, time.Hour), storetest.Win(ratelimit.Recipients, 100, time.Hour))
	}
	b := storetest.BatchOf(make([]ratelimit.Request, 5), narrow(), wide())
	for i := range b.Requests {
		b.Requests[i].Recipients = 1
	}
	for range 3 {
		said, err := r.Take(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Requests {
			if q := said.Requests[i]; q.OK != (i < 2) || q.Charges[0].Made != q.OK || q.Charges[1].Made != q.OK {
				t.Errorf("request %d: %+v", i, q)
			}
		}
		if used := usedOf(t, r, wide()); used[0] != 1 || used[1] != 2 {
			t.Errorf("wide holds %v, want a message and 2 recipients", used)
		}
	}
	for range 2 {
		if err := r.Undo(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if n, w := usedOf(t, r, narrow()), usedOf(t, r, wide()); n[0] != 0 || w[0] != 0 || w[1] != 0 {
			t.Errorf("after Undo: %v and %v", n, w)
		}
	}
	if _, err := r.Take(t.Context(), b); err == nil {
		t.Error("an attempt that was undone was charged")
	}
}

// testMovedSlot gives a slot to another node behind the store's back.
func testMovedSlot(t *testing.T, cluster *redistest.Cluster, cfg Config) {
	r := openRedis(t, cfg)
	b := func() *ratelimit.Batch {
		return storetest.BatchOf([]ratelimit.Request{{Recipients: 1}}, storetest.BudgetOf("l", "client=moving", storetest.Win(ratelimit.Messages, 5, time.Hour)))
	}
	name := r.budgetKey("l", []byte("client=moving"))
	if _, err := r.Take(t.Context(), b()); err != nil {
		t.Fatal(err)
	}
	from := cluster.Of(t, name)
	to := cluster.Nodes[0]
	if to == from {
		to = cluster.Nodes[1]
	}
	slot := from.Client().ClusterKeySlot(t.Context(), name).Val()
	move := func(from, to *redistest.Server) {
		t.Helper()
		if err := from.Client().FlushDB(t.Context()).Err(); err != nil { // a slot with keys cannot go
			t.Fatal(err)
		}
		id := to.Client().ClusterMyID(t.Context()).Val()
		for _, node := range append([]*redistest.Server{to}, cluster.Nodes...) {
			if err := node.Client().Do(t.Context(), "CLUSTER", "SETSLOT", slot, "NODE", id).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	move(from, to)
	for range 3 {
		if said, err := r.Take(t.Context(), b()); err != nil || !said.Requests[0].OK {
			t.Fatalf("after the move: %v, %+v", err, said)
		}
	}
	if used := usedOf(t, r, b().Budgets[0]); used[0] != 3 {
		t.Errorf("%d used, want 3", used[0])
	}
	move(to, from)
}

// testOneNodeAway stops one of the three nodes: what lies on the others goes on.
func testOneNodeAway(t *testing.T, cluster *redistest.Cluster, cfg Config) {
	cfg.Timeout = 2 * time.Second
	r := openRedis(t, cfg)
	budgets := map[*redistest.Server]ratelimit.Budget{}
	for i := 0; len(budgets) < 3; i++ {
		b := storetest.BudgetOf("away", fmt.Sprintf("client=c%d", i), storetest.Win(ratelimit.Messages, 50, time.Hour))
		budgets[cluster.Of(t, r.budgetKey(b.Limit, b.Key))] = b
	}
	stopped := cluster.Nodes[1]
	var all, others []ratelimit.Budget
	for node, b := range budgets {
		all = append(all, b)
		if node != stopped {
			others = append(others, b)
		}
	}
	take := func(list ...ratelimit.Budget) (*ratelimit.Batch, error) {
		b := storetest.BatchOf([]ratelimit.Request{{Recipients: 1}}, list...)
		_, err := r.Take(t.Context(), b)
		return b, err
	}
	if _, err := take(all...); err != nil {
		t.Fatal(err)
	}
	stopped.Pause()
	lost, err := take(all...)
	if err == nil {
		t.Error("decided without the node that holds a budget")
	}
	if _, err := take(others...); err != nil {
		t.Errorf("two nodes that answer could not decide: %v", err)
	}
	if r.Ping(t.Context()) == nil {
		t.Error("Ping found nothing wrong")
	}
	stopped.Resume()
	deadline := time.Now().Add(time.Minute)
	for r.Undo(context.Background(), lost) != nil {
		if time.Now().After(deadline) {
			t.Fatal("the node did not come back")
		}
	}
	for node, b := range budgets {
		want := int64(2)
		if node == stopped {
			want = 1
		}
		if used := usedOf(t, r, b); used[0] != want {
			t.Errorf("a budget holds %d, want %d", used[0], want)
		}
	}
}

// TestRedisSentinelFailover kills the master under Sentinels: what had reached
// the replica still counts, and decisions go on there.
func TestRedisSentinelFailover(t *testing.T) {
	s := redistest.StartSentinel(t)
	cfg := redisSettings(s.Addrs()...)
	cfg.Master = s.Name
	cfg.Timeout = time.Second
	r := openRedis(t, cfg)
	b := func() ratelimit.Budget {
		return storetest.BudgetOf("sender", "all", storetest.Win(ratelimit.Messages, 100, time.Hour))
	}
	admitted := 0
	var lost []*ratelimit.Batch
	take := func() bool {
		t.Helper()
		batch := storetest.BatchOf([]ratelimit.Request{{Recipients: 1}}, b())
		said, err := r.Take(t.Context(), batch)
		if err != nil {
			lost = append(lost, batch)
			return true
		}
		if said.Requests[0].OK {
			admitted++
		}
		return said.Requests[0].OK
	}
	for range 60 {
		take()
	}
	if n, err := s.Master.Client().Wait(t.Context(), 1, time.Minute).Result(); n != 1 || err != nil || admitted != 60 {
		t.Fatalf("%d admitted, %d replicas in step, %v", admitted, n, err)
	}
	s.Master.Kill()
	if take(); len(lost) != 1 {
		t.Error("decided without a master")
	}
	s.WaitForPromotion(t)
	deadline := time.Now().Add(time.Minute)
	for take() {
		if time.Now().After(deadline) {
			t.Fatal("no decision after the failover")
		}
	}
	for _, batch := range lost {
		if err := r.Undo(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	for take() {
	}
	if used := usedOf(t, r, b()); admitted != 100 || used[0] != 100 {
		t.Errorf("%d admitted and %d used over the failover, want 100 and 100", admitted, used[0])
	}
}

// TestRedisClusterACL does all calls as a user who may do nothing else.
func TestRedisClusterACL(t *testing.T) {
	cluster := redistest.StartCluster(t, "user relay on >relaypass "+redisACL("postern")+" +cluster|slots")
	cfg := redisSettings(cluster.Addrs()[0])
	cfg.Cluster, cfg.Username, cfg.Password = true, "relay", "relaypass"
	useEverything(t, openRedis(t, cfg))
	for _, node := range cluster.Nodes {
		log, err := node.Client().Do(t.Context(), "ACL", "LOG").Slice()
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range log {
			t.Errorf("refused by the ACL: %v", entry)
		}
	}
}
