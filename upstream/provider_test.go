package upstream

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"postern/internal/smtptest"
	"postern/mail"
)

// underTLS moves what a provider offers behind STARTTLS.
func underTLS(o smtptest.Options) smtptest.Options {
	o.Offer, o.TLSOffer = []string{"STARTTLS"}, o.Offer
	return o
}

// TestMicrosoft365TakesTheMailboxThatLoggedIn: by a token; a password is refused as
// Microsoft refuses it, and mail of another author as well.
func TestMicrosoft365TakesTheMailboxThatLoggedIn(t *testing.T) {
	var well atomic.Bool
	well.Store(true)
	set, _ := withTokens(t, &well)
	o := underTLS(smtptest.Microsoft365())
	o.Token = func(user, token string) bool { return user == "scans@example.org" && token == "token-1" }
	u, s := startVerified(t, o, set)
	from := func(author string) result {
		body := Content{Prefix: []byte("From: Scanner <" + author + ">\r\n\r\nx\r\n")}
		return send(t.Context(), u, Route{}, mail.Envelope{From: addr(author), Ret: "HDRS"}, body, recipients("b@b.example")...)
	}
	if r := from("scans@example.org"); r.codes() != "250 final 250" || s.Messages()[0].User != "scans@example.org" || !u.OffersDSN() {
		t.Errorf("got %v, DSN %v", r, u.OffersDSN())
	}
	if r := from("ceo@example.org"); r.codes() != "250 final 554" || r.final.Status != "5.2.252" {
		t.Errorf("another author: %v", r)
	}

	o.Faults = []smtptest.Fault{{Stage: smtptest.Auth, Reply: "535 5.7.139 Authentication unsuccessful, basic authentication is disabled."}}
	u, s = startVerified(t, o, func(c *Config) { c.Username, c.Password = "scans@example.org", "of-the-scanner" })
	r := deliver(t, u, "b@b.example")
	if !errors.Is(r.err, ErrCredentials) || !strings.Contains(r.err.Error(), "5.7.139") || strings.Contains(r.err.Error(), "of-the-scanner") || s.Taken() != 0 {
		t.Errorf("by a password: %v", r.err)
	}
}

// TestProvidersCountRecipients: whom a provider does not take with one message is told
// so by the provider, at RCPT or behind the message.
func TestProvidersCountRecipients(t *testing.T) {
	for _, tt := range []struct {
		options  smtptest.Options
		most     int
		atRcpt   int // reply to one more
		behind   int // final reply, with one more
		ehlo     string
		messages int
	}{
		{smtptest.SES(), 50, 250, 554, "", 1},
		{smtptest.GoogleWorkspace(), 100, 452, 250, "relay.example.org", 2},
		{smtptest.Stalwart(), 100, 250, 250, "", 2},
	} {
		t.Run(tt.options.Name, func(t *testing.T) {
			u, s := start(t, tt.options, nil)
			var to []string
			for i := range tt.most + 1 {
				to = append(to, fmt.Sprintf("b%d@b.example", i))
			}
			once := func(to []string) result {
				return send(t.Context(), u, Route{EHLO: tt.ehlo}, mail.Envelope{From: addr("a@example.org")}, Content{Prefix: []byte(plainText)}, recipients(to...)...)
			}
			if r := once(to[1:]); r.err != nil || r.final.Code != 250 {
				t.Errorf("as many as it takes: %v", r)
			}
			if r := once(to); r.err != nil || r.to[tt.most].Code != tt.atRcpt || r.final.Code != tt.behind {
				t.Errorf("one more: %d at RCPT, final %v, %v", r.to[tt.most].Code, r.final, r.err)
			}
			if n := s.Taken(); n != tt.messages {
				t.Errorf("%d messages", n)
			}
		})
	}
}
