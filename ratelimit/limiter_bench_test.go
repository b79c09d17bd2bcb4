package ratelimit_test

import (
	"fmt"
	"testing"
	"time"

	"postern/mail"
	"postern/ratelimit"
	"postern/ratelimit/embedded"
	"postern/ratelimit/storetest"
)

func benchLimits(b *testing.B) *ratelimit.Limiter {
	return ratelimit.NewLimiter(embedded.New(embedded.Config{Memory: 64 << 20}, nil), storetest.Compile(b, map[string]ratelimit.RuleConfig{
		"client": {Per: ratelimit.Per{ratelimit.PerClient}, Messages: storetest.Numbers(b, "1000000000/24h")},
		"sender": {Per: ratelimit.Per{ratelimit.PerSender}, Messages: storetest.Numbers(b, "1000000000/1h")},
		"domain": {Per: ratelimit.Per{ratelimit.PerClient, ratelimit.PerRecipientDomain}, Recipients: storetest.Numbers(b, "1000000000/1m")},
	}), time.Now)
}

// BenchmarkDecision is one recipient under three limits of one window each, on
// keys that are in use.
func BenchmarkDecision(b *testing.B) {
	l := benchLimits(b)
	f := storetest.FactsOf("news@example.org", "example.org")
	rs := []ratelimit.Recipient{{Address: "a@x.example", Domain: "x.example"}}
	out := make([]ratelimit.Decision, 0, 1)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		a := l.Begin(f)
		if out = a.Recipients(ctx, rs, out[:0]); !out[0].OK {
			b.Fatal(out[0])
		}
		a.End()
	}
}

// BenchmarkDecisionParallel is the same from all processors at once, each with
// a client and sender of its own.
func BenchmarkDecisionParallel(b *testing.B) {
	l := benchLimits(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		f := storetest.FactsOf(fmt.Sprintf("s%p@example.org", pb), "example.org")
		f.Client = string(f.Sender)
		rs := []ratelimit.Recipient{{Address: "a@x.example", Domain: "x.example"}}
		out := make([]ratelimit.Decision, 0, 1)
		for pb.Next() {
			a := l.Begin(f)
			out = a.Recipients(b.Context(), rs, out[:0])
			a.End()
		}
	})
}

// BenchmarkRefusal is a recipient of a sender that has used up its limit.
func BenchmarkRefusal(b *testing.B) {
	l := ratelimit.NewLimiter(embedded.New(embedded.Config{Memory: 64 << 20}, nil), storetest.Compile(b, map[string]ratelimit.RuleConfig{
		"sender": {Per: ratelimit.Per{ratelimit.PerSender}, Messages: storetest.Numbers(b, "500/1h")},
	}), time.Now)
	f := storetest.FactsOf("news@example.org", "example.org")
	rs := []ratelimit.Recipient{{Address: "a@x.example", Domain: "x.example"}}
	out := make([]ratelimit.Decision, 0, 1)
	b.ReportAllocs()
	for b.Loop() {
		a := l.Begin(f)
		out = a.Recipients(b.Context(), rs, out[:0])
		a.End()
	}
}

// BenchmarkHundredRecipients is one pipelined group.
func BenchmarkHundredRecipients(b *testing.B) {
	l := benchLimits(b)
	f := storetest.FactsOf("news@example.org", "example.org")
	var rs []ratelimit.Recipient
	for i := range 100 {
		domain := fmt.Sprintf("d%d.example", i%30)
		rs = append(rs, ratelimit.Recipient{Address: mail.RecipientID("a@" + domain), Domain: domain})
	}
	out := make([]ratelimit.Decision, 0, 100)
	b.ReportAllocs()
	for b.Loop() {
		a := l.Begin(f)
		out = a.Recipients(b.Context(), rs, out[:0])
		a.End()
	}
}

// BenchmarkDistinct is one recipient of many under a window of distinct ones:
// 500 are counted each by itself, 5,000 by a sample.
func BenchmarkDistinct(b *testing.B) {
	for _, n := range []int{500, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := ratelimit.NewLimiter(embedded.New(embedded.Config{Memory: 64 << 20}, nil), storetest.Compile(b, map[string]ratelimit.RuleConfig{
				"client": {Per: ratelimit.Per{ratelimit.PerClient}, DistinctRecipients: storetest.Numbers(b, "1000000/24h")},
			}), time.Now)
			f := storetest.FactsOf("news@example.org", "example.org")
			var rs []ratelimit.Recipient
			for i := range n {
				rs = append(rs, ratelimit.Recipient{Address: mail.RecipientID(fmt.Sprintf("u%d@x.example", i)), Domain: "x.example"})
			}
			out := make([]ratelimit.Decision, 0, 1)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				a := l.Begin(f)
				if out = a.Recipients(b.Context(), rs[i%n:i%n+1], out[:0]); !out[0].OK {
					b.Fatal(out[0])
				}
				a.End()
			}
		})
	}
}
