package ratelimit

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"
)

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
