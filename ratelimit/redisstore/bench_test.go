package redisstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/redistest"
	"postern/mail"
	"postern/ratelimit"
	"postern/ratelimit/storetest"
)

// BenchmarkRedisDecision is one decision with a limit of three windows, by 64
// sessions at a time, and by one.
func BenchmarkRedisDecision(b *testing.B) {
	server := redistest.Start(b)
	windows := []ratelimit.Window{
		storetest.Win(ratelimit.Messages, 1_000_000, time.Minute), storetest.Win(ratelimit.Messages, 10_000_000, time.Hour),
		storetest.Win(ratelimit.Recipients, 100_000_000, 24*time.Hour),
	}
	reserved := slices.Clone(windows)
	for i := range reserved {
		reserved[i].Reserve = []ratelimit.Reserve{{Share: "transactional", Min: reserved[i].Max / 5}}
	}
	distinct := append(slices.Clone(windows), storetest.Win(ratelimit.DistinctRecipients, 10_000_000, 24*time.Hour))
	for _, bench := range []struct {
		name     string
		sessions int
		senders  uint64
		windows  []ratelimit.Window
	}{
		{"one session", 1, 1000, windows},
		{"64 sessions", 64, 1000, windows},
		{"64 sessions, one sender", 64, 1, windows},
		{"64 sessions, a reserve", 64, 1000, reserved},
		{"64 sessions, distinct recipients", 64, 1000, distinct},
		{"64 sessions, one sender, distinct recipients", 64, 1, distinct},
	} {
		b.Run(bench.name, func(b *testing.B) {
			r := openRedis(b, redisSettings(server.Addr))
			defer reportCPU(b, server)()
			benchmarkSessions(b, bench.sessions, func(n uint64) error {
				g := storetest.BudgetOf(bench.name, fmt.Sprintf("sender=news%d@example.org", n%bench.senders), bench.windows...)
				if n%3 == 0 && bench.windows[0].Reserve != nil {
					g.Share = "transactional"
				}
				q := ratelimit.Request{Recipients: 1}
				if len(bench.windows) > len(windows) {
					q.Distinct = storetest.HashRecipient(mail.RecipientID(strconv.FormatUint(n/bench.senders%500, 10)))
				}
				batch := storetest.BatchOf([]ratelimit.Request{q}, g)
				batch.ID.Node = 1
				_, err := r.Take(context.Background(), batch)
				return err
			})
		})
	}
}

// BenchmarkRedisRefusal is a decision that refuses: what a sender over its
// limit costs.
func BenchmarkRedisRefusal(b *testing.B) {
	server := redistest.Start(b)
	r := openRedis(b, redisSettings(server.Addr))
	windows := []ratelimit.Window{storetest.Win(ratelimit.Messages, 500, time.Hour), storetest.Win(ratelimit.Recipients, 2000, 24*time.Hour)}
	take := func(uint64) error {
		batch := storetest.BatchOf([]ratelimit.Request{{Recipients: 1}}, storetest.BudgetOf("sender", "sender=news@example.org", windows...))
		_, err := r.Take(context.Background(), batch)
		return err
	}
	for range 600 {
		if err := take(0); err != nil {
			b.Fatal(err)
		}
	}
	defer reportCPU(b, server)()
	benchmarkSessions(b, 64, take)
}

func benchmarkSessions(b *testing.B, sessions int, decide func(n uint64) error) {
	b.ReportAllocs()
	var next atomic.Uint64
	done := make(chan error, sessions)
	start := time.Now()
	for range sessions {
		go func() {
			for n := next.Add(1); n <= uint64(b.N); n = next.Add(1) {
				if err := decide(n); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range sessions {
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "decisions/s")
}

// reportCPU reports the server's processor time for each decision: unlike the
// rate it does not depend on what else the machine does.
func reportCPU(b *testing.B, server *redistest.Server) func() {
	used := func() (seconds float64) {
		info := server.Client().InfoMap(context.Background(), "cpu").Val()["CPU"]
		for _, key := range []string{"used_cpu_user_main_thread", "used_cpu_sys_main_thread"} {
			n, err := strconv.ParseFloat(info[key], 64)
			if err != nil {
				b.Fatal(err)
			}
			seconds += n
		}
		return seconds
	}
	before := used()
	return func() { b.ReportMetric((used()-before)*1e9/float64(b.N), "server-ns/op") }
}
