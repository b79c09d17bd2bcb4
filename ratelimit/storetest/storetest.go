package storetest

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"postern/ratelimit"
)

// Bed is an empty store whose time is Clock's: it stands still until the test
// moves it, and may be set back.
type Bed struct {
	ratelimit.Store
	Clock *Clock
	// Once says that the store charges an Attempt once, however often it arrives.
	Once bool
	// Light says that less traffic will do, for a store whose calls take long.
	Light bool
	// Tick is what the store's clock resolves; moments within one are the same.
	Tick time.Duration
	// Drops reports whether the store's sample of distinct recipients would leave
	// a hash out at a time. Nil: nobody knows.
	Drops func(hash uint64, at time.Time) bool
}

// test is one promise of a store.
type test struct {
	name string
	f    func(*testing.T, Bed)
}

// decisions are the tests of Take and Refund alone.
var decisions = []test{
	{"no window ever holds more than its number", testHardCap},
	{"all budgets are charged or none", testAllOrNothing},
	{"refunds go to the place of the charge", testRefund},
	{"a shadow budget has no influence", testShadow},
	{"reserved room holds on random traffic", testReserveRandom},
	{"another number finds the same counts", testChangedNumber},
	{"the extremes of numbers and windows", testExtremes},
	{"a clock set back or forward", testClock},
	{"many recipients at once", testManyRecipients},
	{"sixty sessions at once", testParallel},
	{"the wait is right", testRetryAfter},
	{"near is told once", testNear},
	{"distinct recipients", testDistinct},
	{"a peek charges nothing", testPeek},
	{"messages are paid once", testPaid},
}

// others are what more a whole store promises.
var others = []test{
	{"a spread sender gets 98 %", testSpread},
	{"reserved room is exact", testReserve},
	{"the longest keys", testLongKeys},
	{"an attempt charges once", testAttempt},
	{"chosen recipients", testChosenRecipients},
	{"recipients chosen by what was answered", testAdaptiveRecipients},
	{"distinct recipients of an earlier release", testPlainRecipients},
	{"distinct recipients under another secret", testFormerRecipients},
	{"recipients that were sampled elsewhere", testSampledRecords},
	{"records", testRecord},
	{"raises", testAllowances},
	{"swapped allowances", testSwapAllowances},
	{"scan and reset", testScanReset},
}

// claims are what a Limiter keeps in a store beside the counts of limits.
var claims = []test{
	{"an automatic reply goes once to a recipient", testOnce},
	{"a report has the room of the null sender", testReport},
	{"rules of now hold at the gate", testRecheck},
	{"rules of now hold at RCPT", testNewRulesAtRcpt},
	{"a retry is free once", testRetry},
}

// Run holds a store to all that ratelimit.Store promises. open returns an empty
// store of its own for each test and registers its end with t.Cleanup. Tests that
// only make sense with the real clock, the real server or several nodes belong
// beside the store.
func Run(t *testing.T, open func(t *testing.T) Bed) {
	run(t, open, decisions)
	run(t, open, others)
}

// RunDecisions holds a store only to what Take and Refund promise: for one that
// stands in for another and does not keep everything.
func RunDecisions(t *testing.T, open func(t *testing.T) Bed) { run(t, open, decisions) }

// RunClaims holds a Limiter over a store to what it keeps there beside the counts:
// automatic replies, reports, retries, and charges under two sets of rules.
func RunClaims(t *testing.T, open func(t *testing.T) Bed) { run(t, open, claims) }

func run(t *testing.T, open func(t *testing.T) Bed, tests []test) {
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.f(t, open(t)) })
	}
}

var testAttempts atomic.Uint64

func NextAttempt() ratelimit.Attempt { return ratelimit.Attempt{Node: 1, Seq: testAttempts.Add(1)} }

// Win is a window without reserve.
func Win(u ratelimit.Unit, n int64, length time.Duration) ratelimit.Window {
	return ratelimit.Window{Unit: u, Max: n, Length: length}
}

func BudgetOf(limit, key string, windows ...ratelimit.Window) ratelimit.Budget {
	return ratelimit.Budget{Limit: limit, Key: []byte(key), Windows: windows}
}

// BatchOf touches all budgets with each request.
func BatchOf(requests []ratelimit.Request, budgets ...ratelimit.Budget) *ratelimit.Batch {
	b := &ratelimit.Batch{ID: NextAttempt(), Budgets: slices.Clone(budgets), Requests: requests}
	for i := range b.Requests {
		b.Requests[i].Refs = nil
		for j := range budgets {
			b.Requests[i].Refs = append(b.Requests[i].Refs, j)
		}
	}
	return b
}

// Answer is a request and what the store said to it.
type Answer struct {
	ratelimit.Request
	ratelimit.RequestResult
}

// One takes a single recipient from the budgets.
func (bed Bed) One(t *testing.T, budgets ...ratelimit.Budget) *Answer {
	t.Helper()
	return bed.Ask(t, ratelimit.Request{Recipients: 1}, budgets...)
}

// Ask takes q from all of the budgets.
func (bed Bed) Ask(t *testing.T, q ratelimit.Request, budgets ...ratelimit.Budget) *Answer {
	t.Helper()
	b := BatchOf([]ratelimit.Request{q}, budgets...)
	return &Answer{b.Requests[0], bed.Decide(t, b).Requests[0]}
}

// Decide is Take where the store does not fail.
func (bed Bed) Decide(t *testing.T, b *ratelimit.Batch) ratelimit.Result {
	t.Helper()
	r, err := bed.Take(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Fill takes single recipients until one is refused, n at most.
func (bed Bed) Fill(t *testing.T, n int, budgets ...ratelimit.Budget) (taken int) {
	t.Helper()
	for ; taken < n; taken++ {
		if !bed.One(t, budgets...).OK {
			break
		}
	}
	return taken
}

// Peek peeks at a budget without asking for anything.
func (bed Bed) Peek(t *testing.T, b ratelimit.Budget) []ratelimit.WindowResult {
	t.Helper()
	batch := BatchOf([]ratelimit.Request{{Recipients: 1}}, b)
	batch.Peek = true
	return bed.Decide(t, batch).Budgets[0].Windows
}

// Admission is one charge in the exact log that tests keep for themselves.
type Admission struct {
	At time.Time
	N  int64
}

type Admissions []Admission

// Within sums what was admitted less than length ago.
func (as Admissions) Within(now time.Time, length time.Duration) (sum int64, count int) {
	for i := len(as) - 1; i >= 0; i-- {
		if now.Sub(as[i].At) >= length {
			break
		}
		if as[i].N > 0 {
			sum, count = sum+as[i].N, count+1
		}
	}
	return sum, count
}

// testHardCap drives random traffic, and holds each verdict against an exact
// log: what was admitted had room among the charges of the last Length; what
// was refused had none among those of the last Length and a 64th.
func testHardCap(t *testing.T, bed Bed) {
	rnd := rand.New(rand.NewPCG(1, 2))
	lengths := []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour, 31 * 24 * time.Hour}
	for i, length := range lengths {
		for j, most := range []int64{1, 7, 80, 200} {
			if (bed.Once || bed.Light) && (i+j)%3 != 0 {
				continue // of Redis every call is a round trip
			}
			driveCap(t, bed, rnd, Win(ratelimit.Recipients, most, length), Win(ratelimit.Bytes, most*1000, 2*length/time.Second*time.Second))
			if t.Failed() {
				t.Fatalf("with %d in %s", most, length)
			}
		}
	}
}

func driveCap(t *testing.T, bed Bed, rnd *rand.Rand, windows ...ratelimit.Window) {
	key := "sender=" + time.Duration(rnd.Int64()).String()
	logs := make([]Admissions, len(windows))
	type kept struct {
		At    int64
		index int
	}
	var back []kept
	for range 200 + 2*windows[0].Max {
		// Bursts and pauses, now and then longer than the window.
		if rnd.IntN(3) > 0 {
			step := int64(windows[0].Length) / windows[0].Max
			bed.Clock.Add(time.Duration(rnd.Int64N(2*step + 1)).Truncate(bed.Tick))
		}
		now := bed.Clock.Now()
		q := bed.Ask(t, ratelimit.Request{Recipients: 1 + rnd.Int64N(1+windows[0].Max/50), Bytes: 1 + rnd.Int64N(3000)}, BudgetOf("l", key, windows...))
		amounts := []int64{q.Recipients, q.Bytes}
		room := true
		for i := range windows {
			sum, _ := logs[i].Within(now, windows[i].Length)
			if q.OK && sum+amounts[i] > windows[i].Max {
				t.Errorf("admitted %d with %d of %d used in %s", amounts[i], sum, windows[i].Max, windows[i].Length)
				return
			}
			// A log of few charges is exact, to two ticks of rounding.
			_, count := logs[i].Within(now, windows[i].Length+windows[i].Length/32)
			late := 20 * time.Millisecond
			if count > 64 {
				late += windows[i].Length / 64
			}
			sum, _ = logs[i].Within(now, windows[i].Length+late)
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
			logs[i] = append(logs[i], Admission{now, amounts[i]})
		}
		back = append(back, kept{q.Charges[0].At, len(logs[0]) - 1})
		if rnd.IntN(6) == 0 {
			k := back[rnd.IntN(len(back))]
			r := ratelimit.Return{Budget: BudgetOf("l", key, windows...), At: k.At, Recipients: logs[0][k.index].N, Bytes: logs[1][k.index].N}
			if err := bed.Refund(t.Context(), NextAttempt(), []ratelimit.Return{r}); err != nil {
				t.Fatal(err)
			}
			logs[0][k.index].N, logs[1][k.index].N = 0, 0
		}
	}
}

func testSpread(t *testing.T, bed Bed) {
	for _, w := range []ratelimit.Window{
		Win(ratelimit.Recipients, 10, time.Second), Win(ratelimit.Recipients, 60, time.Minute), Win(ratelimit.Recipients, 500, time.Hour),
		Win(ratelimit.Recipients, 77, 24*time.Hour), Win(ratelimit.Recipients, 300, 31*24*time.Hour),
	} {
		b := BudgetOf("spread "+w.Length.String(), "all", w)
		step := w.Length / time.Duration(w.Max)
		tried, passed := 0, 0
		for range 5 * w.Max {
			tried++
			if bed.One(t, b).OK {
				passed++
			}
			bed.Clock.Add(step)
		}
		if passed*100 < tried*98 {
			t.Errorf("%d/%s: a spread sender got %d of %d", w.Max, w.Length, passed, tried)
		}
	}
}

func testAllOrNothing(t *testing.T, bed Bed) {
	wide := BudgetOf("wide", "client=a", Win(ratelimit.Messages, 100, time.Hour), Win(ratelimit.Recipients, 100, time.Hour))
	narrow := BudgetOf("narrow", "sender=b", Win(ratelimit.Messages, 100, time.Hour), Win(ratelimit.Recipients, 3, time.Minute))
	if n := bed.Fill(t, 10, wide, narrow); n != 3 {
		t.Fatalf("%d passed, want 3", n)
	}
	for _, r := range bed.Peek(t, wide) {
		if r.Used != 3 {
			t.Errorf("the other budget has %d used, want 3: a refused request costs nothing", r.Used)
		}
	}
	if r := bed.Peek(t, narrow); r[0].Used != 3 || r[1].Used != 3 {
		t.Errorf("used %d messages and %d recipients, want 3 and 3", r[0].Used, r[1].Used)
	}
	q := bed.One(t, wide, narrow)
	if q.OK || q.Budget != 1 || q.Window != 1 || q.Charges[0].Made || q.Charges[1].Made {
		t.Errorf("refusal names budget %d window %d: %+v", q.Budget, q.Window, q.Charges)
	}
}

func testRefund(t *testing.T, bed Bed) {
	w := []ratelimit.Window{Win(ratelimit.Messages, 4, time.Hour), Win(ratelimit.Recipients, 4, time.Minute), Win(ratelimit.Bytes, 1000, time.Hour)}
	b := func() ratelimit.Budget { return BudgetOf("refund", "sender=a", w...) }
	first := bed.Ask(t, ratelimit.Request{Recipients: 2, Bytes: 400}, b())
	bed.Clock.Add(30 * time.Second)
	second := bed.Ask(t, ratelimit.Request{Recipients: 2, Bytes: 600}, b())
	if !first.OK || !second.OK || bed.One(t, b()).OK {
		t.Fatal("two of two recipients fill the window")
	}
	give := func(q *Answer, messages, recipients, bytes int64) {
		t.Helper()
		r := ratelimit.Return{Budget: b(), At: q.Charges[0].At, Messages: messages, Recipients: recipients, Bytes: bytes}
		if err := bed.Refund(t.Context(), NextAttempt(), []ratelimit.Return{r}); err != nil {
			t.Fatal(err)
		}
	}
	used := func(messages, recipients, bytes int64) {
		t.Helper()
		r := bed.Peek(t, b())
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
	bed.Clock.Add(31 * time.Second) // the first charge's minute is over
	give(first, 0, 1, 0)
	used(1, 2, 600)
	bed.Clock.Add(30 * time.Second) // the second's too
	give(second, 0, 2, 0)
	used(1, 0, 600)
}

func testShadow(t *testing.T, bed Bed) {
	real := BudgetOf("real", "all", Win(ratelimit.Recipients, 5, time.Hour))
	for _, order := range []string{"before", "after"} {
		shadow := BudgetOf("shadow "+order, "all", Win(ratelimit.Recipients, 2, time.Hour))
		shadow.Shadow = true
		if err := bed.Reset(t.Context(), "real", "all"); err != nil {
			t.Fatal(err)
		}
		budgets, at := []ratelimit.Budget{shadow, real}, 0
		if order == "after" {
			budgets, at = []ratelimit.Budget{real, shadow}, 1
		}
		for i := range 7 {
			said := bed.Decide(t, BatchOf([]ratelimit.Request{{Recipients: 1}}, budgets...))
			q, shadowed := said.Requests[0], said.Budgets[at].Windows[0].Refused
			if want := i < 5; q.OK != want || q.Charges[1-at].Made != want {
				t.Errorf("%s: request %d: %+v", order, i, q)
			}
			if want := i < 2; q.Charges[at].Made != want || shadowed == want {
				t.Errorf("%s: shadow at request %d: charged %v, refused %v", order, i, q.Charges[at].Made, shadowed)
			}
			if !q.OK && q.Budget == at {
				t.Errorf("%s: a shadow budget is named as the one that refused", order)
			}
		}
		if r := bed.Peek(t, shadow); r[0].Used != 2 {
			t.Errorf("%s: shadow has %d used, want 2 as if it were enforced", order, r[0].Used)
		}
	}
}
