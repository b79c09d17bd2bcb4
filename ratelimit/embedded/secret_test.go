package embedded

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/redistest"
	"postern/mail"
	"postern/ratelimit"
	"postern/ratelimit/recipients"
	"postern/ratelimit/storetest"
)

// relayNode is a relay with a secret, as cmd/relay makes it.
type relayNode struct {
	f       *Failover
	secret  *recipients.Secret
	limiter *ratelimit.Limiter
}

func startRelayNode(t *testing.T, shared ratelimit.Store, path string) *relayNode {
	t.Helper()
	s, err := recipients.LoadSecret(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := NewFailover(shared, New(Config{Memory: 16 << 20}, nil), nil)
	f.UseSecret(s)
	n := &relayNode{f: f, secret: s, limiter: ratelimit.NewLimiter(f, distinctRules(t), nil)}
	n.limiter.UseSecret(s)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	n.await(t, func() bool { return !f.Down() })
	return n
}

func (n *relayNode) await(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("never")
		}
	}
}

func distinctRules(t *testing.T) *ratelimit.Limits {
	return storetest.Compile(t, map[string]ratelimit.RuleConfig{"client": {Per: ratelimit.Per{ratelimit.PerClient}, DistinctRecipients: storetest.Numbers(t, "500/1h")}})
}

// send sends to recipients and returns how many passed.
func (n *relayNode) send(t *testing.T, names ...string) (passed int) {
	t.Helper()
	return sendTo(t, n.limiter, names)
}

func sendTo(t *testing.T, l *ratelimit.Limiter, names []string) (passed int) {
	t.Helper()
	a := l.Begin(ratelimit.Facts{Client: "shop", Sender: "news@shop.example"})
	defer a.End()
	var rs []ratelimit.Recipient
	for _, name := range names {
		rs = append(rs, ratelimit.Recipient{Address: mail.RecipientOf(name), Domain: "dest.example"})
	}
	for _, v := range a.Recipients(t.Context(), rs, nil) {
		if v.OK {
			passed++
		}
	}
	if a.Err() != nil {
		t.Fatal(a.Err())
	}
	return passed
}

func distinctUsed(t *testing.T, store ratelimit.Store) int64 {
	t.Helper()
	return storetest.Bed{Store: store}.Peek(t, storetest.BudgetOf("client", "client=shop", storetest.Win(ratelimit.DistinctRecipients, 500, time.Hour)))[0].Used
}

// TestSecretIsOneForAllNodes: the first one's holds, it is put back where Redis
// has lost it, and a node with a secret of its own takes that of the others.
func TestSecretIsOneForAllNodes(t *testing.T) {
	server := redistest.Start(t)
	c := server.Client()
	dir := t.TempDir()
	node := func(name string) *relayNode {
		return startRelayNode(t, openRedis(t, server.Addr, 20*time.Second), filepath.Join(dir, name))
	}
	a := node("a")
	inRedis := func() string { return c.Get(t.Context(), "postern:secret").Val() }
	text := textOf(t, a.secret)
	if inRedis() != text {
		t.Fatal("the first node's secret is not in Redis")
	}
	b := node("b")
	if textOf(t, b.secret) != textOf(t, a.secret) {
		t.Fatal("two nodes have two secrets")
	}
	if n := a.send(t, storetest.Numbered(0, 60)...) + b.send(t, storetest.Numbered(0, 60)...); n != 120 || distinctUsed(t, b.f) != 60 {
		t.Errorf("%d passed, %d used; want 120 and 60", n, distinctUsed(t, b.f))
	}
	if err := c.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := b.f.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if inRedis() != text {
		t.Error("the secret is not put back after a flush")
	}
	// Somebody has spoilt it: the nodes know better.
	for _, bad := range []string{"", "hello", strings.Repeat("0", 63)} {
		c.Set(t.Context(), "postern:secret", bad, 0)
		if err := a.f.refresh(t.Context()); err != nil || inRedis() != text {
			t.Errorf("%q: %v, not mended", bad, err)
		}
	}
	// A restart with an own, older secret: that of the others holds, also after
	// the next restart.
	if err := os.Remove(filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	again := node("b")
	if textOf(t, again.secret) != textOf(t, a.secret) {
		t.Error("a node with a secret of its own keeps it")
	}
	if err := again.secret.Keep(); err != nil {
		t.Fatal(err)
	}
	if s, err := recipients.LoadSecret(filepath.Join(dir, "b"), nil); err != nil || textOf(t, s) != textOf(t, again.secret) {
		t.Errorf("it is not kept: %v", err)
	}
}

// TestSecretOfANodeAlone: a node that has never reached the others counts under
// a secret of its own. What it counted stays in force when it takes theirs, and
// is not counted once more.
func TestSecretOfANodeAlone(t *testing.T) {
	rig := newFailoverRig(1)
	theirs := recipients.NewSecret(rig.Clock.Now)
	rig.shared.secret = textOf(t, theirs)
	others := ratelimit.NewLimiter(rig.shared, distinctRules(t), rig.Clock.Now)
	others.UseSecret(theirs)
	sendTo(t, others, storetest.Numbered(0, 100))
	rig.shared.set(away)
	rig.f.failed(errAway)
	own := recipients.NewSecret(rig.Clock.Now)
	rig.f.UseSecret(own)
	l := ratelimit.NewLimiter(rig.f, distinctRules(t), rig.Clock.Now)
	l.UseSecret(own)
	if n := sendTo(t, l, storetest.Numbered(50, 300)); n != 250 {
		t.Fatalf("%d of 250 passed", n)
	}
	rig.Clock.Add(time.Minute)
	rig.shared.set(healthy)
	rig.recover()
	if textOf(t, own) != textOf(t, theirs) {
		t.Fatal("the node keeps its own secret")
	}
	if n := distinctUsed(t, rig.shared); n != 350 {
		t.Errorf("the shared store counts %d, want 350: 100 and 250", n)
	}
	if n := sendTo(t, l, storetest.Numbered(0, 300)); n != 300 || distinctUsed(t, rig.shared) != 300 {
		t.Errorf("%d of 300 that are counted passed, %d used", n, distinctUsed(t, rig.shared))
	}
	if n := sendTo(t, l, storetest.Numbered(300, 1000)); n != 200 {
		t.Errorf("%d new ones passed beside 300 of 500", n)
	}
}

// TestSampleCountsInTheSharedStore: what a node kept of many while the store was
// away counts for all of them.
func TestSampleCountsInTheSharedStore(t *testing.T) {
	rig := newFailoverRig(1)
	g := func() ratelimit.Budget {
		return storetest.BudgetOf("many", "all", storetest.Win(ratelimit.DistinctRecipients, 20_000, time.Hour))
	}
	rig.shared.set(away)
	rig.SendDistinct(t, g(), storetest.Numbered(0, 6000), false)
	rig.Clock.Add(time.Minute)
	rig.shared.set(healthy)
	rig.recover()
	if n := int(rig.used(t, g())); !storetest.About(n, 6000) {
		t.Errorf("the shared store counts %d of 6000", n)
	}
}
