package embedded

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"postern/mail"
	"postern/ratelimit"
	"postern/ratelimit/storetest"
)

// A Failover whose store is well is as good as the store.
func TestFailoverStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Bed {
		rig := newFailoverRig(1)
		rig.Tick, rig.Light = 1, true
		return rig.Bed
	})
}

// And one whose store was never there, for a single node.
func TestFailoverStoreAway(t *testing.T) {
	storetest.RunDecisions(t, func(*testing.T) storetest.Bed {
		rig := newFailoverRig(1)
		rig.Tick, rig.Light = 1, true
		rig.shared.set(away)
		return rig.Bed
	})
}

func TestFailoverGoesOnFromWhatItKnew(t *testing.T) {
	for _, test := range []struct{ nodes, before, want int }{{1, 4, 6}, {1, 0, 10}, {2, 4, 3}, {3, 0, 3}, {100, 0, 1}, {2, 10, 0}} {
		rig := newFailoverRig(test.nodes)
		b := func() ratelimit.Budget {
			return storetest.BudgetOf("sender", "all", storetest.Win(ratelimit.Recipients, 10, time.Hour))
		}
		rig.Fill(t, test.before, b())
		rig.Clock.Add(10 * time.Minute)
		rig.shared.set(away)
		if n := rig.Fill(t, 100, b()); n != test.want {
			t.Errorf("%d nodes, %d used before: %d passed, want %d", test.nodes, test.before, n, test.want)
		}
		if q := rig.One(t, b()); q.OK || q.RetryAfter > time.Hour+time.Second {
			t.Errorf("%d nodes: %+v", test.nodes, *q)
		}
		// What was known counts until its hour is over.
		rig.Clock.Add(50*time.Minute + time.Second)
		if test.before > 0 && !rig.One(t, b()).OK {
			t.Errorf("%d nodes: what was known does not end", test.nodes)
		}
	}
}

func TestFailoverBringsBackWhatWasAdmitted(t *testing.T) {
	rig := newFailoverRig(1)
	hour := func() ratelimit.Budget {
		return storetest.BudgetOf("sender", "all", storetest.Win(ratelimit.Recipients, 10, time.Hour))
	}
	admit := func() ratelimit.Budget {
		b := storetest.BudgetOf("admitted", "all", storetest.Win(ratelimit.Recipients, 3, time.Hour))
		b.OnFailure = ratelimit.FailAdmit
		return b
	}
	deferred := func() ratelimit.Budget {
		b := storetest.BudgetOf("deferred", "all", storetest.Win(ratelimit.Recipients, 10, time.Hour))
		b.OnFailure = ratelimit.FailDefer
		return b
	}
	rig.Fill(t, 4, hour())
	rig.shared.set(away)
	if n := rig.Fill(t, 100, hour()); n != 6 {
		t.Fatalf("local: %d", n)
	}
	if n := rig.Fill(t, 8, admit()); n != 8 {
		t.Errorf("admit: %d of 8 passed", n)
	}
	q := rig.One(t, admit(), deferred())
	if q.OK || !q.Down || q.Budget != 1 {
		t.Errorf("defer: %+v", *q)
	}
	shadow := deferred()
	shadow.Shadow = true
	if q := rig.One(t, admit(), shadow); !q.OK {
		t.Errorf("a shadow limit deferred: %+v", *q)
	}
	rig.recover()
	if len(rig.changes) != 0 {
		t.Errorf("told of an outage of milliseconds: %+v", rig.changes)
	}
	rig.pass(tellAfter)
	rig.recover()
	rig.recover()
	if !rig.f.Down() || len(rig.changes) != 1 || !rig.changes[0].Down || !errors.Is(rig.changes[0].Err, errAway) {
		t.Fatalf("changes: %+v", rig.changes)
	}
	calls := rig.shared.calls
	rig.One(t, admit())
	if rig.shared.calls != calls {
		t.Error("the breaker still asks")
	}
	rig.Clock.Add(10 * time.Minute)
	rig.recover()
	if !rig.f.Down() {
		t.Fatal("back although the store is away")
	}
	rig.shared.set(healthy)
	rig.recover()
	if rig.f.Down() || len(rig.changes) != 2 || rig.changes[1].Down || rig.changes[1].Added == 0 {
		t.Fatalf("changes: %+v", rig.changes)
	}
	for _, w := range []struct {
		b    ratelimit.Budget
		want int64
	}{{hour(), 10}, {admit(), 10}, {deferred(), 1}} {
		if used := rig.used(t, w.b); used != w.want {
			t.Errorf("%s: the shared store has %d, want %d", w.b.Limit, used, w.want)
		}
	}
	if rig.One(t, hour()).OK {
		t.Error("full, yet another passed after the recovery")
	}
	// The charges keep their age.
	rig.Clock.Add(50*time.Minute + time.Second)
	if n := rig.Fill(t, 100, hour()); n != 10 {
		t.Errorf("%d passed an hour after the outage, want 10", n)
	}
}

func TestFailoverBoundsTheWait(t *testing.T) {
	rig := newFailoverRig(1)
	b := storetest.BudgetOf("sender", "all", storetest.Win(ratelimit.Recipients, 10, time.Hour))
	rig.One(t, b)
	if d := rig.shared.deadline; d <= 0 || d > decideWithin {
		t.Errorf("the shared store has %s to answer", d)
	}
	rig.shared.set(hanging)
	calls := rig.shared.calls
	for range 3 {
		if !rig.One(t, b).OK {
			t.Error("refused while the store hangs")
		}
	}
	if n := rig.shared.calls - calls; n != 1 {
		t.Errorf("a store that hangs was asked %d times", n)
	}
}

// A lost reply is charged once, whichever way it went.
func TestFailoverUndoesLostReplies(t *testing.T) {
	rig := newFailoverRig(1)
	b := func() ratelimit.Budget {
		return storetest.BudgetOf("sender", "all", storetest.Win(ratelimit.Recipients, 10, time.Hour), storetest.Win(ratelimit.Messages, 10, time.Hour))
	}
	rig.shared.set(lostReply)
	first := rig.One(t, b())
	if !first.OK || first.Charges[0].At >= 0 || !first.Charges[0].Message {
		t.Fatalf("%+v", *first)
	}
	rig.shared.set(healthy)
	rig.recover()
	if used := rig.used(t, b()); used != 1 {
		t.Errorf("the shared store has %d, want 1", used)
	}
	if n := rig.Fill(t, 100, b()); n != 9 {
		t.Errorf("%d more passed, want 9", n)
	}
}

func TestFailoverKeepsRefundsForTheStore(t *testing.T) {
	rig := newFailoverRig(1)
	b := func() ratelimit.Budget {
		return storetest.BudgetOf("sender", "all", storetest.Win(ratelimit.Recipients, 10, time.Hour))
	}
	give := func(q *storetest.Answer) {
		t.Helper()
		if err := rig.Refund(t.Context(), storetest.NextAttempt(), []ratelimit.Return{{Budget: b(), At: q.Charges[0].At, Recipients: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	there := rig.One(t, b())
	rig.Clock.Add(time.Second)
	rig.One(t, b())
	rig.shared.set(away)
	here := rig.One(t, b())
	rig.Clock.Add(time.Second)
	rig.One(t, b())
	give(there)
	give(here)
	rig.shared.set(lostReply)
	rig.recover()
	rig.shared.set(healthy)
	rig.recover()
	if used := rig.used(t, b()); used != 2 {
		t.Errorf("the shared store has %d, want 2", used)
	}
}

func TestFailoverDistinctRecipients(t *testing.T) {
	rig := newFailoverRig(1)
	b := func() ratelimit.Budget {
		return storetest.BudgetOf("distinct", "all", storetest.Win(ratelimit.DistinctRecipients, 4, time.Hour))
	}
	ask := func(name string) bool {
		t.Helper()
		ok := rig.Ask(t, ratelimit.Request{Recipients: 1, Distinct: storetest.HashRecipient(mail.RecipientID(name))}, b()).OK
		rig.Clock.Add(time.Second)
		return ok
	}
	ask("a")
	ask("b")
	rig.shared.set(away)
	for i, want := range []bool{true, true, true, true, false} {
		if ok := ask(string("acbdf"[i])); ok != want {
			t.Errorf("recipient %c: %v", "acbdf"[i], ok)
		}
	}
	if q := rig.Ask(t, ratelimit.Request{Recipients: 1, Distinct: storetest.HashRecipient("z")}, b()); q.RetryAfter <= 0 || q.RetryAfter > time.Hour {
		t.Errorf("wait %s", q.RetryAfter)
	}
	rig.shared.set(healthy)
	rig.recover()
	if used := rig.used(t, b()); used != 4 {
		t.Errorf("the shared store has %d distinct, want 4", used)
	}
}

// TestFailoverNeverPassesMore drives random traffic of one node through a store
// that fails at any call in any way: the cap holds throughout, and in the end
// the shared store has what was admitted.
func TestFailoverNeverPassesMore(t *testing.T) {
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		rig := newFailoverRig(1)
		w := []ratelimit.Window{storetest.Win(ratelimit.Recipients, 40, time.Hour), storetest.Win(ratelimit.Recipients, 12, 5*time.Minute)}
		b := func() ratelimit.Budget { return storetest.BudgetOf("sender", "all", w...) }
		var log storetest.Admissions
		for i := range 1500 {
			rig.Clock.Add(time.Duration(rnd.Int64N(int64(40 * time.Second))).Truncate(time.Millisecond))
			if rnd.IntN(15) == 0 {
				rig.shared.set(fault(rnd.IntN(3)))
			}
			if rnd.IntN(10) == 0 {
				rig.recover()
			}
			q := rig.One(t, b())
			if !q.OK {
				continue
			}
			for _, w := range w {
				if sum, _ := log.Within(rig.Clock.Now(), w.Length); sum+1 > w.Max {
					t.Fatalf("seed %d, step %d: admitted with %d of %d in %s", seed, i, sum, w.Max, w.Length)
				}
			}
			log = append(log, storetest.Admission{At: rig.Clock.Now(), N: 1})
			if rnd.IntN(5) == 0 {
				if err := rig.Refund(t.Context(), storetest.NextAttempt(), []ratelimit.Return{{Budget: b(), At: q.Charges[0].At, Recipients: 1}}); err != nil {
					t.Fatal(err)
				}
				log[len(log)-1].N = 0
			}
		}
		rig.shared.set(healthy)
		rig.recover()
		sum, _ := log.Within(rig.Clock.Now(), time.Hour)
		late, _ := log.Within(rig.Clock.Now(), time.Hour+time.Minute)
		if used := rig.used(t, b()); used < sum || used > late {
			t.Errorf("seed %d: the shared store has %d, want %d to %d", seed, used, sum, late)
		}
	}
}

// A node that is restarted during an outage goes on where it was.
func TestFailoverSurvivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits")
	rig := newFailoverRig(2)
	b := func() ratelimit.Budget {
		return storetest.BudgetOf("sender", "all", storetest.Win(ratelimit.Recipients, 10, time.Hour))
	}
	rig.Fill(t, 2, b())
	rig.shared.set(away)
	if n := rig.Fill(t, 100, b()); n != 4 {
		t.Fatalf("%d passed, want 4", n)
	}
	if err := rig.f.local.Save(path); err != nil {
		t.Fatal(err)
	}
	rig.f.local = New(Config{Memory: 16 << 20}, rig.Clock.Now)
	if err := rig.f.local.Load(path); err != nil {
		t.Fatal(err)
	}
	rig.f.local.trackOwed()
	if rig.One(t, b()).OK {
		t.Error("more passed after the restart")
	}
	rig.shared.set(healthy)
	rig.recover()
	if used := rig.used(t, b()); used != 6 {
		t.Errorf("the shared store has %d, want 6", used)
	}
}

func TestFailoverRunRecoversAndEnds(t *testing.T) {
	rig := newFailoverRig(1)
	back := make(chan StoreChange, 1)
	rig.f.notify = func(c StoreChange) {
		if !c.Down {
			back <- c
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	rig.shared.set(away)
	rig.Fill(t, 5, storetest.BudgetOf("sender", "all", storetest.Win(ratelimit.Recipients, 10, time.Hour)))
	rig.pass(tellAfter)
	rig.recover()
	rig.shared.set(healthy)
	go func() {
		defer close(done)
		rig.f.Run(ctx)
	}()
	if c := <-back; c.Added == 0 {
		t.Errorf("%+v", c)
	}
	cancel()
	<-done
}

// A store that answers pings and fails decisions is left alone for longer each
// time, and is told of.
func TestFailoverBacksOff(t *testing.T) {
	rig := newFailoverRig(1)
	b := storetest.BudgetOf("sender", "all", storetest.Win(ratelimit.Recipients, 1000, time.Hour))
	var last time.Duration
	for range 8 {
		rig.shared.set(away)
		rig.One(t, b)
		rig.shared.set(healthy)
		hold := time.Until(rig.f.hold)
		if hold < last && hold < maxBackoff-time.Second {
			t.Errorf("held back for %s after %s", hold, last)
		}
		last = hold
		if hold > 0 {
			rig.f.recover(t.Context(), rig.settler)
			if !rig.f.Down() {
				t.Error("probed before its time")
			}
		}
		rig.recover()
	}
	if last < maxBackoff/2 || last > maxBackoff {
		t.Errorf("held back for %s in the end", last)
	}
	if len(rig.changes) == 0 || !rig.changes[0].Down {
		t.Errorf("nobody was told: %+v", rig.changes)
	}
	// After a quiet time it is trusted as before.
	rig.f.back = rig.f.back.Add(-time.Minute)
	rig.shared.set(away)
	rig.One(t, b)
	if time.Until(rig.f.hold) > 0 {
		t.Error("held back after a quiet time")
	}
}

// A shared store that comes back without its counts gets them back from the
// nodes, as far as they know.
func TestFailoverGivesBackWhatTheStoreLost(t *testing.T) {
	rig := newFailoverRig(1)
	w := []ratelimit.Window{storetest.Win(ratelimit.Recipients, 10, time.Hour), storetest.Win(ratelimit.DistinctRecipients, 5, time.Hour)}
	b := func() ratelimit.Budget { return storetest.BudgetOf("sender", "all", w...) }
	ask := func(i int) bool {
		return rig.Ask(t, ratelimit.Request{Recipients: 1, Distinct: storetest.HashRecipient(mail.RecipientID(fmt.Sprint(i % 4)))}, b()).OK
	}
	for i := range 7 {
		if !ask(i) {
			t.Fatal(i)
		}
	}
	for range 2 {
		rig.Clock.Add(10 * time.Minute)
		rig.shared.set(away)
		ask(0) // the node sees that the store is away
		rig.shared.Store = New(Config{Memory: 16 << 20}, rig.Clock.Now)
		rig.shared.set(healthy)
		rig.recover()
		if r := (storetest.Bed{Store: rig.shared.Store}).Peek(t, b()); rig.f.Down() || r[0].Used < 8 || r[1].Used != 4 {
			t.Fatalf("the shared store has %+v, want 8 and 4", r)
		}
	}
	if n := rig.Fill(t, 100, b()); n != 1 {
		t.Errorf("%d more passed, want 1 of 10", n)
	}
	if allowances, err := rig.f.Allowances(t.Context()); err != nil || len(allowances) != 0 {
		t.Errorf("marks are listed as allowances: %+v, %v", allowances, err)
	}
	if len(rig.changes) != 4 || !errors.Is(rig.changes[0].Err, errEmptied) || rig.changes[3].Added == 0 {
		t.Errorf("told %+v", rig.changes)
	}
	// An idle node finds out by itself.
	rig.shared.Store = New(Config{Memory: 16 << 20}, rig.Clock.Now)
	if err := rig.f.refresh(t.Context()); err != nil || !rig.f.Down() {
		t.Errorf("an empty store was not noticed: %v", err)
	}
	rig.recover()
	if used := rig.used(t, b()); used != 10 {
		t.Errorf("the shared store has %d, want 10", used)
	}
	// A busy one at its first decision, though no call failed.
	rig.shared.Store = New(Config{Memory: 16 << 20}, rig.Clock.Now)
	if rig.One(t, b()).OK {
		t.Error("an empty store let one more pass")
	}
	rig.recover()
	if used := rig.used(t, b()); used != 10 {
		t.Errorf("the shared store has %d, want 10", used)
	}
	// What was never lost is never added twice.
	for range 3 {
		if err := rig.f.refresh(t.Context()); err != nil || rig.f.Down() {
			t.Error(err)
		}
		rig.f.failed(errAway)
		rig.recover()
	}
	if used := rig.used(t, b()); used != 10 {
		t.Errorf("the shared store has %d, want 10", used)
	}
}
