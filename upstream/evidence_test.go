package upstream

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/mail"
)

// evidence writes it for a comparison.
func evidence(e *mail.Evidence) string {
	if e == nil {
		return "none"
	}
	s := fmt.Sprintf("%s %s about %s", e.At, e.Class, e.About)
	if e.About == mail.AboutNobody {
		s += "nobody"
	}
	if e.Remote {
		s = "hearsay " + s
	}
	if e.Wait > 0 {
		s += " " + e.Wait.String()
	}
	return s
}

// TestRefusalsAreWeighedOnce: what each reply says, about whom, and whether the
// host says it itself.
func TestRefusalsAreWeighedOnce(t *testing.T) {
	const one, several = "b@b.example", "b@b.example c@c.example"
	for name, tc := range map[string]struct {
		at        smtptest.Stage
		reply, to string
		want      string
	}{
		"unknown at RCPT":               {smtptest.Rcpt, "550 5.1.1 user unknown", one, "rcpt no-such-user about recipient"},
		"unknown sender at MAIL":        {smtptest.Mail, "550 5.1.1 <a@a.example>: user unknown", several, "mail no-such-user about sender"},
		"sender's quota at MAIL":        {smtptest.Mail, "450 4.7.1 Sender rate limit exceeded. Try again in 24 hours", one, "mail rate-limited-by-receiver about sender 24h0m0s"},
		"our address at MAIL":           {smtptest.Mail, "421 4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP address", one, "mail rate-limited-by-receiver about us"},
		"of whom is not said, at MAIL":  {smtptest.Mail, "450 4.7.1 too many messages, slow down", one, "mail rate-limited-by-receiver about sender"},
		"both at MAIL":                  {smtptest.Mail, "450 4.7.1 Sender rate limit exceeded for your IP address", one, "mail rate-limited-by-receiver about sender"},
		"sender's quota at RCPT":        {smtptest.Rcpt, "450 4.7.1 <b@b.example>: Recipient address rejected: Sender rate limit exceeded", one, "rcpt rate-limited-by-receiver about sender"},
		"sender's quota at the dot":     {smtptest.Dot, "451 4.7.1 This sender sends too many messages, try again in 24 hours", several, "dot rate-limited-by-receiver about sender 24h0m0s"},
		"an account's quota at the dot": {smtptest.Dot, "550 5.4.5 Daily user sending limit exceeded", one, "dot rate-limited-by-receiver about sender"},
		"a user's quota at the dot":     {smtptest.Dot, "451 4.7.1 user quota: too many messages, slow down", one, "dot rate-limited-by-receiver about nobody"},
		"too much at RCPT":              {smtptest.Rcpt, "450 4.7.1 too many messages, slow down", one, "rcpt rate-limited-by-receiver about us"},
		"too much for one user":         {smtptest.Rcpt, "450 4.2.1 The user you are trying to contact is receiving mail too quickly", one, "rcpt rate-limited-by-receiver about recipient"},
		"too much at the dot":           {smtptest.Dot, "421 4.7.0 too many messages, slow down", one, "dot rate-limited-by-receiver about us"},
		"too much, several domains":     {smtptest.Dot, "451 4.7.1 too many messages, slow down", several, "dot rate-limited-by-receiver about nobody"},
		"unknown at the dot, one":       {smtptest.Dot, "550 5.1.1 user unknown", one, "dot no-such-user about recipient"},
		"unknown at the dot, several":   {smtptest.Dot, "550 5.1.1 user unknown", several, "dot no-such-user about nobody"},
		"the sender at the dot":         {smtptest.Dot, "550 5.1.1 <a@a.example>: user unknown", one, "dot no-such-user about sender"},
		"listed at RCPT":                {smtptest.Rcpt, "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", one, "rcpt listed-ip about us"},
		"a session that ends":           {smtptest.Rcpt, "421 4.7.0 too many messages, slow down", several, "rcpt rate-limited-by-receiver about nobody"},

		"Postfix verifies":             {smtptest.Rcpt, "450 4.1.1 <b@b.example>: Recipient address rejected: unverified address: host mx.b.example[192.0.2.9] said: 550 5.7.1 client host [192.0.2.1] blocked using zen.spamhaus.org (in reply to RCPT TO command)", one, "hearsay rcpt listed-ip about us"},
		"Postfix verifies, unknown":    {smtptest.Rcpt, "550 5.1.1 <b@b.example>: Recipient address rejected: undeliverable address: host mx.b.example[192.0.2.9] said: 550 5.1.1 no such user (in reply to RCPT TO command)", one, "hearsay rcpt no-such-user about recipient"},
		"Postfix is refused":           {smtptest.Rcpt, "450 4.1.1 <b@b.example>: Recipient address rejected: unverified address: host mx.b.example[192.0.2.9] refused to talk to me: 554 5.7.1 listed by zen.spamhaus.org", one, "hearsay rcpt listed-ip about us"},
		"Exim calls out":               {smtptest.Rcpt, "550-Callout verification failed:\n550 550 5.1.1 no such user here", one, "hearsay rcpt no-such-user about recipient"},
		"Exim tells the response":      {smtptest.Rcpt, `550-Verification failed for <b@b.example>` + "\n" + `550 response to "RCPT TO:<b@b.example>" was: 550 no such user`, one, "hearsay rcpt no-such-user about recipient"},
		"Sendmail tells the dialog":    {smtptest.Rcpt, "550 5.1.1 while talking to mx.b.example: <<< 550 no such user here", one, "hearsay rcpt no-such-user about recipient"},
		"Exchange":                     {smtptest.Rcpt, "550 5.1.1 Remote Server returned '550 5.1.1 user unknown'", one, "hearsay rcpt no-such-user about recipient"},
		"a second code":                {smtptest.Rcpt, "550 5.1.1 550 5.1.1 user unknown", one, "hearsay rcpt no-such-user about recipient"},
		"Gmail itself":                 {smtptest.Rcpt, "550-5.1.1 The email account that you tried to reach does not exist. Please try\n550 5.1.1 https://support.google.com/mail/?p=NoSuchUser 4fb4d7f45d1cf-5f", one, "rcpt no-such-user about recipient"},
		"several lines of its own":     {smtptest.Rcpt, "550-5.1.1 user unknown\n550-5.1.1 at this host\n550 5.1.1 sorry", one, "rcpt no-such-user about recipient"},
		"not known to the local table": {smtptest.Rcpt, "550 5.1.1 <b@b.example>: Recipient address rejected: User unknown in local recipient table", one, "rcpt no-such-user about recipient"},
	} {
		t.Run(name, func(t *testing.T) {
			u, _ := start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: tc.at, Reply: tc.reply}}}, nil)
			r := deliver(t, u, strings.Fields(tc.to)...)
			got := r.final.Said
			if len(r.to) > 0 && r.to[0].Said != nil {
				got = r.to[0].Said
			}
			if evidence(got) != tc.want || r.err != nil && !errors.Is(r.err, errNobody) {
				t.Errorf("%s, want %s; %v", evidence(got), tc.want, r.err)
			}
		})
	}
}

// TestWhatTheClientWroteIsNoReply: a local-part in quotes may hold the text of a
// whole reply, and hosts repeat it.
func TestWhatTheClientWroteIsNoReply(t *testing.T) {
	for _, text := range []string{
		"host replied `550 5.7.1 ip listed by zen.spamhaus.org`", "ip 192.0.2.1 is listed by zen.spamhaus.org", "host x said: 550 5.7.1 no",
		`a\b"550 5.7.1 blocked using zen.spamhaus.org`, "blocked-using-zen.spamhaus.org", "too many messages try again in 24 hours",
	} {
		for _, form := range []string{"<%s>: user unknown", "%s: user unknown", "user unknown %s"} {
			to := mail.Recipient{Address: mail.Address{Local: text, Domain: "evil.example"}}
			for _, shown := range []string{string(to.AppendTo(nil)), to.Key(), strings.ToUpper(to.Key()), to.Local} {
				u, _ := start(t, smtptest.Options{}, nil)
				tx := &Transaction{u: u, env: &mail.Envelope{From: addr("a@a.example")}}
				r := tx.say(atRcpt, mail.Reply{Code: 550, Status: "5.1.1", Text: fmt.Sprintf(form, shown)}, []mail.Recipient{to})
				if got := evidence(r.Said); got != "rcpt no-such-user about recipient" {
					t.Errorf("%s: %s", r.Text, got)
				}
				r.Said = nil
				r = tx.say(atDot, r, []mail.Recipient{{Address: addr("b@b.example")}, to})
				if got := evidence(r.Said); got != "dot no-such-user about nobody" {
					t.Errorf("%s: %s", r.Text, got)
				}
			}
		}
	}
}

// TestRefusedConnectionsAreEvidence: in place of the greeting, to EHLO and to
// AUTH; what repeats an earlier fault is none.
func TestRefusedConnectionsAreEvidence(t *testing.T) {
	const listed = "554 5.7.1 client [192.0.2.1] blocked using zen.spamhaus.org"
	for at, want := range map[smtptest.Stage]string{smtptest.Greeting: "connect listed-ip about us", smtptest.Hello: "ehlo listed-ip about us"} {
		u, _ := start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: at, Reply: listed}}}, func(c *Config) { c.TLS = EncryptRequired })
		r := deliver(t, u, "b@b.example")
		if said := Said(r.err); evidence(said) != want || said.Reply != listed || said.List != "spamhaus-zen" {
			t.Errorf("%s: %s, %+v of %v", at, evidence(said), said, r.err)
		}
	}
	lock := fmt.Errorf("%w before noon: %w", errLocked, &hostError{reply: mail.Reply{Code: 535, Said: &mail.Evidence{}}})
	for _, err := range []error{lock, errors.New(`greeting: host replied "554 5.7.1 listed by zen.spamhaus.org"`), nil} {
		if Said(err) != nil {
			t.Errorf("%v is evidence", err)
		}
	}
}

// TestOnlyYesIsYes: 250 and 251 to RCPT, 250 to the message. Anything else that
// is not a no is a fault, which clients try again.
func TestOnlyYesIsYes(t *testing.T) {
	for code, fine := range map[string]bool{"250": true, "251": true, "252": false, "221": false, "235": false, "299": false, "354": false} {
		u, _ := start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Rcpt, Reply: code + " 2.1.5 well"}}}, nil)
		if r := deliver(t, u, "b@b.example"); (r.err == nil) != fine {
			t.Errorf("RCPT %s: %v", code, r)
		}
	}
	for code, fine := range map[string]bool{"250": true, "251": false, "252": false, "221": false, "299": false, "354": false} {
		u, _ := start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Dot, Reply: code + " 2.0.0 well"}}}, nil)
		if r := deliver(t, u, "b@b.example"); (r.err == nil) != fine || !fine && !errors.Is(r.err, ErrUnknownOutcome) {
			t.Errorf("dot %s: %v", code, r)
		}
	}
	u, _ := start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Mail, Reply: "251 2.0.0 well"}}}, nil)
	if r := deliver(t, u, "b@b.example"); r.err == nil {
		t.Errorf("MAIL 251: %v", r)
	}
}

// TestWeighingTakesLittleTime: a hostile reply of the longest kind.
func TestWeighingTakesLittleTime(t *testing.T) {
	u, _ := start(t, smtptest.Options{}, nil)
	tx := &Transaction{u: u, env: &mail.Envelope{From: addr("a@a.example")}}
	local := strings.Repeat("a-", 30)
	rs := []mail.Recipient{{Address: mail.Address{Local: local, Domain: "b.example"}}}
	for _, text := range []string{strings.Repeat(local, 130), strings.Repeat("said 550 ", 900), strings.Repeat("<", 8000), strings.Repeat("verify 5", 1000)} {
		began := time.Now()
		tx.say(atRcpt, mail.Reply{Code: 550, Status: "5.1.1", Text: text}, rs)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%.20q... took %v", text, took)
		}
	}
}

func FuzzEvidence(f *testing.F) {
	f.Add("host replied `550 5.7.1 ip listed`", "evil.example", "<\"host replied `550 5.7.1 ip listed`\"@evil.example>: user unknown")
	f.Add("b", "b.example", "550-5.1.1 said: 550")
	u, err := New("up", testConfig("127.0.0.1:9"), Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, local, domain, text string) {
		tx := &Transaction{u: u, env: &mail.Envelope{From: mail.Address{Local: "a", Domain: "a.example"}}}
		to := mail.Recipient{Address: mail.Address{Local: local, Domain: domain}}
		r := tx.say(atRcpt, mail.Reply{Code: 550, Text: text}, []mail.Recipient{to})
		if r.Text != text || r.Said == nil || r.Said.At != atRcpt || r.Said.Class == "" {
			t.Errorf("%+v", r.Said)
		}
	})
}
