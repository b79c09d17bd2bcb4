package eventlog

import (
	"fmt"
	"testing"
	"time"

	"postern/mail"
)

func fruitless() (f *Fruitless, told *kept, clock *time.Time) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	told = &kept{}
	return NewFruitless([]mail.Observer{told}, func() time.Time { return at }), told, &at
}

func nothingOf(client, stage, rule string) *mail.Event {
	return &mail.Event{Client: client, Stage: stage, Rule: rule, Outcome: mail.Aborted, To: []mail.RecipientEvent{{Address: "r@x.example"}}}
}

// TestAClientDoesNotTurnTheJournalOver: 120,000 transactions a second that come to
// nothing are 50 lines a second, and none is lost from the count.
func TestAClientDoesNotTurnTheJournalOver(t *testing.T) {
	f, told, clock := fruitless()
	const seconds, each = 60, 12_000
	for range seconds {
		*clock = clock.Add(time.Second)
		for i := range each {
			f.Observe(nothingOf("crm", mail.StageMail, fmt.Sprint("rule ", i%3)))
		}
	}
	f.Close()
	if n := len(told.all); n > (seconds/10+1)*(fruitlessLines+3) {
		t.Errorf("%d lines in %d seconds", n, seconds)
	}
	if n := told.sum(); n != seconds*each {
		t.Errorf("they stand for %d, want %d", n, seconds*each)
	}
}

// TestAFloodOfOneHidesNoOther: other clients, and messages of the same one, are told as
// they come.
func TestAFloodOfOneHidesNoOther(t *testing.T) {
	f, told, _ := fruitless()
	for range 5000 {
		f.Observe(nothingOf("crm", mail.StageRcpt, "senders"))
	}
	before := len(told.all)
	f.Observe(nothingOf("mta", mail.StageRcpt, "senders"))
	f.Observe(&mail.Event{Client: "crm", Stage: mail.StageForward, Outcome: mail.Relayed})
	f.Observe(&mail.Event{Client: "crm", Stage: mail.StageForward, Outcome: mail.Deferred}) // it may have left
	if before != fruitlessLines || len(told.all) != before+3 {
		t.Errorf("%d lines, then %d", before, len(told.all))
	}
}

// TestReasonsWithoutEndTakeNoMemory: rules that a client chooses are told apart up to a
// number.
func TestReasonsWithoutEndTakeNoMemory(t *testing.T) {
	f, told, clock := fruitless()
	const n = 100_000
	for i := range n {
		f.Observe(nothingOf("crm", mail.StageMail, fmt.Sprint(i)))
	}
	if kinds := len(f.clients["crm"].by); kinds != fruitlessKinds+1 {
		t.Errorf("%d kinds", kinds)
	}
	*clock = clock.Add(10 * time.Second)
	f.Tell()
	if told.sum() != n || len(f.clients) != 0 {
		t.Errorf("told %d of %d, %d clients are remembered", told.sum(), n, len(f.clients))
	}
	last := told.all[len(told.all)-1]
	if len(last.To) != 0 || last.Times == 0 {
		t.Errorf("%+v", last)
	}
}
