package ratelimit_test

import (
	"testing"
	"time"

	"postern/ratelimit"
	"postern/ratelimit/embedded"
	"postern/ratelimit/storetest"
)

func TestLimiterChargesAndRefusesAndRefunds(t *testing.T) {
	clock := storetest.NewClock()
	store := embedded.New(embedded.Config{Memory: 16 << 20}, clock.Now)
	l := ratelimit.NewLimiter(store, storetest.Compile(t, map[string]ratelimit.RuleConfig{
		"sender": {Per: ratelimit.Per{ratelimit.PerSender}, Messages: storetest.Numbers(t, "2/1h")},
	}), clock.Now)
	send := func() (*ratelimit.Account, ratelimit.Decision) {
		a := l.Begin(storetest.FactsOf("news@example.org", "example.org"))
		return a, a.Recipients(t.Context(), []ratelimit.Recipient{{Address: "a@x.example", Domain: "x.example"}}, nil)[0]
	}
	first, v := send()
	if !v.OK {
		t.Fatalf("first message: %+v", v)
	}
	clock.Add(10 * time.Minute)
	second, v := send()
	if !v.OK {
		t.Fatalf("second message: %+v", v)
	}
	second.End()
	third, v := send()
	want := ratelimit.Decision{
		Limit: "sender", Per: "sender", Key: "sender=news@example.org", Unit: ratelimit.Messages,
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
	if looks := fourth.Checks(); len(looks) != 1 || looks[0].Used != 2 || looks[0].Max != 2 {
		t.Fatalf("looks: %+v", looks)
	}
	fourth.End()
}
