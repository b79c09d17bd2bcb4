package mail

import (
	"fmt"
	"testing"
)

func TestRefusalsAreCountedByKind(t *testing.T) {
	e := Event{To: []RecipientEvent{
		{Outcome: Deferred, Code: 450, Status: "4.7.1", Rule: "limit sender"},
		{Outcome: Relayed, Code: 250},
		{Outcome: Rejected, Code: 550, Status: "5.1.1", Rule: "upstream", Class: "no-such-user"},
		{Outcome: Deferred, Code: 450, Status: "4.7.1", Rule: "limit sender", Reply: "another text"},
		{Outcome: Aborted},
		{Outcome: Rejected, Code: 550, Rule: "upstream"},
	}}
	const want = "[2 by limit sender 450 4.7.1 1 by upstream/no-such-user 550 5.1.1 1 by upstream 550]"
	if got := fmt.Sprint(e.Refusals()); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if none := (&Event{To: e.To[1:2]}).Refusals(); none != nil {
		t.Errorf("%v of a message that was relayed", none)
	}
}

func TestHarmfulIsWhatACountingScannerFound(t *testing.T) {
	event := func(change func(*Event)) *Event {
		e := &Event{Stage: StageScan, Outcome: Rejected, Rule: "scanner av", Scans: []ScanEvent{
			{Scanner: "av", Verdict: "virus"}, {Scanner: "spam", Verdict: "cut"},
		}}
		change(e)
		return e
	}
	for _, c := range []struct {
		name   string
		change func(*Event)
		want   bool
	}{
		{"a virus", func(*Event) {}, true},
		{"spam", func(e *Event) { e.Scans[0].Verdict = "spam" }, true},
		{"suspicious mail that is refused", func(e *Event) { e.Scans[0].Verdict = "suspicious" }, true},
		{"a rule of the scanner", func(e *Event) { e.Scans[0].Verdict = "policy" }, false},
		{"an encrypted archive", func(e *Event) { e.Scans[0].Verdict = "encrypted" }, false},
		{"no verdict", func(e *Event) { e.Scans[0].Verdict, e.Outcome = "fault", Deferred }, false},
		{"the third fault on one content", func(e *Event) { e.Scans[0].Verdict = "fault" }, false},
		{"only watched", func(e *Event) { e.Scans[0].Shadow = true }, false},
		{"another scanner decided", func(e *Event) { e.Rule, e.Scans[1].Verdict = "scanner spam", "unscannable" }, false},
		{"for now", func(e *Event) { e.Outcome = Deferred }, false},
		{"the upstream refused it", func(e *Event) { e.Stage = StageForward }, false},
	} {
		if got := event(c.change).Harmful(); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
