package smtpd

import (
	"testing"
	"time"
)

// TestDeadlinesOfASession: what a command waits for is bounded by the transaction
// and the session, whatever came in between.
func TestDeadlinesOfASession(t *testing.T) {
	began := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	cfg := &Settings{}
	cfg.Timeouts.SetDefaults()
	cfg.Session.SetDefaults()
	s := &session{cfg: cfg, began: began}
	s.peer.Helo = "x"
	at := func(minutes int) time.Time { return began.Add(time.Duration(minutes) * time.Minute) }
	hold := func(name string, now, want time.Time) {
		t.Helper()
		if got := s.deadline(now); !got.Equal(want) {
			t.Errorf("%s: %v, want %v", name, got.Sub(began), want.Sub(began))
		}
	}
	hold("a command", at(1), at(6))
	hold("near the end of the session", at(58), at(60))
	s.tx = &open{cfg: cfg, began: at(1), touched: at(2)}
	hold("a command of a transaction", at(3), at(8))
	hold("behind a NOOP", at(8), at(12))
	hold("behind a further NOOP", at(11), at(12))
	s.tx.touched = at(55)
	hold("RCPT after RCPT", at(59), at(61)) // one hour from MAIL
	s.tx.chunked = &Message{}
	hold("between chunks", at(59), at(64))
}
