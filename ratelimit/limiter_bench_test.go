package ratelimit

import (
	"testing"
	"time"
)

// BenchmarkDecision is one recipient under three limits of one window each, on
// keys that are in use.
func BenchmarkDecision(b *testing.B) {
	l := NewLimiter(NewEmbedded(StoreConfig{Memory: 64 << 20}, nil), compile(b, map[string]RuleConfig{
		"client": {Per: Per{PerClient}, Messages: parseNumbers(b, "1000000000/24h")},
		"sender": {Per: Per{PerSender}, Messages: parseNumbers(b, "1000000000/1h")},
		"domain": {Per: Per{PerClient, PerRecipientDomain}, Recipients: parseNumbers(b, "1000000000/1m")},
	}), time.Now)
	f := factsOf("news@example.org", "example.org")
	rs := []Recipient{{"a@x.example", "x.example"}}
	out := make([]Verdict, 0, 1)
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
