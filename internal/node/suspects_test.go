package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

// TestSuspectsAreThoseWhoseMailLeft: while our login is refused or no host can be
// reached, each retry of a client is a transaction, and nothing is sent.
func TestSuspectsAreThoseWhoseMailLeft(t *testing.T) {
	now := time.Now()
	of := func(from, stage string, r mail.RecipientEvent) *mail.Event {
		r.Address, r.Rule = "x@dest.example", "upstream"
		return &mail.Event{Time: now, Client: "mta", Stream: "main", Upstream: "up", From: from, Stage: stage, To: []mail.RecipientEvent{r}}
	}
	var events []*mail.Event
	for range 50 {
		events = append(events,
			of("login@example.org", "rcpt", mail.RecipientEvent{Code: 451, Status: "4.4.1", Class: "credentials"}),
			of("down@example.org", "rcpt", mail.RecipientEvent{Code: 451, Status: "4.4.1"}),
			of("sent@example.org", "forward", mail.RecipientEvent{Code: 250}),
			of("refused@example.org", "rcpt", mail.RecipientEvent{Code: 550, Class: "listed-ip", Said: &mail.Evidence{}}),
			of("perhaps@example.org", "forward", mail.RecipientEvent{Code: 451, Status: "4.4.2"}))
	}
	found, err := Suspects(func(yield func(*mail.Event) error) error {
		for _, e := range events {
			if err := yield(e); err != nil {
				return err
			}
		}
		return nil
	}, nil, now.Add(time.Minute), time.Hour)
	text := fmt.Sprint(found)
	if err != nil || strings.Contains(text, "login@") || strings.Contains(text, "down@") {
		t.Errorf("%v, %s", err, text)
	}
	for _, who := range []string{"sent@", "refused@", "perhaps@"} {
		if !strings.Contains(text, who) {
			t.Errorf("%s is missing in %s", who, text)
		}
	}
}
