package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/redistest"
	"postern/internal/secret"
	"postern/mail"
)

func loadSecret(t *testing.T, path string) (*Secret, error) {
	t.Helper()
	s, err := LoadSecret(path, nil)
	if err != nil && strings.Contains(err.Error(), s.held.Load().current.text()) {
		t.Error("the error tells the secret")
	}
	return s, err
}

// hashesOf are those of one recipient at this moment.
func hashesOf(s *Secret) recipientHashes { return s.hashes("a@dest.example", s.now()) }

// TestSecretIsKeptAndPrivate: it is the same after a restart, and nobody else's
// to read.
func TestSecretIsKeptAndPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits.secret")
	first, err := loadSecret(t, path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	again, err := loadSecret(t, path)
	if err != nil || hashesOf(again) != hashesOf(first) {
		t.Errorf("another secret after a restart, error %v", err)
	}
	if hashesOf(NewSecret(nil)).distinct == hashesOf(first).distinct {
		t.Error("two secrets give one hash")
	}
	// One that others could read is replaced; who was counted under it is known.
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	next, err := loadSecret(t, path)
	if !errors.Is(err, secret.ErrOpen) {
		t.Errorf("error %v", err)
	}
	if h := hashesOf(next); h.distinct == hashesOf(first).distinct || h.former != hashesOf(first).distinct {
		t.Error("a secret that others can read is in force, or forgotten")
	}
	if again, err := loadSecret(t, path); err != nil || hashesOf(again) != hashesOf(next) {
		t.Errorf("the new one is not kept: %v", err)
	}
}

// TestSecretThatIsDamagedIsReplaced: it is set aside, and said so.
func TestSecretThatIsDamagedIsReplaced(t *testing.T) {
	for _, text := range []string{"", "{}", `{"secret":"00"}`, "\x00\xff", `{"secret":"` + strings.Repeat("zz", 32) + `"}`} {
		path := filepath.Join(t.TempDir(), "limits.secret")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := loadSecret(t, path)
		if err == nil {
			t.Errorf("%q is taken for a secret", text)
		}
		if aside, _ := filepath.Glob(path + ".damaged-*"); len(aside) != 1 {
			t.Errorf("%q is not set aside", text)
		}
		if again, err := loadSecret(t, path); err != nil || hashesOf(again) != hashesOf(s) {
			t.Errorf("the new one is not kept: %v", err)
		}
	}
}

// TestSecretOfBeforeEnds: other hashes are looked up for as long as anything can
// count under them, and no longer.
func TestSecretOfBeforeEnds(t *testing.T) {
	clock := newFakeClock()
	s := NewSecret(clock.now)
	old := hashesOf(s)
	if old.plain != plainHash("a@dest.example") || old.former != 0 {
		t.Errorf("at first %+v", old)
	}
	clock.add(MaxWindow - time.Minute)
	s.take(drawKey())
	if h := hashesOf(s); h.plain == 0 || h.former != old.distinct || h.distinct == old.distinct {
		t.Errorf("after another came %+v", h)
	}
	clock.add(time.Minute)
	if h := hashesOf(s); h.plain != 0 || h.former == 0 {
		t.Errorf("once nothing without a secret counts %+v", h)
	}
	clock.add(MaxWindow)
	if h := hashesOf(s); h.former != 0 {
		t.Errorf("in the end %+v", h)
	}
}

// relayNode is a relay with a secret, as cmd/relay makes it.
type relayNode struct {
	f       *Failover
	secret  *Secret
	limiter *Limiter
}

func startRelayNode(t *testing.T, shared Store, path string) *relayNode {
	t.Helper()
	s, err := LoadSecret(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := NewFailover(shared, NewEmbedded(StoreConfig{Memory: 16 << 20}, nil), nil)
	f.UseSecret(s)
	n := &relayNode{f: f, secret: s, limiter: NewLimiter(f, distinctRules(t), nil)}
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

func distinctRules(t *testing.T) *Rules {
	return compile(t, map[string]RuleConfig{"client": {Per: Per{PerClient}, DistinctRecipients: parseNumbers(t, "500/1h")}})
}

// send sends to recipients and returns how many passed.
func (n *relayNode) send(t *testing.T, names ...string) (passed int) {
	t.Helper()
	return sendTo(t, n.limiter, names)
}

func sendTo(t *testing.T, l *Limiter, names []string) (passed int) {
	t.Helper()
	a := l.Begin(Facts{Client: "shop", Sender: "news@shop.example"})
	defer a.End()
	var rs []Recipient
	for _, name := range names {
		rs = append(rs, Recipient{Address: mail.RecipientOf(name), Domain: "dest.example"})
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

func distinctUsed(t *testing.T, store Store) int64 {
	t.Helper()
	return testBed{Store: store}.look(t, budgetOf("client", "client=shop", win(DistinctRecipients, 500, time.Hour)))[0].Used
}

// TestSecretIsOneForAllNodes: the first one's holds, it is put back where Redis
// has lost it, and a node with a secret of its own takes that of the others.
func TestSecretIsOneForAllNodes(t *testing.T) {
	server := redistest.Start(t)
	c := server.Client()
	dir := t.TempDir()
	node := func(name string) *relayNode {
		return startRelayNode(t, openRedis(t, redisSettings(server.Addr)), filepath.Join(dir, name))
	}
	a := node("a")
	inRedis := func() string { return c.Get(t.Context(), "postern:secret").Val() }
	text := a.secret.held.Load().current.text()
	if inRedis() != text {
		t.Fatal("the first node's secret is not in Redis")
	}
	b := node("b")
	if hashesOf(b.secret).distinct != hashesOf(a.secret).distinct {
		t.Fatal("two nodes have two secrets")
	}
	if n := a.send(t, numbered(0, 60)...) + b.send(t, numbered(0, 60)...); n != 120 || distinctUsed(t, b.f) != 60 {
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
	if hashesOf(again.secret).distinct != hashesOf(a.secret).distinct {
		t.Error("a node with a secret of its own keeps it")
	}
	if err := again.secret.Keep(); err != nil {
		t.Fatal(err)
	}
	if s, err := loadSecret(t, filepath.Join(dir, "b")); err != nil || hashesOf(s) != hashesOf(again.secret) {
		t.Errorf("it is not kept: %v", err)
	}
}

// TestSecretOfANodeAlone: a node that has never reached the others counts under
// a secret of its own. What it counted stays in force when it takes theirs, and
// is not counted once more.
func TestSecretOfANodeAlone(t *testing.T) {
	rig := newFailoverRig(1)
	theirs := NewSecret(rig.clock.now)
	rig.shared.secret = theirs.held.Load().current.text()
	others := NewLimiter(rig.shared, distinctRules(t), rig.clock.now)
	others.UseSecret(theirs)
	sendTo(t, others, numbered(0, 100))
	rig.shared.set(away)
	rig.f.failed(errAway)
	own := NewSecret(rig.clock.now)
	rig.f.UseSecret(own)
	l := NewLimiter(rig.f, distinctRules(t), rig.clock.now)
	l.UseSecret(own)
	if n := sendTo(t, l, numbered(50, 300)); n != 250 {
		t.Fatalf("%d of 250 passed", n)
	}
	rig.clock.add(time.Minute)
	rig.shared.set(healthy)
	rig.recover()
	if hashesOf(own).distinct != hashesOf(theirs).distinct {
		t.Fatal("the node keeps its own secret")
	}
	if n := distinctUsed(t, rig.shared); n != 350 {
		t.Errorf("the shared store counts %d, want 350: 100 and 250", n)
	}
	if n := sendTo(t, l, numbered(0, 300)); n != 300 || distinctUsed(t, rig.shared) != 300 {
		t.Errorf("%d of 300 that are counted passed, %d used", n, distinctUsed(t, rig.shared))
	}
	if n := sendTo(t, l, numbered(300, 1000)); n != 200 {
		t.Errorf("%d new ones passed beside 300 of 500", n)
	}
}

// TestSampleCountsInTheSharedStore: what a node kept of many while the store was
// away counts for all of them.
func TestSampleCountsInTheSharedStore(t *testing.T) {
	rig := newFailoverRig(1)
	g := func() Budget { return budgetOf("many", "all", win(DistinctRecipients, 20_000, time.Hour)) }
	rig.shared.set(away)
	rig.send(t, g(), numbered(0, 6000), false)
	rig.clock.add(time.Minute)
	rig.shared.set(healthy)
	rig.recover()
	if n := int(rig.used(t, g())); !about(n, 6000) {
		t.Errorf("the shared store counts %d of 6000", n)
	}
}

// upgraded checks a store that holds what a release without a secret counted for
// client=shop: 150 recipients under exact, 1,200 under sample (1,162 by its
// estimate), u0 to uN of dest.example.
func upgraded(t *testing.T, bed testBed) {
	t.Helper()
	exact := func() Budget { return budgetOf("exact", "client=shop", win(DistinctRecipients, 200, time.Hour)) }
	sample := func() Budget { return budgetOf("sample", "client=shop", win(DistinctRecipients, 2000, time.Hour)) }
	look := func() string { return fmt.Sprint(bed.look(t, exact())[0].Used, bed.look(t, sample())[0].Used) }
	if got := look(); got != "150 1162" {
		t.Fatalf("used %s, want 150 1162", got)
	}
	bed.clock.add(10 * time.Minute)
	if n := len(bed.send(t, exact(), numbered(0, 300), true)); n != 200 {
		t.Errorf("%d passed of 200, of which 150 were counted before", n)
	}
	if n := len(bed.send(t, sample(), numbered(5000, 7000), true)); n != 2000-1162 {
		t.Errorf("%d new ones passed beside 1162 of 2000", n)
	}
	if n := len(bed.send(t, exact(), chosen(1000, bed.clock.now()), true)); n != 0 {
		t.Errorf("%d chosen ones passed a full window", n)
	}
	bed.clock.add(50*time.Minute + time.Second)
	if got := look(); got != "200 838" {
		t.Errorf("used %s once what was before has passed, want 200 838", got)
	}
}

func TestSnapshotOfBeforeTheSecret(t *testing.T) {
	b, err := os.ReadFile("testdata/unkeyed.snapshot")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "limits.snapshot")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, restarts := range []int{1, 3} {
		clock := newFakeClock()
		var bed testBed
		for range restarts {
			var e *Embedded
			bed, e = newBed(t, clock)
			if err := e.Load(path); err != nil {
				t.Fatal(err)
			}
			if err := e.Save(path); err != nil {
				t.Fatal(err)
			}
		}
		upgraded(t, bed)
	}
}

func TestRedisOfBeforeTheSecret(t *testing.T) {
	bed, c := simulatedServer(t)
	for _, limit := range []string{"exact", "sample"} {
		b, err := os.ReadFile("testdata/unkeyed-" + limit + ".redis")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Set(t.Context(), "postern:b:"+limit+":{client=shop}", b, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
	}
	upgraded(t, bed)
}
