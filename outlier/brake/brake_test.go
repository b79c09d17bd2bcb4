package brake

import (
	"fmt"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// take asks, and goes where it may.
func take(b *Book[string], at time.Time, who string, n int) time.Duration {
	wait := b.Wait(at, who, n)
	if wait == 0 {
		b.Take(who, n)
	}
	return wait
}

// TestFiveAnHour: the first one after twelve minutes, then one each twelve minutes,
// whatever is asked between; what was not used is kept for an hour and not longer.
func TestFiveAnHour(t *testing.T) {
	b := NewBook[string]()
	at, out := start, 0
	for range 24 * 60 {
		if take(b, at, "a", 1) == 0 {
			out++
		}
		at = at.Add(time.Minute)
	}
	if out != 24*PerHour-1 {
		t.Errorf("%d in a day", out)
	}
	if wait := take(b, at, "b", 1); wait != 12*time.Minute {
		t.Errorf("first one waits %v", wait)
	}
	at = at.Add(50 * time.Minute)
	take(b, at, "a", 1)
	at = at.Add(58 * time.Minute)
	out = 0
	for range 20 {
		if take(b, at, "a", 1) == 0 {
			out++
		}
	}
	if out > PerHour {
		t.Errorf("%d at once after an hour", out)
	}
	b.Prune(at.Add(keep + time.Hour))
	if len(b.paced) != 0 {
		t.Errorf("%d are remembered", len(b.paced))
	}
}

// TestWaitIsTrue: who waits as long as it is told gets in.
func TestWaitIsTrue(t *testing.T) {
	b := NewBook[string]()
	at := start
	for i := range 50 {
		wait := take(b, at, "a", 1)
		if wait == 0 {
			continue
		}
		at = at.Add(wait)
		if again := take(b, at, "a", 1); again != 0 {
			t.Fatalf("%d: waits %v once more", i, again)
		}
	}
}

// TestOnTheWay counts strangers of other transactions, and forgets what has ended.
func TestOnTheWay(t *testing.T) {
	b := NewBook[string]()
	for i := range 10 {
		b.Go(fmt.Sprint(i), "a", 1)
		b.Go(fmt.Sprint(i), "a", 1)
	}
	if n := b.Others("3", "a"); n != 18 {
		t.Errorf("%d beside the own", n)
	}
	if n := b.Others("x", "a"); n != 20 {
		t.Errorf("%d beside one that has none", n)
	}
	if n := b.Others("3", "b"); n != 0 {
		t.Errorf("%d of another", n)
	}
	for i := range 10 {
		b.End(fmt.Sprint(i))
		b.End(fmt.Sprint(i))
	}
	if len(b.on) != 0 || len(b.ways) != 0 {
		t.Errorf("left: %v %v", b.on, b.ways)
	}
	for i := range maxWays + 10 {
		b.Go(fmt.Sprint(i), "a", 1)
	}
	if len(b.ways) != maxWays || b.on["a"] != maxWays {
		t.Errorf("%d transactions are remembered", len(b.ways))
	}
}

// TestManyAtOnceUseUpTheirShare, and a submitter that tries again hours later goes on
// where it was.
func TestManyAtOnceUseUpTheirShare(t *testing.T) {
	b := NewBook[string]()
	at := start
	if wait := take(b, at, "a", 20); wait != time.Hour {
		t.Errorf("20 wait %v", wait)
	}
	at = at.Add(61 * time.Minute)
	if wait := take(b, at, "a", 20); wait != 0 {
		t.Errorf("after an hour 20 wait %v", wait)
	}
	if wait := take(b, at, "a", 1); wait < 3*time.Hour || wait > 4*time.Hour {
		t.Errorf("the next one waits %v", wait)
	}
	at = at.Add(2 * time.Hour)
	if wait := take(b, at, "a", 1); wait < time.Hour || wait > 2*time.Hour {
		t.Errorf("two hours later the next one waits %v", wait)
	}
}

// TestTransactionOfAnother: where a header tells another submitter, what is on its way is
// that one's alone.
func TestTransactionOfAnother(t *testing.T) {
	b := NewBook[string]()
	b.Go("1", "mta", 2)
	b.Go("1", "anna", 3)
	if b.Others("2", "mta") != 0 || b.Others("2", "anna") != 3 {
		t.Errorf("on their way: %v", b.on)
	}
	b.End("1")
	if len(b.on) != 0 {
		t.Errorf("left: %v", b.on)
	}
}
