package outlier

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/internal/redistest"
	"postern/mail"
)

const patience = 60 * time.Second

// sharedNode is one node of several.
type sharedNode struct {
	*Watch
	stop func() // ends it in order
	mu   sync.Mutex
	told []Change
}

// client is as cmd/relay makes it: no retries, short timeouts.
func client(t *testing.T, addrs ...string) redis.UniversalClient {
	c := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: addrs, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second, PoolSize: 8,
	})
	t.Cleanup(func() { c.Close() })
	return c
}

func startNode(t *testing.T, addrs ...string) *sharedNode {
	t.Helper()
	return startNodeAt(t, nil, addrs...)
}

// startNodeAt is startNode with a clock.
func startNodeAt(t *testing.T, now func() time.Time, addrs ...string) *sharedNode {
	t.Helper()
	var cfg Config
	cfg.SetDefaults()
	cfg.MaxKnown = 100_000
	n := &sharedNode{}
	var err error
	n.Watch, err = New(cfg, Options{Now: now, Shared: &Shared{Client: client(t, addrs...), Prefix: "test"}, Changes: func(c Change) {
		n.mu.Lock()
		n.told = append(n.told, c)
		n.mu.Unlock()
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		n.Run(ctx)
		close(done)
	}()
	n.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(n.stop)
	eventually(t, "the node to join", n.link.Joined)
	return n
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// messages is how many messages a node knows of a sender.
func (n *sharedNode) messages(sender string) int {
	d, err := n.Show(Sender, sender)
	if err != nil {
		return 0
	}
	return d.Messages
}

func attack(i int, sender string) *mail.Event {
	ev := event("shop", "", sender)
	to(ev, fmt.Sprintf("victim%d@y.example", i), i%7 == 3)
	return ev
}

func suspended(n *sharedNode, sender string) bool {
	return n.Judge("shop", "", mail.Identity(sender)).Level == Suspended
}

func TestNodesFindTogetherWhatOneWouldFind(t *testing.T) {
	s := redistest.Start(t)
	const from = "a@x.example"
	find := func(nodes []*sharedNode, client, from string) int {
		for i := range 200 {
			n := nodes[i%len(nodes)]
			if n.Judge(client, "", mail.Identity(from)).Refuse() {
				return i
			}
			ev := attack(i, from)
			ev.Client = client
			n.Observe(ev)
			for _, o := range nodes {
				eventually(t, "the message to be known", func() bool { return o.messages(from) > i })
			}
		}
		return 200
	}
	first := startNode(t, s.Addr)
	alone := find([]*sharedNode{first}, "mill", "single@x.example")
	nodes := []*sharedNode{first, startNode(t, s.Addr), startNode(t, s.Addr), startNode(t, s.Addr)}
	spread := find(nodes, "shop", from)
	t.Logf("one node: %d messages, four nodes: %d", alone, spread)
	if spread > alone+max(1, alone/10) {
		t.Errorf("four nodes let %d messages out, one %d", spread, alone)
	}
	for i, n := range nodes {
		eventually(t, "the suspension on each node", func() bool { return suspended(n, from) })
		n.mu.Lock()
		if !strings.Contains(fmt.Sprint(n.told), from) {
			t.Errorf("node %d has not told its suspension", i)
		}
		n.mu.Unlock()
	}
	nodes[3].Release(Order{Scope: Sender, Name: from, By: "ops"})
	for _, n := range nodes {
		eventually(t, "the release on each node", func() bool { return !n.Judge("shop", "", mail.Identity(from)).Refuse() })
	}
}

func TestTransactionCostsOneCommand(t *testing.T) {
	s := redistest.Start(t)
	n := startNode(t, s.Addr)
	for range 20 {
		ev := event("shop", "u", "a@x.example")
		to(ev, "same@y.example", false)
		n.Observe(ev)
		eventually(t, "the queue to be empty", func() bool { return !n.link.Waiting() })
	}
	stats, err := s.Client().Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stats, "cmdstat_xadd:calls=20,") {
		t.Errorf("20 transactions were not 20 commands: %s", stats)
	}
}

func TestStoredSenderIsSmallAndExpires(t *testing.T) {
	s := redistest.Start(t)
	n := startNode(t, s.Addr)
	name := strings.Repeat("n", 52) + "@x.example"
	n.Observe(attack(1, name))
	n.stop()
	rdb := s.Client()
	key := "test:outlier:m:0:" + name
	size, err := rdb.MemoryUsage(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a sender with a name of %d octets takes %d", len(name), size)
	if size > 500 {
		t.Errorf("a sender takes %d octets", size)
	}
	if ttl := rdb.TTL(t.Context(), key).Val(); ttl < 89*24*time.Hour || ttl > 90*24*time.Hour {
		t.Errorf("it expires in %v", ttl)
	}
}

func TestJoiningNodeKnowsWhatTheOthersKnow(t *testing.T) {
	s := redistest.Start(t)
	a := startNode(t, s.Addr)
	for i := range 5 {
		a.Observe(attack(i, "a@x.example"))
	}
	a.Suspend(Order{Scope: User, Name: "u", By: "ops", Reason: "stolen"})
	a.stop()
	b := startNode(t, s.Addr)
	if b.messages("a@x.example") != 5 {
		t.Errorf("%d messages known", b.messages("a@x.example"))
	}
	if !b.Judge("shop", "u", "").Refuse() {
		t.Error("a suspension is not known")
	}
	before, _ := b.explain(Sender, "a@x.example")
	b.Observe(attack(0, "a@x.example"))
	after, _ := b.explain(Sender, "a@x.example")
	if before.Parts[1].Now != after.Parts[1].Now {
		t.Error("a recipient that another node knows counts as new")
	}
}

func TestRedisAwayEachNodeWatchesAndMergesAfter(t *testing.T) {
	s := redistest.Start(t, "appendonly yes")
	a, b := startNode(t, s.Addr), startNode(t, s.Addr)
	a.Suspend(Order{Scope: Sender, Name: "old@x.example", By: "ops"})
	eventually(t, "the suspension on the other node", func() bool { return suspended(b, "old@x.example") })
	s.Kill()
	if !suspended(a, "old@x.example") || !suspended(b, "old@x.example") {
		t.Error("a known suspension went with Redis")
	}
	for i := range 100 {
		a.Observe(attack(i, "a@x.example"))
	}
	for i := range 10 {
		b.Observe(attack(1000+i, "b@x.example"))
	}
	if !suspended(a, "a@x.example") {
		t.Error("a node by itself finds nothing")
	}
	s.Restart()
	eventually(t, "the merge", func() bool {
		return suspended(b, "a@x.example") && b.messages("a@x.example") == 100 && a.messages("b@x.example") == 10
	})
}

// TestNoteWhoseAnswerIsLostCountsOnce: what Redis has written and the node that sent it did
// not hear of comes again, together with what has come meanwhile.
func TestNoteWhoseAnswerIsLostCountsOnce(t *testing.T) {
	s := redistest.Start(t)
	proxy := redistest.NewProxy(t, s.Addr)
	a, b := startNode(t, proxy.Addr), startNode(t, s.Addr)
	a.Observe(attack(0, "a@x.example"))
	eventually(t, "the first note", func() bool { return b.messages("a@x.example") == 1 })
	entries := func() int64 { return s.Client().XLen(t.Context(), "test:{outlier}:stream").Val() }
	before := entries()
	proxy.LoseRepliesTo("first") // the answers to notes, and to nothing that a node asks before it sends one
	for i := range 4 {
		a.Observe(attack(1+i, "a@x.example"))
	}
	eventually(t, "the entry", func() bool { return entries() > before })
	proxy.Reset() // with the answer, wherever it is
	a.Observe(attack(5, "a@x.example"))
	proxy.LoseRepliesTo("")
	proxy.Reset()
	a.Observe(attack(6, "z@x.example"))
	eventually(t, "what was sent last", func() bool { return b.messages("z@x.example") == 1 })
	if n := b.messages("a@x.example"); n != 6 {
		t.Errorf("6 messages are counted as %d", n)
	}
}

func TestNodesShareACluster(t *testing.T) {
	c := redistest.StartCluster(t)
	a := startNode(t, c.Addrs()...)
	for i := range 30 {
		a.Observe(attack(i, fmt.Sprintf("s%d@x.example", i)))
	}
	a.Suspend(Order{Scope: Sender, Name: "s1@x.example", By: "ops"})
	a.stop()
	b := startNode(t, c.Addrs()...)
	if rows, all := b.List(Query{Scope: Sender}); all != 30 {
		t.Errorf("%d senders: %+v", all, rows)
	}
	if !suspended(b, "s1@x.example") {
		t.Error("a suspension is not known")
	}
}
