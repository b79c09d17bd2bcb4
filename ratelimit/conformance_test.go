package ratelimit

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// testBed is an empty store whose time is clock's: it stands still until the
// test moves it, and may be set back.
type testBed struct {
	Store
	clock *fakeClock
	// once: the store charges an Attempt once, however often it arrives.
	once bool
	// light: less traffic will do.
	light bool
	// tick is what the store's clock resolves; moments within one are the same.
	tick time.Duration
}

// testStore is what every store must pass. open returns an empty store of its
// own for each test and registers its end with t.Cleanup.
//
// For Redis the server's TIME cannot be moved: have the script's time come from
// bed.clock in tests (milliseconds since 1970 handed over as an argument that
// is blank in production), and set once. Tests that only make sense with the
// real clock, the real server or several nodes belong beside the store.
func testStore(t *testing.T, open func(t *testing.T) testBed) {
	for _, test := range []struct {
		name string
		f    func(*testing.T, testBed)
	}{
		{"no window ever holds more than its number", testHardCap},
		{"a spread sender gets 98 %", testSpread},
		{"all budgets are charged or none", testAllOrNothing},
		{"refunds go to the place of the charge", testRefund},
		{"a shadow budget has no influence", testShadow},
		{"reserved room is exact", testReserve},
		{"reserved room holds on random traffic", testReserveRandom},
		{"another number finds the same counts", testChangedNumber},
		{"the extremes of numbers and windows", testExtremes},
		{"a clock set back or forward", testClock},
		{"many recipients at once", testManyRecipients},
		{"sixty sessions at once", testParallel},
		{"the longest keys", testLongKeys},
		{"an attempt charges once", testAttempt},
		{"the wait is right", testRetryAfter},
		{"near is told once", testNear},
		{"distinct recipients", testDistinct},
		{"a peek charges nothing", testPeek},
		{"records", testRecord},
		{"raises", testRaises},
		{"scan and reset", testScanReset},
		{"messages are paid once", testPaid},
	} {
		t.Run(test.name, func(t *testing.T) { test.f(t, open(t)) })
	}
}

func TestEmbeddedStore(t *testing.T) {
	testStore(t, func(*testing.T) testBed {
		clock := newFakeClock()
		return testBed{Store: NewEmbedded(StoreConfig{Memory: 16 << 20}, clock.now), clock: clock, tick: 1}
	})
}

var testAttempts atomic.Uint64

func nextAttempt() Attempt { return Attempt{Node: 1, Seq: testAttempts.Add(1)} }

// win is a window without reserve.
func win(u Unit, n int64, length time.Duration) Window {
	return Window{Unit: u, Max: n, Length: length}
}

func budgetOf(limit, key string, windows ...Window) Budget {
	return Budget{Limit: limit, Key: []byte(key), Windows: windows, Results: make([]WindowResult, len(windows))}
}

// batchOf touches all budgets with each request.
func batchOf(requests []Request, budgets ...Budget) *Batch {
	b := &Batch{ID: nextAttempt(), Budgets: slices.Clone(budgets), Requests: requests}
	for i := range b.Budgets {
		b.Budgets[i].Results = make([]WindowResult, len(b.Budgets[i].Windows))
	}
	for i := range b.Requests {
		b.Requests[i].Refs = nil
		for j := range budgets {
			b.Requests[i].Refs = append(b.Requests[i].Refs, Ref{Budget: j})
		}
	}
	return b
}

// one takes a single recipient from the budgets.
func (bed testBed) one(t *testing.T, budgets ...Budget) *Request {
	t.Helper()
	return bed.ask(t, Request{Recipients: 1}, budgets...)
}

func (bed testBed) ask(t *testing.T, q Request, budgets ...Budget) *Request {
	t.Helper()
	b := batchOf([]Request{q}, budgets...)
	if err := bed.Take(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return &b.Requests[0]
}

// fill takes single recipients until one is refused, n at most.
func (bed testBed) fill(t *testing.T, n int, budgets ...Budget) (taken int) {
	t.Helper()
	for ; taken < n; taken++ {
		if !bed.one(t, budgets...).OK {
			break
		}
	}
	return taken
}

// look peeks at a budget without asking for anything.
func (bed testBed) look(t *testing.T, b Budget) []WindowResult {
	t.Helper()
	batch := batchOf([]Request{{Recipients: 1}}, b)
	batch.Peek = true
	if err := bed.Take(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	return batch.Budgets[0].Results
}

// admission is one charge in the exact log that tests keep for themselves.
type admission struct {
	at time.Time
	n  int64
}

type admissions []admission

// within sums what was admitted less than length ago.
func (as admissions) within(now time.Time, length time.Duration) (sum int64, count int) {
	for i := len(as) - 1; i >= 0; i-- {
		if now.Sub(as[i].at) >= length {
			break
		}
		if as[i].n > 0 {
			sum, count = sum+as[i].n, count+1
		}
	}
	return sum, count
}

// testHardCap drives random traffic, and holds each verdict against an exact
// log: what was admitted had room among the charges of the last Length; what
// was refused had none among those of the last Length and a 64th.
func testHardCap(t *testing.T, bed testBed) {
	rnd := rand.New(rand.NewPCG(1, 2))
	lengths := []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour, 31 * 24 * time.Hour}
	for i, length := range lengths {
		for j, most := range []int64{1, 7, 80, 200} {
			if (bed.once || bed.light) && (i+j)%3 != 0 {
				continue // of Redis every call is a round trip
			}
			driveCap(t, bed, rnd, win(Recipients, most, length), win(Bytes, most*1000, 2*length/time.Second*time.Second))
			if t.Failed() {
				t.Fatalf("with %d in %s", most, length)
			}
		}
	}
}

func driveCap(t *testing.T, bed testBed, rnd *rand.Rand, windows ...Window) {
	key := "sender=" + time.Duration(rnd.Int64()).String()
	logs := make([]admissions, len(windows))
	type kept struct {
		at    int64
		index int
	}
	var back []kept
	for range 200 + 2*windows[0].Max {
		// Bursts and pauses, now and then longer than the window.
		if rnd.IntN(3) > 0 {
			step := int64(windows[0].Length) / windows[0].Max
			bed.clock.add(time.Duration(rnd.Int64N(2*step + 1)).Truncate(bed.tick))
		}
		now := bed.clock.now()
		q := bed.ask(t, Request{Recipients: 1 + rnd.Int64N(1+windows[0].Max/50), Bytes: 1 + rnd.Int64N(3000)}, budgetOf("l", key, windows...))
		amounts := []int64{q.Recipients, q.Bytes}
		room := true
		for i := range windows {
			sum, _ := logs[i].within(now, windows[i].Length)
			if q.OK && sum+amounts[i] > windows[i].Max {
				t.Errorf("admitted %d with %d of %d used in %s", amounts[i], sum, windows[i].Max, windows[i].Length)
				return
			}
			// A log of few charges is exact, to two ticks of rounding.
			_, count := logs[i].within(now, windows[i].Length+windows[i].Length/32)
			late := 20 * time.Millisecond
			if count > 64 {
				late += windows[i].Length / 64
			}
			sum, _ = logs[i].within(now, windows[i].Length+late)
			room = room && sum+amounts[i] <= windows[i].Max
		}
		if !q.OK && room {
			t.Errorf("refused with room in every window: %+v", *q)
			return
		}
		if !q.OK {
			continue
		}
		for i := range logs {
			logs[i] = append(logs[i], admission{now, amounts[i]})
		}
		back = append(back, kept{q.Refs[0].At, len(logs[0]) - 1})
		if rnd.IntN(6) == 0 {
			k := back[rnd.IntN(len(back))]
			r := Return{Budget: budgetOf("l", key, windows...), At: k.at, Recipients: logs[0][k.index].n, Bytes: logs[1][k.index].n}
			if err := bed.Refund(t.Context(), nextAttempt(), []Return{r}); err != nil {
				t.Fatal(err)
			}
			logs[0][k.index].n, logs[1][k.index].n = 0, 0
		}
	}
}

func testSpread(t *testing.T, bed testBed) {
	for _, w := range []Window{
		win(Recipients, 10, time.Second), win(Recipients, 60, time.Minute), win(Recipients, 500, time.Hour),
		win(Recipients, 77, 24*time.Hour), win(Recipients, 300, 31*24*time.Hour),
	} {
		b := budgetOf("spread "+w.Length.String(), "all", w)
		step := w.Length / time.Duration(w.Max)
		tried, passed := 0, 0
		for range 5 * w.Max {
			tried++
			if bed.one(t, b).OK {
				passed++
			}
			bed.clock.add(step)
		}
		if passed*100 < tried*98 {
			t.Errorf("%d/%s: a spread sender got %d of %d", w.Max, w.Length, passed, tried)
		}
	}
}

func testAllOrNothing(t *testing.T, bed testBed) {
	wide := budgetOf("wide", "client=a", win(Messages, 100, time.Hour), win(Recipients, 100, time.Hour))
	narrow := budgetOf("narrow", "sender=b", win(Messages, 100, time.Hour), win(Recipients, 3, time.Minute))
	if n := bed.fill(t, 10, wide, narrow); n != 3 {
		t.Fatalf("%d passed, want 3", n)
	}
	for _, r := range bed.look(t, wide) {
		if r.Used != 3 {
			t.Errorf("the other budget has %d used, want 3: a refused request costs nothing", r.Used)
		}
	}
	if r := bed.look(t, narrow); r[0].Used != 3 || r[1].Used != 3 {
		t.Errorf("used %d messages and %d recipients, want 3 and 3", r[0].Used, r[1].Used)
	}
	q := bed.one(t, wide, narrow)
	if q.OK || q.Budget != 1 || q.Window != 1 || q.Refs[0].Charged || q.Refs[1].Charged {
		t.Errorf("refusal names budget %d window %d: %+v", q.Budget, q.Window, q.Refs)
	}
}

func testRefund(t *testing.T, bed testBed) {
	w := []Window{win(Messages, 4, time.Hour), win(Recipients, 4, time.Minute), win(Bytes, 1000, time.Hour)}
	b := func() Budget { return budgetOf("refund", "sender=a", w...) }
	first := bed.ask(t, Request{Recipients: 2, Bytes: 400}, b())
	bed.clock.add(30 * time.Second)
	second := bed.ask(t, Request{Recipients: 2, Bytes: 600}, b())
	if !first.OK || !second.OK || bed.one(t, b()).OK {
		t.Fatal("two of two recipients fill the window")
	}
	give := func(q *Request, messages, recipients, bytes int64) {
		t.Helper()
		r := Return{Budget: b(), At: q.Refs[0].At, Messages: messages, Recipients: recipients, Bytes: bytes}
		if err := bed.Refund(t.Context(), nextAttempt(), []Return{r}); err != nil {
			t.Fatal(err)
		}
	}
	used := func(messages, recipients, bytes int64) {
		t.Helper()
		r := bed.look(t, b())
		if r[0].Used != messages || r[1].Used != recipients || r[2].Used != bytes {
			t.Errorf("used %d %d %d, want %d %d %d", r[0].Used, r[1].Used, r[2].Used, messages, recipients, bytes)
		}
	}
	give(first, 0, 1, 0)
	used(2, 3, 1000)
	give(first, 1, 1, 400)
	used(1, 2, 600)
	give(first, 1, 1, 400) // nothing is left there, and the second keeps its own
	used(1, 2, 600)
	bed.clock.add(31 * time.Second) // the first charge's minute is over
	give(first, 0, 1, 0)
	used(1, 2, 600)
	bed.clock.add(30 * time.Second) // the second's too
	give(second, 0, 2, 0)
	used(1, 0, 600)
}

func testShadow(t *testing.T, bed testBed) {
	real := budgetOf("real", "all", win(Recipients, 5, time.Hour))
	for _, order := range []string{"before", "after"} {
		shadow := budgetOf("shadow "+order, "all", win(Recipients, 2, time.Hour))
		shadow.Shadow = true
		if err := bed.Reset(t.Context(), "real", "all"); err != nil {
			t.Fatal(err)
		}
		budgets, at := []Budget{shadow, real}, 0
		if order == "after" {
			budgets, at = []Budget{real, shadow}, 1
		}
		for i := range 7 {
			b := batchOf([]Request{{Recipients: 1}}, budgets...)
			if err := bed.Take(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			q := b.Requests[0]
			if want := i < 5; q.OK != want || q.Refs[1-at].Charged != want {
				t.Errorf("%s: request %d: %+v", order, i, q)
			}
			if want := i < 2; q.Refs[at].Charged != want || b.Budgets[at].Results[0].Refused == want {
				t.Errorf("%s: shadow at request %d: charged %v, refused %v", order, i, q.Refs[at].Charged, b.Budgets[at].Results[0].Refused)
			}
			if !q.OK && q.Budget == at {
				t.Errorf("%s: a shadow budget is named as the one that refused", order)
			}
		}
		if r := bed.look(t, shadow); r[0].Used != 2 {
			t.Errorf("%s: shadow has %d used, want 2 as if it were enforced", order, r[0].Used)
		}
	}
}

func reserved(n int64, length time.Duration, kept ...Reserve) Window {
	return Window{Unit: Recipients, Max: n, Length: length, Reserve: kept}
}

func testReserve(t *testing.T, bed testBed) {
	w := reserved(100, time.Hour, Reserve{"transactional", 20}, Reserve{"corporate", 10})
	b := func(share string) Budget {
		b := budgetOf("shared", "all", w)
		b.Share = share
		return b
	}
	for _, step := range []struct {
		share string
		want  int
	}{
		{"", 70},              // all that is open
		{"transactional", 20}, // its own
		{"", 0},
		{"corporate", 10},
		{"transactional", 0},
	} {
		if n := bed.fill(t, 200, b(step.share)); n != step.want {
			t.Errorf("share %q got %d, want %d", step.share, n, step.want)
		}
	}
	if r := bed.look(t, b("")); r[0].Used != 70 || r[0].Max != 70 {
		t.Errorf("share \"\" sees %d of %d, want 70 of 70", r[0].Used, r[0].Max)
	}
	bed.clock.add(time.Hour + time.Hour/64 + time.Second)
	// A share may take what is open beyond its own.
	if n := bed.fill(t, 200, b("transactional")); n != 90 {
		t.Errorf("transactional got %d of an empty window, want 90", n)
	}
	if n := bed.fill(t, 200, b("")); n != 0 {
		t.Errorf("the open part was taken, yet %d more passed", n)
	}
	if n := bed.fill(t, 200, b("corporate")); n != 10 {
		t.Errorf("corporate got %d, want its 10", n)
	}
}

// testReserveRandom holds verdicts against the arithmetic at Reserve.
func testReserveRandom(t *testing.T, bed testBed) {
	rnd := rand.New(rand.NewPCG(3, 4))
	w := reserved(60, time.Hour, Reserve{"a", 15}, Reserve{"b", 20})
	shares := []string{"", "a", "b"}
	mins := map[string]int64{"a": 15, "b": 20}
	open := w.Max - 15 - 20
	logs := map[string]admissions{}
	fits := func(share string, n int64, late time.Duration) bool {
		used, all := map[string]int64{}, int64(0)
		for s, log := range logs {
			used[s], _ = log.within(bed.clock.now(), w.Length+late)
			all += used[s]
		}
		taken := used[""]
		for s, least := range mins {
			taken += max(0, used[s]-least)
		}
		if share == "" {
			return taken+n <= open && all+n <= w.Max
		}
		over := max(0, used[share]+n-mins[share]) - max(0, used[share]-mins[share])
		return all+n <= w.Max && over <= max(0, open-taken)
	}
	for i := range 2000 {
		bed.clock.add(time.Duration(rnd.Int64N(int64(2 * time.Minute))).Truncate(time.Millisecond))
		share := shares[rnd.IntN(3)]
		b := budgetOf("random", "all", w)
		b.Share = share
		n := 1 + rnd.Int64N(4)
		q := bed.ask(t, Request{Recipients: n}, b)
		if q.OK != fits(share, n, 0) && q.OK != fits(share, n, 20*time.Millisecond) {
			t.Fatalf("request %d: %d of share %q: got %v", i, n, share, q.OK)
		}
		if q.OK {
			logs[share] = append(logs[share], admission{bed.clock.now(), n})
			continue
		}
		if i%10 == 0 && !q.Never {
			bed.clock.add(q.RetryAfter)
			if q = bed.ask(t, Request{Recipients: n}, b); !q.OK {
				t.Fatalf("request %d: still refused after its wait", i)
			}
			logs[share] = append(logs[share], admission{bed.clock.now(), n})
		}
	}
}

func testChangedNumber(t *testing.T, bed testBed) {
	with := func(n int64) Budget { return budgetOf("sender", "sender=a", win(Messages, n, time.Hour)) }
	for _, step := range []struct{ max, want int }{{500, 500}, {600, 100}, {550, 0}, {601, 1}, {0, 0}, {602, 1}} {
		if n := bed.fill(t, 1000, with(int64(step.max))); n != step.want {
			t.Errorf("at %d: %d passed, want %d", step.max, n, step.want)
		}
	}
	if r := bed.look(t, with(500)); r[0].Used != 602 || r[0].Max != 500 {
		t.Errorf("lowered number: %d of %d used, want 602 of 500", r[0].Used, r[0].Max)
	}
	// A window that joins later counts from then on, and one that leaves is
	// found again when it comes back.
	both := budgetOf("sender", "sender=a", win(Messages, 5, time.Minute), win(Messages, 700, time.Hour))
	if n := bed.fill(t, 100, both); n != 5 {
		t.Errorf("new window of a minute: %d passed, want 5", n)
	}
	bed.clock.add(30 * time.Second)
	if !bed.one(t, with(700)).OK || bed.one(t, both).OK {
		t.Error("a window that was not asked for a while has forgotten its charges")
	}
}

func testExtremes(t *testing.T, bed testBed) {
	zero := budgetOf("zero", "all", win(Messages, 0, time.Hour))
	q := bed.one(t, zero)
	if q.OK || !q.Never || q.RetryAfter != time.Hour {
		t.Errorf("0/1h: %+v", *q)
	}
	if !bed.ask(t, Request{Bytes: 10}, zero).OK {
		t.Error("0 messages refused a body, which costs no message")
	}
	fast := budgetOf("fast", "all", win(Recipients, 1_000_000, time.Second))
	if q := bed.ask(t, Request{Recipients: 999_999}, fast); !q.OK {
		t.Errorf("1000000/1s: %+v", *q)
	}
	if !bed.one(t, fast).OK || bed.one(t, fast).OK {
		t.Error("1000000/1s: the millionth fits and the next does not")
	}
	bed.clock.add(time.Second)
	if q := bed.ask(t, Request{Recipients: 1_000_000}, fast); !q.OK {
		t.Errorf("1000000/1s a second later: %+v", *q)
	}
	if q := bed.ask(t, Request{Recipients: 1_000_001}, fast); q.OK || !q.Never {
		t.Errorf("more than the whole window: %+v", *q)
	}
	large := budgetOf("large", "all", win(Bytes, MaxNumber, MaxWindow))
	if !bed.ask(t, Request{Bytes: MaxNumber}, large).OK || bed.ask(t, Request{Bytes: 1}, large).OK {
		t.Error("the largest number holds exactly")
	}
	bed.clock.add(MaxWindow + 20*time.Millisecond)
	if !bed.ask(t, Request{Bytes: MaxNumber}, large).OK {
		t.Error("the largest window does not end")
	}
	long := budgetOf("long", "all", win(Messages, 1, MaxPeriod))
	if !bed.one(t, long).OK || bed.one(t, long).OK {
		t.Error("the longest period holds one")
	}
	bed.clock.add(MaxPeriod - time.Hour)
	if bed.one(t, long).OK {
		t.Error("the longest period ends early")
	}
	bed.clock.add(time.Hour + time.Minute)
	if !bed.one(t, long).OK {
		t.Error("the longest period does not end")
	}
}

func testClock(t *testing.T, bed testBed) {
	b := budgetOf("clock", "all", win(Recipients, 10, time.Hour))
	if n := bed.fill(t, 100, b); n != 10 {
		t.Fatalf("%d passed, want 10", n)
	}
	bed.clock.add(-time.Hour)
	q := bed.one(t, b)
	if q.OK {
		t.Error("a clock set back by an hour forgot the charges")
	}
	if q.RetryAfter > time.Hour {
		t.Errorf("refused for %s, longer than the window", q.RetryAfter)
	}
	bed.clock.add(time.Hour + time.Minute)
	if !bed.one(t, b).OK {
		t.Error("still refused an hour after the clock was set back")
	}
	// Forward: the hour has passed as far as anyone can know; nothing is refused
	// for longer than the window and the cap holds from there.
	if err := bed.Reset(t.Context(), "clock", "all"); err != nil {
		t.Fatal(err)
	}
	if n := bed.fill(t, 100, b); n != 10 {
		t.Fatalf("%d passed, want 10", n)
	}
	bed.clock.add(time.Hour)
	if n := bed.fill(t, 100, b); n > 10 {
		t.Errorf("%d passed after the clock was set forward, want at most 10", n)
	}
	bed.clock.add(-time.Hour)
	if bed.one(t, b).OK {
		t.Error("a clock set forward and back let more pass")
	}
}

func testManyRecipients(t *testing.T, bed testBed) {
	b := batchOf(make([]Request, 500), budgetOf("many", "sender=new", win(Recipients, 20, time.Hour), win(Messages, 5, time.Hour)))
	for i := range b.Requests {
		b.Requests[i].Recipients = 1
	}
	if err := bed.Take(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	passed := 0
	for i := range b.Requests {
		if b.Requests[i].OK {
			passed++
		}
	}
	r := b.Budgets[0].Results
	if passed != 20 || r[0].Used != 20 || r[1].Used != 1 || !b.Requests[19].OK {
		t.Errorf("%d recipients of the first message passed, used %+v; want the first 20 and one message", passed, r)
	}
}

func testParallel(t *testing.T, bed testBed) {
	var passed atomic.Int64
	done := make(chan error)
	const sessions, each, most = 60, 30, 700
	for range sessions {
		go func() {
			for range each {
				b := batchOf([]Request{{Recipients: 1}},
					budgetOf("p sender", "sender=a", win(Recipients, most, time.Hour)),
					budgetOf("p client", "client=c", win(Messages, 2*most, time.Hour)))
				if err := bed.Take(context.Background(), b); err != nil {
					done <- err
					return
				}
				if b.Requests[0].OK {
					passed.Add(1)
				}
			}
			done <- nil
		}()
	}
	for range sessions {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if passed.Load() != most {
		t.Errorf("%d passed in parallel, want exactly %d", passed.Load(), most)
	}
	if r := bed.look(t, budgetOf("p client", "client=c", win(Messages, 2*most, time.Hour))); r[0].Used != most {
		t.Errorf("the wide budget has %d, want %d", r[0].Used, most)
	}
}

func testAttempt(t *testing.T, bed testBed) {
	if !bed.once {
		return // it cannot lose a reply
	}
	b := func() Budget { return budgetOf("attempt", "all", win(Recipients, 10, time.Hour)) }
	first := batchOf([]Request{{Recipients: 1}}, b())
	again := batchOf([]Request{{Recipients: 1}}, b())
	again.ID = first.ID
	for _, batch := range []*Batch{first, again, again} {
		if err := bed.Take(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	if r := bed.look(t, b()); r[0].Used != 1 {
		t.Errorf("the same attempt was charged %d times", r[0].Used)
	}
	if !again.Requests[0].OK {
		t.Error("an attempt that was charged is refused when it comes again")
	}
	for range 2 {
		if err := bed.Undo(t.Context(), first); err != nil {
			t.Fatal(err)
		}
	}
	if r := bed.look(t, b()); r[0].Used != 0 {
		t.Errorf("%d used after the attempt was undone", r[0].Used)
	}
	if n := bed.fill(t, 100, b()); n != 10 {
		t.Errorf("%d passed afterwards, want 10", n)
	}
	q := bed.one(t, b())
	if q.OK {
		t.Fatal("full")
	}
	refund := nextAttempt()
	ok := batchOf([]Request{{Recipients: 2}}, budgetOf("attempt 2", "all", win(Recipients, 10, time.Hour)))
	if err := bed.Take(t.Context(), ok); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r := Return{Budget: budgetOf("attempt 2", "all", win(Recipients, 10, time.Hour)), At: ok.Requests[0].Refs[0].At, Recipients: 1}
		if err := bed.Refund(t.Context(), refund, []Return{r}); err != nil {
			t.Fatal(err)
		}
	}
	if r := bed.look(t, budgetOf("attempt 2", "all", win(Recipients, 10, time.Hour))); r[0].Used != 1 {
		t.Errorf("a refund that came twice left %d used, want 1", r[0].Used)
	}
}

// testRetryAfter waits as told and gets in, and not a second earlier.
func testRetryAfter(t *testing.T, bed testBed) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for i := range 60 {
		w := []Window{win(Recipients, 10+rnd.Int64N(150), time.Hour), win(Recipients, 30, 10*time.Minute), win(Bytes, 9000, 2*time.Hour)}
		b := func() Budget { return budgetOf("retry", "sender="+time.Duration(i).String(), w...) }
		ask := Request{Recipients: 1 + rnd.Int64N(8), Bytes: rnd.Int64N(2000)}
		for range 2000 {
			q := bed.ask(t, ask, b())
			if q.OK {
				bed.clock.add(time.Duration(rnd.Int64N(int64(20 * time.Second))))
				continue
			}
			if q.RetryAfter <= 0 || q.RetryAfter > 2*time.Hour+2*time.Hour/64 {
				t.Fatalf("wait of %s", q.RetryAfter)
			}
			if q.RetryAfter > time.Second {
				bed.clock.add(q.RetryAfter - time.Second)
				if bed.ask(t, ask, b()).OK {
					t.Fatal("got in before the time that it was told")
				}
				bed.clock.add(time.Second)
			} else {
				bed.clock.add(q.RetryAfter)
			}
			if q = bed.ask(t, ask, b()); !q.OK {
				t.Fatalf("refused after the wait, for another %s", q.RetryAfter)
			}
			break
		}
	}
}

func testNear(t *testing.T, bed testBed) {
	w := win(Recipients, 10, time.Hour)
	near := func() int {
		count := 0
		for range 12 {
			b := batchOf([]Request{{Recipients: 1}}, budgetOf("near", "all", w))
			if err := bed.Take(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			if r := b.Budgets[0].Results[0]; r.Near {
				count++
				if r.Used != 8 {
					t.Errorf("near at %d of 10", r.Used)
				}
			}
		}
		return count
	}
	if n := near(); n != 1 {
		t.Errorf("near was told %d times, want once", n)
	}
	bed.clock.add(time.Hour + time.Second)
	if n := near(); n != 1 {
		t.Errorf("near was told %d times in the next window, want once", n)
	}
}

func testDistinct(t *testing.T, bed testBed) {
	w := win(DistinctRecipients, 3, time.Hour)
	b := func() Budget { return budgetOf("distinct", "all", w) }
	ask := func(name string) *Request {
		t.Helper()
		return bed.ask(t, Request{Recipients: 1, Distinct: hashRecipient(name)}, b())
	}
	first := ask("a@x.example")
	for _, name := range []string{"a@x.example", "b@x.example", "a@x.example", "c@x.example", "b@x.example"} {
		if !ask(name).OK {
			t.Fatalf("%s refused", name)
		}
		bed.clock.add(time.Minute)
	}
	if ask("d@x.example").OK {
		t.Fatal("a fourth distinct recipient passed")
	}
	if !ask("a@x.example").OK {
		t.Error("a repeated one was refused")
	}
	// a was charged again since, so giving its first charge back changes nothing.
	give := func(q *Request, name string) {
		t.Helper()
		r := Return{Budget: b(), At: q.Refs[0].At, Recipients: 1, Distinct: hashRecipient(name)}
		if err := bed.Refund(t.Context(), nextAttempt(), []Return{r}); err != nil {
			t.Fatal(err)
		}
	}
	give(first, "a@x.example")
	if ask("d@x.example").OK {
		t.Error("a refund forgot a recipient that was written to twice")
	}
	bed.clock.add(time.Hour)
	only := ask("e@x.example")
	give(only, "e@x.example")
	if r := bed.look(t, b()); r[0].Used != 0 {
		t.Errorf("%d used after the only charge was given back", r[0].Used)
	}
	// Of many the number is an estimate.
	many := budgetOf("distinct", "client=many", win(DistinctRecipients, 20_000, time.Hour))
	for i := range 50 {
		b := batchOf(make([]Request, 100), many)
		for j := range b.Requests {
			b.Requests[j].Recipients, b.Requests[j].Distinct = 1, hashRecipient(time.Duration(100*i+j).String())
		}
		if err := bed.Take(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if used := bed.look(t, many)[0].Used; used < 4000 || used > 6000 {
		t.Errorf("estimate of 5000 distinct: %d", used)
	}
}

func testPeek(t *testing.T, bed testBed) {
	w := win(Recipients, 2, time.Hour)
	b := func() Budget { return budgetOf("peek", "all", w) }
	if r := bed.look(t, b()); r[0] != (WindowResult{Max: 2}) {
		t.Errorf("of a new key: %+v", r[0])
	}
	bed.one(t, b())
	bed.clock.add(time.Minute)
	bed.one(t, b())
	for range 3 {
		r := bed.look(t, b())[0]
		if r.Used != 2 || !r.Refused || r.Free < 59*time.Minute-time.Second || r.Free > 59*time.Minute+time.Second {
			t.Errorf("full: %+v", r)
		}
	}
	if r := bed.look(t, budgetOf("peek", "all", win(Recipients, 0, time.Hour)))[0]; r.Free != -1 {
		t.Errorf("0/1h: %+v", r)
	}
}

func testRecord(t *testing.T, bed testBed) {
	w := []Window{win(Recipients, 10, time.Hour), win(DistinctRecipients, 10, time.Hour)}
	b := func() Budget { return budgetOf("record", "all", w...) }
	records := []Record{
		{Limit: "record", Key: "all", Unit: Recipients, Length: time.Hour, Age: 30 * time.Minute, N: 12},
		{Limit: "record", Key: "all", Unit: DistinctRecipients, Length: time.Hour, Age: 30 * time.Minute, N: 1, Distinct: hashRecipient("a")},
		{Limit: "record", Key: "all", Unit: DistinctRecipients, Length: time.Hour, Age: 20 * time.Minute, N: 1, Distinct: hashRecipient("a")},
		{Limit: "record", Key: "all", Unit: Recipients, Length: time.Hour, Age: 40 * time.Minute, N: 1},
	}
	if err := bed.Record(t.Context(), nextAttempt(), records); err != nil {
		t.Fatal(err)
	}
	if r := bed.look(t, b()); r[0].Used != 13 || r[1].Used != 1 {
		t.Errorf("used %d and %d distinct, want 13 and 1", r[0].Used, r[1].Used)
	}
	bed.clock.add(20*time.Minute + time.Minute)
	if r := bed.look(t, b()); r[0].Used != 12 {
		t.Errorf("used %d after the older one's hour, want 12", r[0].Used)
	}
	bed.clock.add(10 * time.Minute)
	if r := bed.look(t, b()); r[0].Used != 0 || r[1].Used != 1 {
		t.Errorf("used %d and %d distinct, want 0 and 1", r[0].Used, r[1].Used)
	}
}

func testRaises(t *testing.T, bed testBed) {
	w := []Window{win(Messages, 2, time.Minute), win(Messages, 3, time.Hour)}
	b := func() Budget { return budgetOf("raise", "sender=a", w...) }
	raise := Raise{
		Limit: "raise", Key: "sender=a", Unit: Messages, Add: 5,
		Made: bed.clock.now(), Until: bed.clock.now().Add(30 * time.Minute), Reason: "campaign",
	}
	if n := bed.fill(t, 100, b()); n != 2 {
		t.Fatalf("%d passed, want 2", n)
	}
	if err := bed.SetRaise(t.Context(), raise); err != nil {
		t.Fatal(err)
	}
	if n := bed.fill(t, 100, b()); n != 5 {
		t.Errorf("%d more passed under a raise of 5", n)
	}
	if r := bed.look(t, b()); r[0].Max != 7 || r[1].Max != 8 {
		t.Errorf("raised numbers %d and %d, want 7 and 8", r[0].Max, r[1].Max)
	}
	if r := bed.look(t, budgetOf("raise", "sender=b", w...)); r[0].Max != 2 {
		t.Error("a raise reached another key")
	}
	list, err := bed.Raises(t.Context())
	if err != nil || len(list) != 1 || list[0].Reason != "campaign" || list[0].Key != "sender=a" || list[0].Add != 5 {
		t.Errorf("raises: %+v, %v", list, err)
	}
	if err := bed.Reset(t.Context(), "raise", "sender=a"); err != nil {
		t.Fatal(err)
	}
	if n := bed.fill(t, 100, b()); n != 7 {
		t.Errorf("%d passed after a reset, want the raise to stay", n)
	}
	bed.clock.add(30 * time.Minute)
	if bed.one(t, b()).OK {
		t.Error("the raise has ended, yet another passed")
	}
	if list, _ := bed.Raises(t.Context()); len(list) != 0 {
		t.Errorf("an ended raise is listed: %+v", list)
	}
	raise.Until = bed.clock.now().Add(time.Hour)
	raise.Window = time.Hour
	for _, add := range []int64{5, 0} {
		raise.Add = add
		if err := bed.SetRaise(t.Context(), raise); err != nil {
			t.Fatal(err)
		}
		if r := bed.look(t, b()); r[0].Max != 2 || r[1].Max != 3+add {
			t.Errorf("raise of the hour by %d: numbers %d and %d", add, r[0].Max, r[1].Max)
		}
	}
}

func testScanReset(t *testing.T, bed testBed) {
	w := win(Messages, 5, time.Hour)
	want := map[string]bool{"s1 client=a": true, "s1 client=b": true, "s2 all": true}
	bed.one(t, budgetOf("s1", "client=a", w), budgetOf("s2", "all", w))
	bed.one(t, budgetOf("s1", "client=b", w), budgetOf("s2", "all", w))
	scan := func(limit string) map[string]bool {
		t.Helper()
		got := map[string]bool{}
		err := bed.Scan(t.Context(), limit, func(limit, key string) bool {
			got[limit+" "+key] = true
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := scan("")
	for name := range want {
		if !got[name] {
			t.Errorf("%s is missing in %v", name, got)
		}
	}
	if got := scan("s1"); len(got) != 2 {
		t.Errorf("of s1: %v", got)
	}
	count := 0
	if err := bed.Scan(t.Context(), "", func(string, string) bool { count++; return false }); err != nil || count != 1 {
		t.Errorf("a scan that was stopped called %d times, %v", count, err)
	}
	if err := bed.Reset(t.Context(), "s1", "client=a"); err != nil {
		t.Fatal(err)
	}
	if r := bed.look(t, budgetOf("s1", "client=a", w)); r[0].Used != 0 {
		t.Errorf("%d used after a reset", r[0].Used)
	}
	if r := bed.look(t, budgetOf("s1", "client=b", w)); r[0].Used != 1 {
		t.Errorf("another key has %d used after the reset, want 1", r[0].Used)
	}
	if err := bed.Reset(t.Context(), "s1", "client=unknown"); err != nil {
		t.Error(err)
	}
}

func testPaid(t *testing.T, bed testBed) {
	b := budgetOf("paid", "all", win(Messages, 5, time.Hour), win(Recipients, 50, time.Hour))
	batch := batchOf([]Request{{Recipients: 1}, {Recipients: 1}, {Bytes: 7}}, b)
	if err := bed.Take(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	first, second := batch.Requests[0].Refs[0], batch.Requests[1].Refs[0]
	if !first.Message || second.Message || !batch.Budgets[0].Paid {
		t.Errorf("messages of the batch: %+v %+v, paid %v", first, second, batch.Budgets[0].Paid)
	}
	b.Paid = true
	bed.one(t, b)
	if r := bed.look(t, b); r[0].Used != 1 || r[1].Used != 3 {
		t.Errorf("used %d messages and %d recipients, want 1 and 3", r[0].Used, r[1].Used)
	}
}

func testLongKeys(t *testing.T, bed testBed) {
	long := make([]byte, 1000)
	for i := range long {
		long[i] = 'a' + byte(i%26)
	}
	for i := range 40 {
		long[999] = byte('0' + i)
		b := budgetOf("long keys", "sender="+string(long), win(Messages, 3, time.Hour), win(Recipients, 3, 24*time.Hour), win(Bytes, 3, time.Minute))
		if n := bed.fill(t, 10, b); n != 3 {
			t.Fatalf("key %d: %d passed, want 3", i, n)
		}
	}
}
