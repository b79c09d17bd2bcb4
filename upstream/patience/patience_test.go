package patience

import (
	"fmt"
	"testing"
	"time"
)

// clock is set by hand.
type clock struct{ at time.Time }

func (c *clock) now() time.Time       { return c.at }
func (c *clock) pass(d time.Duration) { c.at = c.at.Add(d) }

func newBook() (*Book, *clock) {
	c := &clock{time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)}
	return New(c.now), c
}

// visits are n transactions of a client that go on to a receiver.
func visits(t *testing.T, b *Book, client, receiver string, n int) (all []*Visit) {
	t.Helper()
	for i := range n {
		v := b.Begin(client)
		if !v.To(receiver) {
			t.Fatalf("transaction %d may not go on to %s", i+1, receiver)
		}
		all = append(all, v)
	}
	return all
}

// may is how many more of a client's transactions may go on to a receiver, 50 at most.
func may(b *Book, client, receiver string) (n int) {
	var all []*Visit
	defer func() {
		for _, v := range all {
			v.End()
		}
	}()
	for ; n < 50; n++ {
		v := b.Begin(client)
		all = append(all, v)
		if !v.To(receiver) {
			return n
		}
	}
	return n
}

// TestSlowReceiverHasAPartOfAClient: once one transaction has waited, no more than three
// others of that client go there until an hour is over, and those to others go on.
func TestSlowReceiverHasAPartOfAClient(t *testing.T) {
	b, c := newBook()
	first := visits(t, b, "shop", "slow", 3)
	for _, v := range first {
		v.Wait()
	}
	c.pass(slowAfter - time.Second)
	if n := may(b, "shop", "slow"); n != 50 {
		t.Errorf("after 29 s %d more may go there", n)
	}
	c.pass(time.Second)
	if n := may(b, "shop", "slow"); n != 0 {
		t.Errorf("while three wait %d more may go there", n)
	}
	if n := may(b, "shop", "quick"); n != 50 {
		t.Errorf("%d may go elsewhere", n)
	}
	if n := may(b, "office", "slow"); n != few {
		t.Errorf("%d of another client may go there, want %d", n, few)
	}
	for _, v := range first {
		v.heard()
		v.End()
	}
	c.pass(memory - time.Second)
	if n := may(b, "shop", "slow"); n != few {
		t.Errorf("within the hour %d may go there, want %d", n, few)
	}
	c.pass(time.Second)
	if n := may(b, "shop", "slow"); n != 50 {
		t.Errorf("after the hour %d may go there", n)
	}
}

// TestPartOfAClient: of a client with many transactions a quarter may go to a slow
// receiver.
func TestPartOfAClient(t *testing.T) {
	b, c := newBook()
	visits(t, b, "shop", "elsewhere", 37)
	v := visits(t, b, "shop", "slow", 1)[0]
	v.Wait()
	c.pass(slowAfter)
	n := 1
	for b.Begin("shop").To("slow") {
		n++
	}
	if all := 37 + n + 1; n != all/part {
		t.Errorf("%d of %d go to the slow receiver", n, all)
	}
}

// TestWaitsAddUp: a receiver that takes fifteen seconds for each step is slow, too, and what
// a transaction does between its waits is not the receiver's.
func TestWaitsAddUp(t *testing.T) {
	b, c := newBook()
	v := visits(t, b, "shop", "slow", 1)[0]
	done := v.Wait()
	c.pass(slowAfter / 2)
	done()
	c.pass(time.Hour) // the client is slow
	if b.slow("slow", c.now()) {
		t.Error("slow after fifteen seconds")
	}
	done = v.Wait()
	c.pass(slowAfter / 2)
	done()
	v.End()
	if !b.slow("slow", c.now()) {
		t.Error("not slow after twice that")
	}
}

// TestLeaveForgetsTheWait: what was waited for one receiver does not count for the next.
func TestLeaveForgetsTheWait(t *testing.T) {
	b, c := newBook()
	v := visits(t, b, "shop", "slow", 1)[0]
	done := v.Wait()
	c.pass(slowAfter)
	v.Leave()
	v.To("quick")
	done()
	v.End()
	v.End()
	if b.slow("quick", c.now()) {
		t.Error("the second receiver is slow")
	}
}

// TestBookIsBounded: it holds nothing of what has ended but the receivers that were slow,
// and not more of these than it may.
func TestBookIsBounded(t *testing.T) {
	b, c := newBook()
	for i := range maxSlow + 10 {
		v := visits(t, b, "shop", fmt.Sprint(i), 1)[0]
		done := v.Wait()
		c.at = c.at.Add(slowAfter)
		done()
		v.End()
		c.at = c.at.Add(-slowAfter)
	}
	if len(b.all) != 0 || len(b.at) != 0 || len(b.until) != maxSlow {
		t.Errorf("%d clients, %d receivers, %d slow ones", len(b.all), len(b.at), len(b.until))
	}
	c.pass(2 * memory)
	v := visits(t, b, "shop", "one more", 1)[0]
	done := v.Wait()
	c.pass(slowAfter)
	done()
	if len(b.until) != 1 {
		t.Errorf("%d slow receivers after two hours", len(b.until))
	}
}

// TestRelayItselfIsNotCounted: alerts go out whatever waits.
func TestRelayItselfIsNotCounted(t *testing.T) {
	b, c := newBook()
	v := visits(t, b, "shop", "slow", 1)[0]
	v.Wait()
	c.pass(slowAfter)
	if n := may(b, "", "slow"); n != 50 {
		t.Errorf("%d of the relay's own", n)
	}
}
