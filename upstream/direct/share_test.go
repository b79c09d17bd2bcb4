package direct

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/smtptest"
	"postern/mail"
	"postern/mx/provider"
	"postern/upstream"
)

// TestAFloodOfOneClientKeepsNobodyFromAGroup: who waits for more than its share stands
// in nobody's way to a group of receivers.
func TestAFloodOfOneClientKeepsNobodyFromAGroup(t *testing.T) {
	l := newLane(&provider.Group{Connections: 4}, time.Minute)
	honest := &mail.Envelope{Client: "honest"}
	if err := l.enter(t.Context(), honest, time.Minute); err != nil {
		t.Fatal(err)
	}
	l.leave(honest)
	var greedy []*mail.Envelope
	came := make(chan error, 1)
	for range 3 {
		env := &mail.Envelope{Client: "greedy"}
		if err := l.enter(t.Context(), env, time.Minute); err != nil {
			t.Fatal(err)
		}
		greedy = append(greedy, env)
	}
	go func() { came <- l.enter(t.Context(), &mail.Envelope{Client: "greedy"}, time.Minute) }()
	for !l.wanted() {
		select {
		case <-came:
			t.Fatal("one client has all connections")
		default:
			runtime.Gosched()
		}
	}
	for range 2 { // one after the other
		if err := l.enter(t.Context(), honest, time.Minute); err != nil {
			t.Fatal(err)
		}
		select {
		case <-came:
			t.Fatal("one client has all connections")
		default:
		}
		l.leave(honest)
	}
	l.leave(greedy[0])
	if err := <-came; err != nil {
		t.Error(err)
	}
}

// TestAFloodOfOneClientKeepsNobodyFromAHost: the same for a host that is in no group.
func TestAFloodOfOneClientKeepsNobodyFromAHost(t *testing.T) {
	w := newWorld(t, func(c *upstream.Config, _ *Options) { c.MaxConnections, c.WaitTimeout = 4, time.Millisecond })
	w.receiver("127.0.0.2", smtptest.Options{})
	w.domain("b.example", "mx.b.example 127.0.0.2")
	hold := func(client string) bool {
		tx := w.up.Begin(upstream.Route{}, &mail.Envelope{From: rcpt("a@a.example").Address, Client: client})
		t.Cleanup(tx.Close)
		got, err := tx.Recipients(t.Context(), []mail.Recipient{rcpt("x@b.example")}, nil)
		return err == nil && got[0].Positive()
	}
	if !hold("honest") {
		t.Fatal("nothing goes")
	}
	greedy := 0
	for range 4 {
		if hold("greedy") {
			greedy++
		}
	}
	if greedy != 3 {
		t.Errorf("one client has %d of 4 connections beside another", greedy)
	}
}

// TestAFloodOfOneClientLeavesTurns: where a group takes so many messages in a while, a
// client that wants all turns has three quarters of those that can be waited for, and
// another one's message has its turn in time.
func TestAFloodOfOneClientLeavesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(provider.Rate{N: 2, Per: time.Second}, 10*time.Second) // 20 turns
		began := time.Now()
		if err := p.turn(t.Context(), "honest"); err != nil {
			t.Fatal(err)
		}
		var had, refused atomic.Int64
		for range 100 {
			go func() {
				if p.turn(t.Context(), "greedy") == nil {
					had.Add(1)
				} else {
					refused.Add(1)
				}
			}()
		}
		synctest.Wait()
		if n := refused.Load(); n != 85 {
			t.Errorf("%d of 100 are refused at once, want 85", n)
		}
		if err := p.turn(t.Context(), "honest"); err != nil {
			t.Errorf("the other client's message: %v", err)
		}
		if took := time.Since(began); took != 8*time.Second {
			t.Errorf("its turn came after %v, want 8 s", took)
		}
		synctest.Wait()
		if n := had.Load(); n != 15 {
			t.Errorf("the flood had %d turns, want 15", n)
		}
	})
}

// TestOneClientAloneHasAllTurns that can be waited for.
func TestOneClientAloneHasAllTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(provider.Rate{N: 2, Per: time.Second}, 10*time.Second)
		var had atomic.Int64
		for range 100 {
			go func() {
				if p.turn(t.Context(), "only") == nil {
					had.Add(1)
				}
			}()
		}
		time.Sleep(time.Minute)
		if n := had.Load(); n != 21 {
			t.Errorf("%d turns, want 21: one at once, and 20 in ten seconds", n)
		}
	})
}
