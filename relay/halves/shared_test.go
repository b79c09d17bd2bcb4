package halves

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/internal/redistest"
)

// node is a memory of one of several nodes, with a file of its own.
func node(t *testing.T, client redis.UniversalClient, c *clock) *Memory {
	t.Helper()
	o := Options{File: filepath.Join(t.TempDir(), "halves.state"), Redis: client, Prefix: "test", Timeout: time.Second, perClient: 100, total: 1000}
	if c != nil {
		o.Now = c.Now
	}
	return open(t, o)
}

func TestAnotherNodeKnows(t *testing.T) {
	server := redistest.Start(t)
	a, b := node(t, server.Client(), nil), node(t, server.Client(), nil)
	a.Check(t.Context())
	b.Check(t.Context())
	keep(t, a, "mta", 1, "x@b.example", "y@b.example")
	keep(t, a, "mta", 2, "x@b.example")
	for _, m := range []*Memory{a, b} {
		if !has(t, m, "mta", 1, "x@b.example") || !has(t, m, "mta", 2, "x@b.example") || !has(t, m, "mta", 1, "y@b.example") {
			t.Error("not known")
		}
		if has(t, m, "mta", 3, "x@b.example") || has(t, m, "other", 1, "x@b.example") || has(t, m, "mta", 2, "y@b.example") {
			t.Error("known although it was not taken")
		}
	}
	b.Settle(t.Context(), "mta", "<a@example.org>", content(1), []string{"x@b.example"}, true)
	if has(t, b, "mta", 1, "x@b.example") || !has(t, b, "mta", 2, "x@b.example") {
		t.Error("not what was forgotten")
	}
	rc := server.Client()
	keys, err := rc.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if ttl, _ := rc.TTL(t.Context(), k).Result(); ttl <= 0 && k != "test:halves:key" {
			t.Errorf("key %q does not end", k)
		}
	}
}

func TestRefusedIsShared(t *testing.T) {
	server := redistest.Start(t)
	a, b := node(t, server.Client(), nil), node(t, server.Client(), nil)
	begun, err := a.Begin(t.Context(), "mta", "id1", 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := begun.Keep(t.Context(), "<a@example.org>", content(1), []Part{{To: "x@b.example"}}); err != nil {
		t.Fatal(err)
	}
	b.Check(t.Context())
	known, sure := b.Lookup(t.Context(), "mta", "<a@example.org>", []string{"y@b.example", "x@b.example"})
	if !sure || len(known[0]) != 0 || len(known[1]) != 1 || known[1][0].Taken || known[1][0].ID != "id1" {
		t.Errorf("%v, %v", known, sure)
	}
}

// TestSettledOnAnotherNodeEndsSooner also where it was not forgotten at once.
func TestSettledOnAnotherNodeEndsSooner(t *testing.T) {
	server, c := redistest.Start(t), newClock()
	c.now = time.Now()
	a, b := node(t, server.Client(), c), node(t, server.Client(), c)
	keep(t, a, "mta", 1, "x@b.example")
	b.Settle(t.Context(), "mta", "<a@example.org>", content(1), []string{"x@b.example"}, false)
	if !has(t, b, "mta", 1, "x@b.example") {
		t.Error("forgotten at once")
	}
	c.add(settledFor + time.Second)
	if has(t, b, "mta", 1, "x@b.example") {
		t.Error("known for longer")
	}
}

// TestRedisAway: nothing goes to several domains then, and Lookup says that it is not
// sure; what this node knows it still knows.
func TestRedisAway(t *testing.T) {
	server := redistest.Start(t)
	m := node(t, server.Client(), nil)
	keep(t, m, "mta", 1, "x@b.example")
	begun, err := m.Begin(t.Context(), "mta", "id2", 1)
	if err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if err := begun.Keep(t.Context(), "<a@example.org>", content(2), []Part{{To: "z@b.example", Taken: true}}); err == nil {
		t.Error("kept where Redis is away")
	}
	if n := m.Counts(); n.Unshared != 1 || n.Unwritten != 0 {
		t.Errorf("%+v", n)
	}
	if m.Ready("mta") {
		t.Error("ready")
	}
	if _, err := m.Begin(t.Context(), "mta", "id3", 2); err == nil {
		t.Error("begun")
	}
	known, sure := m.Lookup(t.Context(), "mta", "<a@example.org>", []string{"x@b.example", "z@b.example"})
	if sure || len(known[0]) != 1 || len(known[1]) != 1 {
		t.Errorf("%v, %v", known, sure)
	}
	server.Restart()
	for deadline := time.Now().Add(30 * time.Second); !m.Ready("mta"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not ready once it is back")
		}
		m.Check(t.Context())
	}
}

// TestRoomInRedisIsBounded for each client, and ends with what was made room for.
func TestRoomInRedisIsBounded(t *testing.T) {
	server, c := redistest.Start(t), newClock()
	c.now = time.Now()
	a, b := node(t, server.Client(), c), node(t, server.Client(), c)
	for i := range 20 {
		m := a
		if i%2 == 1 {
			m = b
		}
		begun, err := m.Begin(t.Context(), "mta", fmt.Sprint("id", i), 10)
		if full := i >= 10; full != (err != nil) {
			t.Fatalf("message %d: %v", i, err)
		}
		if i == 0 {
			begun.End(t.Context())
			if _, err = m.Begin(t.Context(), "mta", "again", 10); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := a.Begin(t.Context(), "other", "id", 10); err != nil {
		t.Errorf("another client: %v", err)
	}
	// What was never ended gives its room back.
	a, b = node(t, server.Client(), c), nil
	c.add(reserveFor + time.Second)
	if _, err := a.Begin(t.Context(), "mta", "later", 10); err != nil {
		t.Errorf("%v", err)
	}
}

// TestKeyOfOthersIsTaken, and what was known under the former one still is.
func TestKeyOfOthersIsTaken(t *testing.T) {
	server := redistest.Start(t)
	node(t, server.Client(), nil) // which has set the key
	file := filepath.Join(t.TempDir(), "halves.state")
	alone := open(t, Options{File: file})
	keep(t, alone, "mta", 1, "x@b.example")
	alone.close()
	m := open(t, Options{File: file, Redis: server.Client(), Prefix: "test", Timeout: time.Second})
	if !has(t, m, "mta", 1, "x@b.example") {
		t.Error("forgotten with the key")
	}
	keep(t, m, "mta", 2, "y@b.example")
	m.close()
	m = open(t, Options{File: file})
	if !has(t, m, "mta", 1, "x@b.example") || !has(t, m, "mta", 2, "y@b.example") {
		t.Error("forgotten with a restart")
	}
}

// TestCluster: the keys of a client lie together.
func TestCluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()})
	defer client.Close()
	m := node(t, client, nil)
	for i := range 20 {
		name := fmt.Sprint("client", i)
		keep(t, m, name, 1, "x@b.example")
		if !has(t, m, name, 1, "x@b.example") {
			t.Errorf("%s: not known", name)
		}
	}
}

// TestRecordsOfOneRecipientAreBounded whatever is sent to it.
func TestRecordsOfOneRecipientAreBounded(t *testing.T) {
	server := redistest.Start(t)
	a, b := node(t, server.Client(), nil), node(t, server.Client(), nil)
	for i := range 40 {
		keep(t, a, "mta", i, "x@b.example")
	}
	known, _ := b.Lookup(t.Context(), "mta", "<a@example.org>", []string{"x@b.example"})
	if len(known[0]) != 16 || !has(t, b, "mta", 39, "x@b.example") {
		t.Errorf("%d are known", len(known[0]))
	}
}
