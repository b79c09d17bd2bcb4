package storetest

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"postern/ratelimit"
)

func Reserved(n int64, length time.Duration, kept ...ratelimit.Reserve) ratelimit.Window {
	return ratelimit.Window{Unit: ratelimit.Recipients, Max: n, Length: length, Reserve: kept}
}

func testReserve(t *testing.T, bed Bed) {
	w := Reserved(100, time.Hour, ratelimit.Reserve{Share: "transactional", Min: 20}, ratelimit.Reserve{Share: "corporate", Min: 10})
	b := func(share string) ratelimit.Budget {
		b := BudgetOf("shared", "all", w)
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
		if n := bed.Fill(t, 200, b(step.share)); n != step.want {
			t.Errorf("share %q got %d, want %d", step.share, n, step.want)
		}
	}
	if r := bed.Peek(t, b("")); r[0].Used != 70 || r[0].Max != 70 {
		t.Errorf("share \"\" sees %d of %d, want 70 of 70", r[0].Used, r[0].Max)
	}
	bed.Clock.Add(time.Hour + time.Hour/64 + time.Second)
	// A share may take what is open beyond its own.
	if n := bed.Fill(t, 200, b("transactional")); n != 90 {
		t.Errorf("transactional got %d of an empty window, want 90", n)
	}
	if n := bed.Fill(t, 200, b("")); n != 0 {
		t.Errorf("the open part was taken, yet %d more passed", n)
	}
	if n := bed.Fill(t, 200, b("corporate")); n != 10 {
		t.Errorf("corporate got %d, want its 10", n)
	}
}

// testReserveRandom holds verdicts against the arithmetic at Reserve.
func testReserveRandom(t *testing.T, bed Bed) {
	rnd := rand.New(rand.NewPCG(3, 4))
	w := Reserved(60, time.Hour, ratelimit.Reserve{Share: "a", Min: 15}, ratelimit.Reserve{Share: "b", Min: 20})
	shares := []string{"", "a", "b"}
	mins := map[string]int64{"a": 15, "b": 20}
	open := w.Max - 15 - 20
	logs := map[string]Admissions{}
	fits := func(share string, n int64, late time.Duration) bool {
		used, all := map[string]int64{}, int64(0)
		for s, log := range logs {
			used[s], _ = log.Within(bed.Clock.Now(), w.Length+late)
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
		bed.Clock.Add(time.Duration(rnd.Int64N(int64(2 * time.Minute))).Truncate(time.Millisecond))
		share := shares[rnd.IntN(3)]
		b := BudgetOf("random", "all", w)
		b.Share = share
		n := 1 + rnd.Int64N(4)
		q := bed.Ask(t, ratelimit.Request{Recipients: n}, b)
		if q.OK != fits(share, n, 0) && q.OK != fits(share, n, 20*time.Millisecond) {
			t.Fatalf("request %d: %d of share %q: got %v", i, n, share, q.OK)
		}
		if q.OK {
			logs[share] = append(logs[share], Admission{bed.Clock.Now(), n})
			continue
		}
		if i%10 == 0 && !q.Never {
			bed.Clock.Add(q.RetryAfter)
			if q = bed.Ask(t, ratelimit.Request{Recipients: n}, b); !q.OK {
				t.Fatalf("request %d: still refused after its wait", i)
			}
			logs[share] = append(logs[share], Admission{bed.Clock.Now(), n})
		}
	}
}

func testChangedNumber(t *testing.T, bed Bed) {
	with := func(n int64) ratelimit.Budget {
		return BudgetOf("sender", "sender=a", Win(ratelimit.Messages, n, time.Hour))
	}
	for _, step := range []struct{ max, want int }{{500, 500}, {600, 100}, {550, 0}, {601, 1}, {0, 0}, {602, 1}} {
		if n := bed.Fill(t, 1000, with(int64(step.max))); n != step.want {
			t.Errorf("at %d: %d passed, want %d", step.max, n, step.want)
		}
	}
	if r := bed.Peek(t, with(500)); r[0].Used != 602 || r[0].Max != 500 {
		t.Errorf("lowered number: %d of %d used, want 602 of 500", r[0].Used, r[0].Max)
	}
	// A window that joins later counts from then on, and one that leaves is
	// found again when it comes back.
	both := BudgetOf("sender", "sender=a", Win(ratelimit.Messages, 5, time.Minute), Win(ratelimit.Messages, 700, time.Hour))
	if n := bed.Fill(t, 100, both); n != 5 {
		t.Errorf("new window of a minute: %d passed, want 5", n)
	}
	bed.Clock.Add(30 * time.Second)
	if !bed.One(t, with(700)).OK || bed.One(t, both).OK {
		t.Error("a window that was not asked for a while has forgotten its charges")
	}
}

func testExtremes(t *testing.T, bed Bed) {
	zero := BudgetOf("zero", "all", Win(ratelimit.Messages, 0, time.Hour))
	q := bed.One(t, zero)
	if q.OK || !q.Never || q.RetryAfter != time.Hour {
		t.Errorf("0/1h: %+v", *q)
	}
	if !bed.Ask(t, ratelimit.Request{Bytes: 10}, zero).OK {
		t.Error("0 messages refused a body, which costs no message")
	}
	fast := BudgetOf("fast", "all", Win(ratelimit.Recipients, 1_000_000, time.Second))
	if q := bed.Ask(t, ratelimit.Request{Recipients: 999_999}, fast); !q.OK {
		t.Errorf("1000000/1s: %+v", *q)
	}
	if !bed.One(t, fast).OK || bed.One(t, fast).OK {
		t.Error("1000000/1s: the millionth fits and the next does not")
	}
	bed.Clock.Add(time.Second)
	if q := bed.Ask(t, ratelimit.Request{Recipients: 1_000_000}, fast); !q.OK {
		t.Errorf("1000000/1s a second later: %+v", *q)
	}
	if q := bed.Ask(t, ratelimit.Request{Recipients: 1_000_001}, fast); q.OK || !q.Never {
		t.Errorf("more than the whole window: %+v", *q)
	}
	large := BudgetOf("large", "all", Win(ratelimit.Bytes, ratelimit.MaxNumber, ratelimit.MaxWindow))
	if !bed.Ask(t, ratelimit.Request{Bytes: ratelimit.MaxNumber}, large).OK || bed.Ask(t, ratelimit.Request{Bytes: 1}, large).OK {
		t.Error("the largest number holds exactly")
	}
	bed.Clock.Add(ratelimit.MaxWindow + 20*time.Millisecond)
	if !bed.Ask(t, ratelimit.Request{Bytes: ratelimit.MaxNumber}, large).OK {
		t.Error("the largest window does not end")
	}
	long := BudgetOf("long", "all", Win(ratelimit.Messages, 1, ratelimit.MaxPeriod))
	if !bed.One(t, long).OK || bed.One(t, long).OK {
		t.Error("the longest period holds one")
	}
	bed.Clock.Add(ratelimit.MaxPeriod - time.Hour)
	if bed.One(t, long).OK {
		t.Error("the longest period ends early")
	}
	bed.Clock.Add(time.Hour + time.Minute)
	if !bed.One(t, long).OK {
		t.Error("the longest period does not end")
	}
}

func testClock(t *testing.T, bed Bed) {
	b := BudgetOf("clock", "all", Win(ratelimit.Recipients, 10, time.Hour))
	if n := bed.Fill(t, 100, b); n != 10 {
		t.Fatalf("%d passed, want 10", n)
	}
	bed.Clock.Add(-time.Hour)
	q := bed.One(t, b)
	if q.OK {
		t.Error("a clock set back by an hour forgot the charges")
	}
	if q.RetryAfter > time.Hour {
		t.Errorf("refused for %s, longer than the window", q.RetryAfter)
	}
	bed.Clock.Add(time.Hour + time.Minute)
	if !bed.One(t, b).OK {
		t.Error("still refused an hour after the clock was set back")
	}
	// Forward: the hour has passed as far as anyone can know; nothing is refused
	// for longer than the window and the cap holds from there.
	if err := bed.Reset(t.Context(), "clock", "all"); err != nil {
		t.Fatal(err)
	}
	if n := bed.Fill(t, 100, b); n != 10 {
		t.Fatalf("%d passed, want 10", n)
	}
	bed.Clock.Add(time.Hour)
	if n := bed.Fill(t, 100, b); n > 10 {
		t.Errorf("%d passed after the clock was set forward, want at most 10", n)
	}
	bed.Clock.Add(-time.Hour)
	if bed.One(t, b).OK {
		t.Error("a clock set forward and back let more pass")
	}
}

func testManyRecipients(t *testing.T, bed Bed) {
	b := BatchOf(make([]ratelimit.Request, 500), BudgetOf("many", "sender=new", Win(ratelimit.Recipients, 20, time.Hour), Win(ratelimit.Messages, 5, time.Hour)))
	for i := range b.Requests {
		b.Requests[i].Recipients = 1
	}
	said := bed.Decide(t, b)
	passed := 0
	for i := range b.Requests {
		if said.Requests[i].OK {
			passed++
		}
	}
	r := said.Budgets[0].Windows
	if passed != 20 || r[0].Used != 20 || r[1].Used != 1 || !said.Requests[19].OK {
		t.Errorf("%d recipients of the first message passed, used %+v; want the first 20 and one message", passed, r)
	}
}

func testParallel(t *testing.T, bed Bed) {
	var passed atomic.Int64
	done := make(chan error)
	const sessions, each, most = 60, 30, 700
	for range sessions {
		go func() {
			for range each {
				b := BatchOf([]ratelimit.Request{{Recipients: 1}},
					BudgetOf("p sender", "sender=a", Win(ratelimit.Recipients, most, time.Hour)),
					BudgetOf("p client", "client=c", Win(ratelimit.Messages, 2*most, time.Hour)))
				said, err := bed.Take(context.Background(), b)
				if err != nil {
					done <- err
					return
				}
				if said.Requests[0].OK {
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
	if r := bed.Peek(t, BudgetOf("p client", "client=c", Win(ratelimit.Messages, 2*most, time.Hour))); r[0].Used != most {
		t.Errorf("the wide budget has %d, want %d", r[0].Used, most)
	}
}

func testAttempt(t *testing.T, bed Bed) {
	if !bed.Once {
		return // it cannot lose a reply
	}
	b := func() ratelimit.Budget { return BudgetOf("attempt", "all", Win(ratelimit.Recipients, 10, time.Hour)) }
	first := BatchOf([]ratelimit.Request{{Recipients: 1}}, b())
	again := BatchOf([]ratelimit.Request{{Recipients: 1}}, b())
	again.ID = first.ID
	var said ratelimit.Result
	for _, batch := range []*ratelimit.Batch{first, again, again} {
		said = bed.Decide(t, batch)
	}
	if r := bed.Peek(t, b()); r[0].Used != 1 {
		t.Errorf("the same attempt was charged %d times", r[0].Used)
	}
	if !said.Requests[0].OK {
		t.Error("an attempt that was charged is refused when it comes again")
	}
	for range 2 {
		if err := bed.Undo(t.Context(), first); err != nil {
			t.Fatal(err)
		}
	}
	if r := bed.Peek(t, b()); r[0].Used != 0 {
		t.Errorf("%d used after the attempt was undone", r[0].Used)
	}
	if n := bed.Fill(t, 100, b()); n != 10 {
		t.Errorf("%d passed afterwards, want 10", n)
	}
	q := bed.One(t, b())
	if q.OK {
		t.Fatal("full")
	}
	refund := NextAttempt()
	ok := BatchOf([]ratelimit.Request{{Recipients: 2}}, BudgetOf("attempt 2", "all", Win(ratelimit.Recipients, 10, time.Hour)))
	said = bed.Decide(t, ok)
	for range 2 {
		r := ratelimit.Return{Budget: BudgetOf("attempt 2", "all", Win(ratelimit.Recipients, 10, time.Hour)), At: said.Requests[0].Charges[0].At, Recipients: 1}
		if err := bed.Refund(t.Context(), refund, []ratelimit.Return{r}); err != nil {
			t.Fatal(err)
		}
	}
	if r := bed.Peek(t, BudgetOf("attempt 2", "all", Win(ratelimit.Recipients, 10, time.Hour))); r[0].Used != 1 {
		t.Errorf("a refund that came twice left %d used, want 1", r[0].Used)
	}
}

// testRetryAfter waits as told and gets in, and not a second earlier.
func testRetryAfter(t *testing.T, bed Bed) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for i := range 60 {
		w := []ratelimit.Window{Win(ratelimit.Recipients, 10+rnd.Int64N(150), time.Hour), Win(ratelimit.Recipients, 30, 10*time.Minute), Win(ratelimit.Bytes, 9000, 2*time.Hour)}
		b := func() ratelimit.Budget { return BudgetOf("retry", "sender="+time.Duration(i).String(), w...) }
		ask := ratelimit.Request{Recipients: 1 + rnd.Int64N(8), Bytes: rnd.Int64N(2000)}
		for range 2000 {
			q := bed.Ask(t, ask, b())
			if q.OK {
				bed.Clock.Add(time.Duration(rnd.Int64N(int64(20 * time.Second))))
				continue
			}
			if q.RetryAfter <= 0 || q.RetryAfter > 2*time.Hour+2*time.Hour/64 {
				t.Fatalf("wait of %s", q.RetryAfter)
			}
			if q.RetryAfter > time.Second {
				bed.Clock.Add(q.RetryAfter - time.Second)
				if bed.Ask(t, ask, b()).OK {
					t.Fatal("got in before the time that it was told")
				}
				bed.Clock.Add(time.Second)
			} else {
				bed.Clock.Add(q.RetryAfter)
			}
			if q = bed.Ask(t, ask, b()); !q.OK {
				t.Fatalf("refused after the wait, for another %s", q.RetryAfter)
			}
			break
		}
	}
}
