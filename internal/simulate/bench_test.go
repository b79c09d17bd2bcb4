package simulate

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/mail"
	"postern/ratelimit"
	"postern/ratelimit/embedded"
)

// writeJournal writes n events as a relay would have: 2000 senders of 20
// clients, a tenth with several recipients, some deferred.
func writeJournal(tb testing.TB, n int) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "journal.jsonl")
	file, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	w := bufio.NewWriterSize(file, 1<<20)
	rnd := rand.New(rand.NewPCG(1, 2))
	at := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		at = at.Add(time.Duration(rnd.IntN(5)) * time.Second)
		line, err := json.Marshal(sampleEvent(rnd, at, i))
		if err != nil {
			tb.Fatal(err)
		}
		w.Write(line)
		w.WriteByte('\n')
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	return path
}

func sampleEvent(rnd *rand.Rand, at time.Time, i int) *mail.Event {
	sender := rnd.IntN(2000)
	e := &mail.Event{
		Time: at, Duration: time.Duration(100+rnd.IntN(900)) * time.Millisecond, ID: fmt.Sprintf("4bC%09d", i),
		Client: fmt.Sprintf("client%d", sender%20), ClientIP: fmt.Sprintf("10.20.0.%d", sender%20), Listener: "mta", Helo: "mta.example.org",
		TLS: "TLSv1.3", Stream: "corporate", From: fmt.Sprintf("sender%d@example.org", sender),
		Authors: []string{fmt.Sprintf("sender%d@example.org", sender)}, MessageID: fmt.Sprintf("<%d.%d@example.org>", i, sender),
		Size: int64(2000 + rnd.IntN(40000)), Stage: "forward", Outcome: mail.Relayed, Code: 250, Status: "2.0.0", Rule: "upstream",
		Upstream: "provider", Host: "smtp1.provider.example:587", SourceIP: "192.0.2.25", Reply: "250 2.0.0 OK queued as 4bCxyz123", Signed: []string{"example.org/s2026"},
	}
	rcpts := 1
	if rnd.IntN(10) == 0 {
		rcpts += rnd.IntN(10)
	}
	for range rcpts {
		e.To = append(e.To, mail.RecipientEvent{
			Address: fmt.Sprintf("r%d@d%d.example", rnd.IntN(10000), rnd.IntN(300)), Outcome: mail.Relayed, Code: 250, Status: "2.0.0",
			Rule: "upstream", Reply: "OK queued as 4bCxyz123",
		})
	}
	if rnd.IntN(100) == 0 {
		e.Outcome, e.Code, e.Status = mail.Deferred, 451, "4.3.0"
		for i := range e.To {
			e.To[i].Outcome = mail.Deferred
		}
	}
	for _, window := range []time.Duration{time.Minute, time.Hour} {
		e.Limits = append(e.Limits, mail.LimitEvent{Limit: "sender", Key: "sender=" + e.From, Unit: "messages", Window: window, Max: 500, Used: 3})
	}
	return e
}

func number(tb testing.TB, text string) ratelimit.Number {
	tb.Helper()
	var n ratelimit.Number
	if err := n.UnmarshalText([]byte(text)); err != nil {
		tb.Fatal(err)
	}
	return n
}

func numbers(tb testing.TB, texts ...string) (ns ratelimit.Numbers) {
	tb.Helper()
	for _, text := range texts {
		ns = append(ns, number(tb, text))
	}
	return ns
}

// BenchmarkReplay reads and replays 100,000 lines under three limits.
func BenchmarkReplay(b *testing.B) {
	path := writeJournal(b, 100_000)
	for b.Loop() {
		r, err := New(Options{
			Limits: map[string]ratelimit.RuleConfig{
				"sender": {Per: ratelimit.Per{ratelimit.PerSender}, Messages: numbers(b, "60/1m", "500/1h"), Recipients: numbers(b, "2000/24h")},
				"client": {Per: ratelimit.Per{ratelimit.PerClient}, Messages: numbers(b, "2000/1h"), Bytes: numbers(b, "1GiB/24h")},
				"domain": {Per: ratelimit.Per{ratelimit.PerClient, ratelimit.PerRecipientDomain}, Recipients: numbers(b, "100/1h")},
			},
			Store: embedded.Config{Memory: 256 << 20},
		})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Read([]string{path}, nil, r.Add); err != nil {
			b.Fatal(err)
		}
		if got := r.Report().Transactions; got != 100_000 {
			b.Fatal(got)
		}
	}
}

// BenchmarkRead only decodes.
func BenchmarkRead(b *testing.B) {
	path := writeJournal(b, 100_000)
	info, _ := os.Stat(path)
	b.SetBytes(info.Size())
	for b.Loop() {
		if _, err := Read([]string{path}, nil, func(*Transaction) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
