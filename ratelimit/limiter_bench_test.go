package ratelimit

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"postern/mail"
)

func benchLimits(b *testing.B) *Limiter {
	return NewLimiter(NewEmbedded(StoreConfig{Memory: 64 << 20}, nil), compile(b, map[string]RuleConfig{
		"client": {Per: Per{PerClient}, Messages: parseNumbers(b, "1000000000/24h")},
		"sender": {Per: Per{PerSender}, Messages: parseNumbers(b, "1000000000/1h")},
		"domain": {Per: Per{PerClient, PerRecipientDomain}, Recipients: parseNumbers(b, "1000000000/1m")},
	}), time.Now)
}

// BenchmarkDecision is one recipient under three limits of one window each, on
// keys that are in use.
func BenchmarkDecision(b *testing.B) {
	l := benchLimits(b)
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

// BenchmarkDecisionParallel is the same from all processors at once, each with
// a client and sender of its own.
func BenchmarkDecisionParallel(b *testing.B) {
	l := benchLimits(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		f := factsOf(fmt.Sprintf("s%p@example.org", pb), "example.org")
		f.Client = string(f.Sender)
		rs := []Recipient{{"a@x.example", "x.example"}}
		out := make([]Verdict, 0, 1)
		for pb.Next() {
			a := l.Begin(f)
			out = a.Recipients(b.Context(), rs, out[:0])
			a.End()
		}
	})
}

// BenchmarkRefusal is a recipient of a sender that has used up its limit.
func BenchmarkRefusal(b *testing.B) {
	l := NewLimiter(NewEmbedded(StoreConfig{Memory: 64 << 20}, nil), compile(b, map[string]RuleConfig{
		"sender": {Per: Per{PerSender}, Messages: parseNumbers(b, "500/1h")},
	}), time.Now)
	f := factsOf("news@example.org", "example.org")
	rs := []Recipient{{"a@x.example", "x.example"}}
	out := make([]Verdict, 0, 1)
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
	f := factsOf("news@example.org", "example.org")
	var rs []Recipient
	for i := range 100 {
		domain := fmt.Sprintf("d%d.example", i%30)
		rs = append(rs, Recipient{mail.RecipientID("a@" + domain), domain})
	}
	out := make([]Verdict, 0, 100)
	b.ReportAllocs()
	for b.Loop() {
		a := l.Begin(f)
		out = a.Recipients(b.Context(), rs, out[:0])
		a.End()
	}
}

// BenchmarkSave is a snapshot of 100,000 keys.
func BenchmarkSave(b *testing.B) {
	e := NewEmbedded(StoreConfig{Memory: 128 << 20}, nil)
	flood(b, e, 0, 100_000, floodWindows, false)
	path := filepath.Join(b.TempDir(), "limits")
	for b.Loop() {
		if err := e.Save(path); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDistinct is one recipient of many under a window of distinct ones:
// 500 are counted each by itself, 5,000 by a sample.
func BenchmarkDistinct(b *testing.B) {
	for _, n := range []int{500, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := NewLimiter(NewEmbedded(StoreConfig{Memory: 64 << 20}, nil), compile(b, map[string]RuleConfig{
				"client": {Per: Per{PerClient}, DistinctRecipients: parseNumbers(b, "1000000/24h")},
			}), time.Now)
			f := factsOf("news@example.org", "example.org")
			var rs []Recipient
			for i := range n {
				rs = append(rs, Recipient{mail.RecipientID(fmt.Sprintf("u%d@x.example", i)), "x.example"})
			}
			out := make([]Verdict, 0, 1)
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
