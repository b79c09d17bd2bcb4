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
