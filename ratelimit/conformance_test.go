package ratelimit

import (
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
		{"chosen recipients", testChosenRecipients},
		{"recipients chosen by what was answered", testAdaptiveRecipients},
		{"distinct recipients of an earlier release", testPlainRecipients},
		{"distinct recipients under another secret", testFormerRecipients},
		{"recipients that were sampled elsewhere", testSampledRecords},
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
