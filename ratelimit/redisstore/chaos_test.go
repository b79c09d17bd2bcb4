package redisstore

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/redistest"
	"postern/ratelimit"
	"postern/ratelimit/storetest"
)

// rig is a server under load, reached through a proxy.
type rig struct {
	server *redistest.Server
	proxy  *redistest.Proxy
	store  *Store
}

func newRig(t *testing.T, lines ...string) *rig {
	t.Helper()
	g := &rig{server: redistest.Start(t, lines...)}
	g.proxy = redistest.NewProxy(t, g.server.Addr)
	cfg := redisSettings(g.proxy.Addr)
	cfg.Timeout = time.Second
	g.store = openRedis(t, cfg)
	return g
}

func (g *rig) do(t *testing.T, args ...any) {
	t.Helper()
	if err := g.server.Client().Do(context.Background(), args...).Err(); err != nil {
		t.Error(err)
	}
}

// TestRedisChaos breaks a server under load, mends it, and counts: what was
// answered with OK is exactly what the window holds, and exactly its number.
func TestRedisChaos(t *testing.T) {
	for _, test := range []struct {
		name  string
		lines []string
		// shut breaks it until mend; kick does it no lasting harm.
		shut, mend, kick func(t *testing.T, g *rig)
	}{
		{
			name: "stopped, and continued",
			shut: func(_ *testing.T, g *rig) { g.server.Pause() },
			mend: func(_ *testing.T, g *rig) { g.server.Resume() },
		}, {
			name:  "killed, and restarted with its data",
			lines: []string{"appendonly yes"},
			shut:  func(_ *testing.T, g *rig) { g.server.Kill() },
			mend:  func(_ *testing.T, g *rig) { g.server.Restart() },
		}, {
			name: "out of memory",
			shut: func(t *testing.T, g *rig) { g.do(t, "CONFIG", "SET", "maxmemory", "1") },
			mend: func(t *testing.T, g *rig) { g.do(t, "CONFIG", "SET", "maxmemory", "0") },
		}, {
			name: "replies lost",
			shut: func(_ *testing.T, g *rig) { g.proxy.LoseReplies(true) },
			mend: func(_ *testing.T, g *rig) { g.proxy.LoseReplies(false); g.proxy.Reset() },
		}, {
			name: "connections accepted and never answered",
			shut: func(_ *testing.T, g *rig) { g.proxy.Hang(true); g.proxy.Reset() },
			mend: func(_ *testing.T, g *rig) { g.proxy.Hang(false); g.proxy.Reset() },
		}, {
			name: "CLIENT PAUSE",
			shut: func(t *testing.T, g *rig) { g.do(t, "CLIENT", "PAUSE", "600000", "WRITE") },
			mend: func(t *testing.T, g *rig) { g.do(t, "CLIENT", "UNPAUSE") },
		}, {
			name: "a replica now",
			shut: func(t *testing.T, g *rig) { g.do(t, "REPLICAOF", "127.0.0.1", "1") },
			mend: func(t *testing.T, g *rig) { g.do(t, "REPLICAOF", "NO", "ONE") },
		}, {
			name: "connections reset",
			kick: func(_ *testing.T, g *rig) { g.proxy.Reset() },
		}, {
			name: "SCRIPT FLUSH",
			kick: func(t *testing.T, g *rig) { g.do(t, "SCRIPT", "FLUSH") },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, test.lines...)
			l := newLoad(g.store)
			l.start(t)
			if test.kick != nil {
				close(l.mended) // it never needs mending
				for range 5 {
					l.progress(20)
					test.kick(t, g)
				}
			} else {
				l.progress(100)
				test.shut(t, g)
				l.faults(loadSessions)
				test.mend(t, g)
				close(l.mended)
			}
			l.finish(t)
		})
	}
}

const (
	loadSessions = 12
	loadMost     = 400
)

// load is sessions that take from one budget until it is full. One that got an
// error waits until the server is mended, and then undoes its attempt. The test
// hears of every step, so that no session runs ahead of it.
type load struct {
	store    *Store
	id       func() ratelimit.Attempt
	admitted atomic.Int64
	step     chan struct{} // one was admitted
	fault    chan struct{} // one got an error
	mended   chan struct{}
	ended    sync.WaitGroup
}

func newLoad(store *Store) *load {
	return &load{
		store: store, id: attemptsOf(0), mended: make(chan struct{}),
		step: make(chan struct{}), fault: make(chan struct{}),
	}
}

func loadBudgets() []ratelimit.Budget {
	return []ratelimit.Budget{
		storetest.BudgetOf("sender", "sender=a@x.example", storetest.Win(ratelimit.Messages, loadMost, time.Hour), storetest.Win(ratelimit.Recipients, 100_000, 24*time.Hour)),
		storetest.BudgetOf("all", "all", storetest.Win(ratelimit.Bytes, ratelimit.MaxNumber, time.Hour)),
	}
}

func (l *load) start(t *testing.T) {
	for range loadSessions {
		l.ended.Go(func() { l.session(t) })
	}
}

func (l *load) session(t *testing.T) {
	for {
		b := storetest.BatchOf([]ratelimit.Request{{Recipients: 3, Bytes: 100}}, loadBudgets()...)
		b.ID = l.id()
		said, err := l.store.Take(context.Background(), b)
		if err != nil {
			l.fault <- struct{}{}
			<-l.mended
			l.undo(t, b)
			continue
		}
		if !said.Requests[0].OK {
			return
		}
		l.admitted.Add(1)
		l.step <- struct{}{}
	}
}

// undo takes an attempt back, however often the store fails.
func (l *load) undo(t *testing.T, b *ratelimit.Batch) {
	deadline := time.Now().Add(time.Minute)
	for l.store.Undo(context.Background(), b) != nil {
		if time.Now().After(deadline) {
			t.Error("the store did not come back")
			return
		}
	}
}

// progress waits until n more were admitted.
func (l *load) progress(n int) {
	for n > 0 {
		select {
		case <-l.step:
			n--
		case <-l.fault:
		}
	}
}

// faults waits for n errors.
func (l *load) faults(n int) {
	for n > 0 {
		select {
		case <-l.step:
		case <-l.fault:
			n--
		}
	}
}

// finish fills what room is left and compares.
func (l *load) finish(t *testing.T) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		l.ended.Wait()
		l.ended.Go(func() { l.session(t) }) // what was undone last
		l.ended.Wait()
		close(done)
	}()
	for waiting := true; waiting; {
		select {
		case <-l.step:
		case <-l.fault:
		case <-done:
			waiting = false
		}
	}
	admitted := l.admitted.Load()
	if admitted != loadMost {
		t.Errorf("%d were admitted, want exactly %d", admitted, loadMost)
	}
	budgets := loadBudgets()
	if used := usedOf(t, l.store, budgets[0]); used[0] != admitted || used[1] != 3*admitted {
		t.Errorf("the windows hold %v, but %d were admitted", used, admitted)
	}
	if used := usedOf(t, l.store, budgets[1]); used[0] != 100*admitted {
		t.Errorf("%d octets are charged for %d messages of 100", used[0], admitted)
	}
}

// TestRedisRestartsEmpty: what is lost is lost, but the number holds from there,
// and what is given back of the time before takes nothing from others.
func TestRedisRestartsEmpty(t *testing.T) {
	server := redistest.Start(t)
	cfg := redisSettings(server.Addr)
	r := openRedis(t, cfg)
	b := func() ratelimit.Budget {
		return storetest.BudgetOf("sender", "all", storetest.Win(ratelimit.Messages, 200, time.Hour))
	}
	fill := func() (charges []ratelimit.Charge) {
		t.Helper()
		for range 300 {
			batch := storetest.BatchOf([]ratelimit.Request{{Recipients: 1}}, b())
			said, err := r.Take(t.Context(), batch)
			if err != nil {
				t.Fatal(err)
			}
			if said.Requests[0].OK {
				charges = append(charges, said.Requests[0].Charges[0])
			}
		}
		return charges
	}
	before := fill()
	server.Kill()
	server.Restart()
	if n := len(fill()); n != 200 {
		t.Errorf("%d passed after an empty restart, want 200", n)
	}
	for _, c := range before {
		if err := r.Refund(t.Context(), storetest.NextAttempt(), []ratelimit.Return{{Budget: b(), At: c.At, Messages: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if used := usedOf(t, r, b()); used[0] != 200 {
		t.Errorf("%d are left after refunds of charges that were lost, want 200", used[0])
	}
}

// TestRedisLostReply: a decision whose reply was lost is charged once, comes
// out the same when it is asked again, and can be undone.
func TestRedisLostReply(t *testing.T) {
	g := newRig(t)
	b := storetest.BatchOf([]ratelimit.Request{{Recipients: 1}, {Recipients: 1}, {Recipients: 1}}, storetest.BudgetOf("l", "all", storetest.Win(ratelimit.Messages, 5, time.Hour), storetest.Win(ratelimit.Recipients, 2, time.Hour)))
	if err := g.store.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.proxy.LoseReplies(true)
	if _, err := g.store.Take(t.Context(), b); err == nil {
		t.Fatal("no error without a reply")
	}
	g.proxy.LoseReplies(false)
	g.proxy.Reset()
	for range 3 {
		said, err := g.store.Take(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		q := said.Requests
		if !q[0].OK || !q[1].OK || q[2].OK || q[2].RetryAfter <= 0 || !q[0].Charges[0].Message || q[1].Charges[0].Message || !said.Budgets[0].Paid {
			t.Errorf("asked again: %+v", q)
		}
		if used := usedOf(t, g.store, b.Budgets[0]); used[1] != 2 {
			t.Errorf("used %v, want 2 recipients", used)
		}
	}
	if err := g.store.Undo(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if used := usedOf(t, g.store, b.Budgets[0]); used[0] != 0 || used[1] != 0 {
		t.Errorf("used %v after Undo", used)
	}
}

// TestRedisUndoneComesLate: an attempt that was given up and arrives afterwards,
// as after a long stop of the server, charges nothing.
func TestRedisUndoneComesLate(t *testing.T) {
	r := openRedis(t, redisSettings(redistest.Start(t).Addr))
	b := storetest.BatchOf([]ratelimit.Request{{Recipients: 1}}, storetest.BudgetOf("l", "all", storetest.Win(ratelimit.Messages, 5, time.Hour)))
	if err := r.Undo(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Take(t.Context(), b); err == nil || !strings.Contains(err.Error(), "UNDONE") {
		t.Errorf("got %v", err)
	}
	if used := usedOf(t, r, storetest.BudgetOf("l", "all", storetest.Win(ratelimit.Messages, 5, time.Hour))); used[0] != 0 {
		t.Errorf("%d used", used[0])
	}
}

// TestRedisWithoutMemory: a full server changes nothing and says so; what needs
// no memory goes on.
func TestRedisWithoutMemory(t *testing.T) {
	server := redistest.Start(t)
	r := openRedis(t, redisSettings(server.Addr))
	b := func() ratelimit.Budget {
		return storetest.BudgetOf("l", "all", storetest.Win(ratelimit.Messages, 5, time.Hour))
	}
	first := storetest.BatchOf([]ratelimit.Request{{Recipients: 1}}, b())
	said, err := r.Take(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	memory := func(limit string) {
		t.Helper()
		if err := server.Client().ConfigSet(t.Context(), "maxmemory", limit).Err(); err != nil {
			t.Fatal(err)
		}
	}
	memory("1")
	_, full := r.Take(t.Context(), storetest.BatchOf([]ratelimit.Request{{Recipients: 1}}, b()))
	for name, err := range map[string]error{
		"Take":   full,
		"Refund": r.Refund(t.Context(), storetest.NextAttempt(), []ratelimit.Return{{Budget: b(), At: said.Requests[0].Charges[0].At, Messages: 1}}),
		"Undo":   r.Undo(t.Context(), first),
		"Record": r.Record(t.Context(), storetest.NextAttempt(), []ratelimit.Record{{Limit: "l", Key: "all", Length: time.Hour, N: 1}}),
		"Ping":   r.Ping(t.Context()),
	} {
		if err == nil || !strings.Contains(err.Error(), "OOM") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if used := usedOf(t, r, b()); used[0] != 1 {
		t.Errorf("%d used, want 1", used[0])
	}
	memory("0")
	if err := r.Undo(t.Context(), first); err != nil {
		t.Error(err)
	}
	if used := usedOf(t, r, b()); used[0] != 0 {
		t.Errorf("%d used, want 0", used[0])
	}
}

// TestRedisAnswersInTime: a server that takes connections and never answers
// costs a decision no more than the time of the settings.
func TestRedisAnswersInTime(t *testing.T) {
	server := redistest.Start(t)
	cfg := redisSettings(server.Addr)
	cfg.SetDefaults()
	cfg.Addresses = []string{server.Addr}
	r := openRedis(t, cfg)
	server.Pause()
	const calls = 100
	took := make(chan time.Duration, calls)
	for range calls {
		go func() {
			start := time.Now()
			b := storetest.BatchOf([]ratelimit.Request{{Recipients: 1}}, storetest.BudgetOf("l", "all", storetest.Win(ratelimit.Messages, 5, time.Hour)))
			if _, err := r.Take(context.Background(), b); err == nil {
				t.Error("a stopped server decided")
			}
			took <- time.Since(start)
		}()
	}
	quickest, slowest := time.Hour, time.Duration(0)
	for range calls {
		d := <-took
		quickest, slowest = min(quickest, d), max(slowest, d)
	}
	t.Logf("from %s to %s", quickest, slowest)
	// The machine that runs the tests may have other things to do.
	if quickest > time.Second || slowest > 10*time.Second {
		t.Errorf("decisions took from %s to %s with a time of %s", quickest, slowest, cfg.Timeout)
	}
	server.Resume()
}
