package embedded

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/redistest"
	"postern/ratelimit"
	"postern/ratelimit/storetest"
)

// TestFailoverOverRedisUnderLoad breaks a real server under a node that goes on
// sending. Whatever happens, no more passes in the hour than the number, and
// Redis holds it in the end: also when it lost all that it knew.
func TestFailoverOverRedisUnderLoad(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	shared := openRedis(t, proxy.Addr, 150*time.Millisecond)
	f := NewFailover(shared, New(Config{Memory: 16 << 20}, nil), nil)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { f.Run(ctx) })

	const most = 1200
	b := func() ratelimit.Budget {
		return storetest.BudgetOf("sender", "all", storetest.Win(ratelimit.Messages, most, time.Hour), storetest.Win(ratelimit.Recipients, 10*most, 24*time.Hour))
	}
	pace := time.NewTicker(500 * time.Microsecond) // so that outages have some length in mail
	defer pace.Stop()
	var passed, refused atomic.Int64
	for range 6 {
		running.Go(func() {
			for ctx.Err() == nil {
				select {
				case <-pace.C:
				case <-ctx.Done():
				}
				batch := storetest.BatchOf([]ratelimit.Request{{Recipients: 1}}, b())
				said, err := f.Take(ctx, batch)
				if err != nil {
					t.Error(err)
					return
				}
				if said.Requests[0].OK {
					passed.Add(1)
				} else {
					refused.Add(1)
				}
			}
		})
	}
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	until := func(ok func() bool) {
		t.Helper()
		for !ok() && !t.Failed() {
			<-look.C
		}
	}
	// The window may be full a little early, by what a lost call may have charged.
	more := func(n int64) { until(func() bool { return passed.Load() >= min(n, most) || refused.Load() > 300 }) }
	back := func() { until(func() bool { return !f.Down() }) }

	back()
	more(50)
	server.Pause()
	more(200)
	server.Resume()
	back()
	proxy.LoseReplies(true)
	more(400)
	proxy.LoseReplies(false)
	proxy.Reset()
	back()
	server.Kill()
	more(600)
	server.Restart() // without data
	back()
	proxy.Refuse(true)
	proxy.Reset()
	more(800)
	proxy.Refuse(false)
	back()
	more(most)
	at := refused.Load()
	until(func() bool { return refused.Load() > at+100 })
	back()
	cancel()
	running.Wait()
	n := passed.Load()
	if t.Logf("%d of %d passed", n, most); n > most || n < most*98/100 {
		t.Errorf("%d passed, want %d and never more", n, most)
	}
	if used := (storetest.Bed{Store: shared}).Peek(t, b())[0].Used; used < n || used > most*102/100 {
		t.Errorf("Redis holds %d of %d that passed", used, n)
	}
}
