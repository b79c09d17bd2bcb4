package ratelimit

import (
	"sync"
	"testing"
	"time"

	"postern/mail"
)

// fakeClock is a wall clock that stands until it is moved.
type fakeClock struct {
	mu sync.Mutex
	at time.Time
}

func newFakeClock() *fakeClock {
	return &fakeClock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
}

func (c *fakeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *fakeClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// numbers parses "500/1h" and the like.
func parseNumbers(t testing.TB, texts ...string) Numbers {
	t.Helper()
	list := make(Numbers, len(texts))
	for i, s := range texts {
		if err := list[i].UnmarshalText([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

func compile(t testing.TB, cfg map[string]RuleConfig) *Rules {
	t.Helper()
	return compileEnv(t, cfg, Env{})
}

func compileEnv(t testing.TB, cfg map[string]RuleConfig, env Env) *Rules {
	t.Helper()
	rs, err := Compile(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

// factsOf is mail of client shop from a sender.
func factsOf(sender, domain string) Facts {
	return Facts{
		Client: "shop", ClientIP: "192.0.2.7", Sender: mail.IdentityOf(sender), SenderDomain: domain,
		Stream: "marketing", Upstream: "provider", SourceIP: "192.0.2.25",
	}
}

func TestLimiterChargesAndRefusesAndRefunds(t *testing.T) {
	clock := newFakeClock()
	store := NewEmbedded(StoreConfig{Memory: 16 << 20}, clock.now)
	l := NewLimiter(store, compile(t, map[string]RuleConfig{
		"sender": {Per: Per{PerSender}, Messages: parseNumbers(t, "2/1h")},
	}), clock.now)
	send := func() (*Account, Verdict) {
		a := l.Begin(factsOf("news@example.org", "example.org"))
		return a, a.Recipients(t.Context(), []Recipient{{"a@x.example", "x.example"}}, nil)[0]
	}
	first, v := send()
	if !v.OK {
		t.Fatalf("first message: %+v", v)
	}
	clock.add(10 * time.Minute)
	second, v := send()
	if !v.OK {
		t.Fatalf("second message: %+v", v)
	}
	second.End()
	third, v := send()
	want := Verdict{
		Limit: "sender", Per: "sender", Key: "sender=news@example.org", Unit: Messages,
		Max: 2, Window: time.Hour, RetryAfter: 50 * time.Minute,
	}
	if v != want {
		t.Fatalf("third message: got %+v, want %+v", v, want)
	}
	third.End()
	first.RefundAll(t.Context())
	first.End()
	fourth, v := send()
	if !v.OK {
		t.Fatalf("after the refund: %+v", v)
	}
	if looks := fourth.Looks(nil); len(looks) != 1 || looks[0].Used != 2 || looks[0].Max != 2 {
		t.Fatalf("looks: %+v", looks)
	}
	fourth.End()
}
