package node

import (
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/reputation"
)

// TestOnlyTheGroupsOwnHostsStopIt: the owner of a domain, whatever its MX records name
// and its hosts say, stops mail to nobody else.
func TestOnlyTheGroupsOwnHostsStopIt(t *testing.T) {
	tooFast := func(change func(*mail.Evidence)) *mail.Evidence {
		s := &mail.Evidence{At: "connect", About: mail.AboutUs, Domain: "evil.example", Provider: "google", Class: mail.ClassRateLimited, Reply: "421 4.7.28 unusual rate from your IP address"}
		if change != nil {
			change(s)
		}
		return s
	}
	for _, row := range []struct {
		name  string
		said  *mail.Evidence
		waits bool
	}{
		{"a host of the group", tooFast(nil), true},
		{"at MAIL, of us", tooFast(func(s *mail.Evidence) { s.At = "mail" }), true},
		{"a host of the domain's own, in the group's words", tooFast(func(s *mail.Evidence) { s.Provider = "" }), false},
		{"hearsay", tooFast(func(s *mail.Evidence) { s.Remote = true }), false},
		{"of the sender", tooFast(func(s *mail.Evidence) { s.At, s.About = "mail", mail.AboutSender }), false},
		{"of the recipient", tooFast(func(s *mail.Evidence) { s.At, s.About = "rcpt", mail.AboutRecipient }), false},
		{"to RCPT", tooFast(func(s *mail.Evidence) { s.At = "rcpt" }), false},
		{"to the message", tooFast(func(s *mail.Evidence) { s.At = "dot" }), false},
		{"another class", tooFast(func(s *mail.Evidence) { s.Class = mail.ClassGreylisted }), false},
	} {
		j := &receivers{backoff: reputation.NewBackoff(time.Now), groupOf: func(host string) string {
			if strings.HasPrefix(host, "mx.google.com[") {
				return "google"
			}
			return ""
		}}
		to := mail.RecipientEvent{Address: "x@evil.example", Rule: "upstream", Code: 450, Provider: "google", Said: row.said}
		e := &mail.Event{Client: "shop", Stream: "main", From: "a@example.org", To: []mail.RecipientEvent{to}}
		if row.said.At == "connect" {
			e.Said, e.To[0].Rule, e.To[0].Said = row.said, "mx", nil
		}
		j.Observe(e)
		if got := j.backoff.Groups.Waits("main"); got != row.waits {
			t.Errorf("%s: the group waits %v", row.name, got)
		}
		if !row.waits {
			continue
		}
		if all := j.backoff.List(); len(all) == 0 || all[0].Destination() != "evil.example" && all[len(all)-1].Destination() != "provider google" {
			t.Errorf("%+v", all)
		}
		// A trial that a host of the domain's own has taken says nothing of the group.
		took := &mail.Event{Client: "shop", Stream: "main", From: "a@example.org", Host: "mx.evil.example[192.0.2.1]:25",
			To: []mail.RecipientEvent{{Address: "x@evil.example", Rule: "upstream", Code: 250, Provider: "google", Trial: true}}}
		if j.Observe(took); !j.backoff.Groups.Waits("main") {
			t.Errorf("%s: mail to another host ends the wait", row.name)
		}
		took.To[0].Host = "mx.google.com[192.0.2.1]:25"
		if j.Observe(took); j.backoff.Groups.Waits("main") {
			t.Errorf("%s: a trial that the group has taken does not end the wait", row.name)
		}
	}
}
