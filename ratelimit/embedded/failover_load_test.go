package embedded

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/ratelimit"
	"postern/ratelimit/storetest"
)

// While decisions go on in parallel, the way back loses no charge and passes
// no more than the number.
func TestFailoverComesBackUnderLoad(t *testing.T) {
	rig := newFailoverRig(1)
	const most = 3000
	w := storetest.Win(ratelimit.Recipients, most, time.Hour)
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 600 {
				b := storetest.BatchOf([]ratelimit.Request{{Recipients: 1}}, storetest.BudgetOf("sender", "all", w))
				said, err := rig.f.Take(context.Background(), b)
				if err != nil {
					t.Error(err)
					return
				}
				if said.Requests[0].OK {
					passed.Add(1)
				}
			}
		})
	}
	for i := range 30 {
		rig.shared.set([]fault{away, healthy, lostReply}[i%3])
		rig.recover()
	}
	wg.Wait()
	rig.shared.set(healthy)
	rig.recover()
	// What calls without a reply had charged is free again by now; the last
	// sessions may have met it still taken.
	for rig.One(t, storetest.BudgetOf("sender", "all", w)).OK {
		passed.Add(1)
	}
	if passed.Load() != most {
		t.Errorf("%d passed, want %d", passed.Load(), most)
	}
	if used := rig.used(t, storetest.BudgetOf("sender", "all", w)); used != most {
		t.Errorf("the shared store has %d, want %d", used, most)
	}
}

// slowReply charges the first Take and answers only when told to; the next one
// fails.
type slowReply struct {
	*faulty
	calls           atomic.Int64
	charged, answer chan struct{}
}

func (s *slowReply) Take(ctx context.Context, b *ratelimit.Batch) (ratelimit.Result, error) {
	if s.calls.Add(1) > 1 {
		return ratelimit.Result{}, errAway
	}
	said, err := s.faulty.Take(ctx, b)
	close(s.charged)
	<-s.answer
	return said, err
}

// A call that is still under way when another fails may have charged the store:
// the first decision made here must know of it.
func TestFailoverWaitsForCallsUnderWay(t *testing.T) {
	rig := newFailoverRig(1)
	slow := &slowReply{faulty: rig.shared, charged: make(chan struct{}), answer: make(chan struct{})}
	rig.f.shared = slow
	b := func() ratelimit.Budget {
		return storetest.BudgetOf("sender", "all", storetest.Win(ratelimit.Recipients, 1, time.Hour))
	}
	var first *storetest.Answer
	second := make(chan *storetest.Answer, 1)
	var wg sync.WaitGroup
	wg.Go(func() { first = rig.One(t, b()) })
	<-slow.charged
	wg.Go(func() { second <- rig.One(t, b()) })
	// Until it waits for the first one, or has not waited.
	for len(second) == 0 && rig.f.asking.TryRLock() {
		rig.f.asking.RUnlock()
		runtime.Gosched()
	}
	close(slow.answer)
	wg.Wait()
	if !first.OK {
		t.Error("the first one was refused")
	}
	if (<-second).OK {
		t.Error("two passed, want one")
	}
}

// What is owed goes out in few calls, however many keys it is of: decisions wait
// for the last one.
func TestFailoverSettlesInFewCalls(t *testing.T) {
	rig := newFailoverRig(1)
	b := func(i int) ratelimit.Budget {
		return storetest.BudgetOf("sender", fmt.Sprintf("sender=%d", i), storetest.Win(ratelimit.Recipients, 10, time.Hour))
	}
	for i := range 3000 {
		rig.One(t, b(i))
	}
	rig.shared.set(away)
	for i := range 1000 {
		rig.One(t, b(i))
	}
	rig.shared.set(healthy)
	before := rig.shared.calls
	rig.recover()
	if n := rig.shared.calls - before; rig.f.Down() || n > 1000/recordsAt+6 {
		t.Errorf("%d calls, down %v", n, rig.f.Down())
	}
	for i := range 1000 {
		if used := rig.used(t, b(i)); used != 2 {
			t.Fatalf("key %d has %d, want 2", i, used)
		}
	}
	for i := range rig.f.local.shards {
		if n := len(rig.f.local.shards[i].owing); n > 0 {
			t.Errorf("%d records of shard %d still count as owing", n, i)
		}
	}
}

// The list of what is owed stays in bounds while keys come and go.
func TestFailoverListOfOwedIsBounded(t *testing.T) {
	rig := newFailoverRig(1)
	rig.shared.set(away)
	w := []ratelimit.Window{storetest.Win(ratelimit.Messages, 100, time.Second)}
	for range 12 {
		flood(t, rig.f.local, 0, 100_000, w, true)
		rig.Clock.Add(2 * time.Second)
	}
	sh := &rig.f.local.shards[0]
	if len(sh.owing) > 2*int(sh.next)+1001 {
		t.Errorf("%d entries for %d records", len(sh.owing), sh.next)
	}
}
