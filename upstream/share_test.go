package upstream

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/mail"
)

// hold is a transaction of a client that has a connection and keeps it; nil where it
// got none in time.
func hold(t *testing.T, u *Upstream, client string) *Transaction {
	t.Helper()
	tx := u.Begin(Route{}, &mail.Envelope{Client: client})
	t.Cleanup(tx.Close)
	switch _, err := tx.Recipients(t.Context(), recipients("b@b.example"), nil); {
	case errors.Is(err, ErrBusy):
		return nil
	case err != nil:
		t.Fatal(err)
	}
	return tx
}

func TestOneClientDoesNotTakeAllConnections(t *testing.T) {
	u, _ := start(t, smtptest.Options{}, func(c *Config) { c.MaxConnections, c.WaitTimeout = 4, time.Millisecond })
	hold(t, u, "honest").Close()
	var held []*Transaction
	for tx := hold(t, u, "greedy"); tx != nil; tx = hold(t, u, "greedy") {
		held = append(held, tx)
	}
	if len(held) != 3 {
		t.Errorf("one client has %d of 4 connections beside another client", len(held))
	}
	if hold(t, u, "honest") == nil {
		t.Fatal("none is left for the other")
	}
	if hold(t, u, "honest") != nil {
		t.Error("more than 4 connections")
	}
	held[0].Close()
	if hold(t, u, "greedy") == nil {
		t.Error("what was given back is not to be had again")
	}
}

func TestWhoWaitsForItsOwnShareKeepsNobodyWaiting(t *testing.T) {
	u, _ := start(t, smtptest.Options{}, func(c *Config) { c.MaxConnections, c.WaitTimeout = 2, time.Minute })
	hold(t, u, "honest").Close()
	first, next := hold(t, u, "greedy"), u.Begin(Route{}, &mail.Envelope{Client: "greedy"})
	defer next.Close()
	got := make(chan error)
	go func() {
		_, err := next.Recipients(t.Context(), recipients("b@b.example"), nil)
		got <- err
	}()
	for !first.Wanted() {
		select {
		case <-got:
			t.Fatal("one client has all connections")
		default:
			runtime.Gosched()
		}
	}
	if hold(t, u, "honest") == nil {
		t.Fatal("a client stands behind one that waits for its own share")
	}
	first.Close()
	if err := <-got; err != nil {
		t.Error(err)
	}
}

func TestClientAloneHasAllConnections(t *testing.T) {
	u, _ := start(t, smtptest.Options{}, func(c *Config) { c.MaxConnections, c.WaitTimeout = 4, time.Millisecond })
	hold(t, u, "").Close() // ours, such as an alert
	for range 4 {
		if hold(t, u, "alone") == nil {
			t.Fatal("a client that is alone does not get all connections")
		}
	}
}
