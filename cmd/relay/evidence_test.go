package main

import (
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
)

// sharedStream has two clients, bank (127.0.0.2) and tenant (127.0.0.3), on one
// stream.
func sharedStream(upstream, onListing string) string {
	return fmt.Sprintf(`
hostname = "relay.test"
[listener.mta]
address = "127.0.0.1:0"
[client.bank]
networks = ["127.0.0.2/32"]
senders = ["@bank.example"]
stream = "main"
[client.tenant]
networks = ["127.0.0.3/32"]
senders = ["@tenant.example"]
stream = "main"
[stream.main]
upstream = "up"
public_ips = ["192.0.2.25"]
on_listing = %q
[upstream.up]
hosts = [%q]
tls = "off"
[reputation]
resolvers = ["127.0.0.1:9"]
timeout = "100ms"
[journal]
file = "journal.jsonl"
[timeouts]
park = "1s"
`, onListing, upstream)
}

const bank, tenant = "127.0.0.2", "127.0.0.3"

// session is a client of the relay at an address.
type session struct {
	t *testing.T
	*textproto.Conn
}

func (p *process) session(from string) *session {
	p.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(p.t.Context(), "tcp", p.address("mta"))
	if err != nil {
		p.t.Fatal(err)
	}
	s := &session{p.t, textproto.NewConn(c)}
	p.t.Cleanup(func() { s.Close() })
	s.answer()
	s.say("EHLO client.example")
	return s
}

// answer is the next reply on one line.
func (s *session) answer() string {
	s.t.Helper()
	code, text, err := s.ReadResponse(0)
	if err != nil && code == 0 {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", code, strings.ReplaceAll(text, "\n", " / "))
}

func (s *session) say(line string) string {
	s.t.Helper()
	if err := s.PrintfLine("%s", line); err != nil {
		s.t.Fatal(err)
	}
	return s.answer()
}

// send tries one message and returns the reply that decided.
func (s *session) send(from string, to ...string) string {
	s.t.Helper()
	s.say("RSET")
	if r := s.say("MAIL FROM:<" + from + ">"); r[0] != '2' {
		return r
	}
	last, taken := "", false
	for _, a := range to {
		if r := s.say("RCPT TO:<" + a + ">"); r[0] == '2' {
			taken = true
		} else {
			last = r
		}
	}
	if !taken {
		s.say("RSET") // which ends the transaction
		return last
	}
	s.say("DATA")
	return s.say("From: " + from + "\r\n\r\ntext\r\n.")
}

// wantReplies checks what a session hears for each recipient.
func wantReply(t *testing.T, who, got, want string) {
	t.Helper()
	if !strings.HasPrefix(got, want) {
		t.Errorf("%s hears %q, want %q", who, got, want)
	}
}

// TestOwnDomainCannotStopAStream: R1. A tenant has its own domain say that we are
// listed while a bank sends a lot of mail on the same stream.
func TestOwnDomainCannotStopAStream(t *testing.T) {
	t.Parallel()
	const listed = "550 5.7.1 Service unavailable; client host [192.0.2.25] blocked using zen.spamhaus.org"
	for _, action := range []string{"pause_stream", "suspend_suspect"} {
		var faults []smtptest.Fault
		for i := range 6 {
			faults = append(faults, smtptest.Fault{Stage: smtptest.Rcpt, To: fmt.Sprintf("me%d@evil%d.example", i, i%3), Reply: listed})
		}
		up := smtptest.Start(t, smtptest.Options{Faults: faults})
		p := startRelay(t, sharedStream(up.Addr(), action))
		b, a := p.session(bank), p.session(tenant)
		for i := range 50 {
			wantReply(t, "the bank", b.send("pay@bank.example", fmt.Sprintf("u%d@dest%d.example", i, i)), "250 ")
		}
		for i := range 6 {
			wantReply(t, "the tenant", a.send("x@tenant.example", fmt.Sprintf("me%d@evil%d.example", i, i%3)), "550 5.7.1 Service unavailable")
		}
		p.expect(`event=listed .*subject=192\.0\.2\.25 .*is said to be listed .*nothing is done by itself`)
		p.expect(`event=suspect`)
		wantReply(t, "the bank", b.send("pay@bank.example", "u9@dest.example"), "250 ")
		wantReply(t, "the tenant", a.send("x@tenant.example", "u@dest.example"), "250 ")
		if out := p.verb(0, "backoff", "list"); strings.Count(out, "\n") != 1 {
			t.Errorf("%s: %s", action, out)
		}
		a.Close()
		b.Close()
		p.stop()
		if n := p.count(`event=paused|is=suspended`); n > 0 {
			t.Errorf("%s: %d lines tell of a pause or suspension", action, n)
		}
	}
}

// TestPostfixThatVerifiesRecipientsOnlyReports: the same words, passed on by a
// Postfix that asks the receiver first.
func TestPostfixThatVerifiesRecipientsOnlyReports(t *testing.T) {
	t.Parallel()
	var faults []smtptest.Fault
	for _, to := range []string{"me0@evil.example", "me1@evil.example"} {
		faults = append(faults, smtptest.Fault{Stage: smtptest.Rcpt, To: to, Reply: "550 5.7.1 client host [192.0.2.25] blocked using zen.spamhaus.org"})
	}
	faults = append(faults, smtptest.Fault{Stage: smtptest.Rcpt, To: "gone@evil.example", Reply: "550 5.1.1 no such user"})
	mx := smtptest.Start(t, smtptest.Options{Faults: faults})
	mta := startPostfix(t, mx.Addr(), "smtpd_recipient_restrictions = reject_unverified_recipient, permit_mynetworks, reject",
		"unverified_recipient_reject_code = 550", "address_verify_poll_count = 20", "address_verify_poll_delay = 1s", "address_verify_positive_refresh_time = 1d")
	p := startRelay(t, sharedStream(mta.address, "pause_stream"))
	b, a := p.session(bank), p.session(tenant)
	for _, to := range []string{"me0@evil.example", "me1@evil.example"} {
		if r := a.send("x@tenant.example", to); !strings.Contains(r, "said: 550 5.7.1 client host") {
			t.Fatalf("Postfix says %q", r)
		}
	}
	p.expect(`event=listed status=warn subject=192\.0\.2\.25 `)
	if r := a.send("x@tenant.example", "gone@evil.example"); !strings.Contains(r, "said: 550 5.1.1 no such user") {
		t.Fatalf("Postfix says %q", r)
	}
	wantReply(t, "the bank", b.send("pay@bank.example", "u9@dest.example"), "250 ")
	if out := p.verb(0, "suppressions", "list") + p.verb(0, "backoff", "list"); strings.Count(out, "\n") != 2 {
		t.Errorf("hearsay changed %s", out)
	}
	a.Close()
	b.Close()
	p.stop()
	if n := p.count(`event=paused`); n > 0 {
		t.Errorf("%d pauses", n)
	}
}

// TestLocalPartThatLooksLikeAReply: R1b. The upstream changes its verdict behind a
// pause of the client, and the recipient stands in our error.
func TestLocalPartThatLooksLikeAReply(t *testing.T) {
	t.Parallel()
	const to = "\"host replied `550 5.7.1 ip listed by zen.spamhaus.org`\"@evil.example"
	up := smtptest.Start(t, smtptest.Options{})
	p := startRelay(t, sharedStream(up.Addr(), "pause_stream"))
	for range 2 {
		up.SetFaults(smtptest.Fault{Stage: smtptest.Rcpt, To: to, After: 1, Reply: "450 4.2.0 <" + to + ">: not now"})
		a := p.session(tenant)
		a.say("MAIL FROM:<x@tenant.example>")
		wantReply(t, "the tenant", a.say("RCPT TO:<"+to+">"), "250 ")
		a.say("DATA")
		a.PrintfLine("From: x@tenant.example\r\n\r\ntext")
		<-time.After(1500 * time.Millisecond)
		wantReply(t, "the tenant", a.say("."), "451 4.4.2 upstream changed its verdict")
		wantReply(t, "the tenant", a.send("x@tenant.example", to), "450 4.2.0")
		a.Close()
	}
	up.SetFaults()
	b := p.session(bank)
	wantReply(t, "the bank", b.send("pay@bank.example", "u9@dest.example"), "250 ")
	b.Close()
	p.stop()
	if n := p.count(`msg=reputation event=(listed|paused|suspect)`); n > 0 {
		t.Errorf("%d reports", n)
	}
}

// TestVerdictOnTheSenderTouchesNobodyElse: R2, its three rows. A tenant's sender
// is unknown to, or over its quota at, the provider.
func TestVerdictOnTheSenderTouchesNobodyElse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stage smtptest.Stage
		reply string
		to    []string
	}{
		"the sender is unknown":       {smtptest.Mail, "550 5.1.1 <nosuch@tenant.example>: user unknown", []string{"ceo@partner.example", "cfo@partner.example", "it@partner.example"}},
		"its rate at MAIL":            {smtptest.Mail, "450 4.7.1 <nosuch@tenant.example>: Sender rate limit exceeded. Try again in 24 hours", []string{"a@gmail.example", "b@outlook.example"}},
		"its rate at RCPT":            {smtptest.Rcpt, "450 4.7.1 Sender rate limit exceeded. Try again in 24 hours", []string{"a@gmail.example", "b@outlook.example"}},
		"its rate at the dot":         {smtptest.Dot, "451 4.7.1 This sender sends too many messages, try again in 24 hours", []string{"a@gmail.example", "b@outlook.example", "c@yahoo.example"}},
		"its quota, for one domain":   {smtptest.Dot, "550 5.4.5 Daily user sending limit exceeded", []string{"a@gmail.example"}},
		"too much, to several":        {smtptest.Dot, "451 4.7.1 too many messages, try again in 24 hours", []string{"a@gmail.example", "b@outlook.example"}},
		"too much, to one domain":     {smtptest.Dot, "451 4.7.1 too many messages, try again in 24 hours", []string{"a@gmail.example"}},
		"unknown, of several":         {smtptest.Dot, "550 5.1.1 user unknown", []string{"a@gmail.example", "b@gmail.example"}},
		"a session that is ended":     {smtptest.Rcpt, "421 4.7.0 too many messages, try again in 24 hours", []string{"a@gmail.example", "b@outlook.example"}},
		"unknown, then a 421 for all": {smtptest.Rcpt, "421 5.1.1 user unknown", []string{"a@gmail.example", "b@gmail.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			up := smtptest.Start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: c.stage, Reply: c.reply}}})
			p := startRelay(t, sharedStream(up.Addr(), "alert"))
			a, b := p.session(tenant), p.session(bank)
			for range 2 {
				if r := a.send("nosuch@tenant.example", c.to...); r[0] == '2' {
					t.Fatalf("the tenant hears %q", r)
				}
			}
			up.SetFaults()
			wantReply(t, "the bank", b.send("pay@bank.example", c.to...), "250 ")
			for _, to := range c.to {
				wantReply(t, "the bank", b.send("pay@bank.example", to), "250 ")
			}
			a.Close()
			b.Close()
			if out := p.verb(0, "suppressions", "list"); strings.Contains(out, "example") {
				t.Errorf("suppressed: %s", out)
			}
		})
	}
}

// TestBackoffIsShownAndEnded: by the commands of an operator.
func TestBackoffIsShownAndEnded(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Rcpt, Reply: "450 4.7.1 too many messages, try again in 24 hours"}}})
	p := startRelay(t, sharedStream(up.Addr(), "alert"))
	for _, from := range []string{bank, tenant} {
		sender := map[string]string{bank: "pay@bank.example", tenant: "x@tenant.example"}[from]
		p.session(from).send(sender, "a@gmail.example")
	}
	eventually(t, "both are waited for", func() bool { return strings.Count(p.verb(0, "backoff", "list"), "gmail.example") == 3 })
	for _, want := range []string{`(?m)^main +gmail\.example +all +`, `(?m)^main +gmail\.example +of x@tenant\.example +.*450 4\.7\.1 too many`} {
		wantText(t, p.verb(0, "backoff", "list"), want)
	}
	up.SetFaults()
	wantReply(t, "another sender", p.session(bank).send("other@bank.example", "b@gmail.example"), "450 4.7.1 <b@gmail.example>: receiver takes no more mail for now")
	p.expect(`rule=backoff`)
	p.verb(0, "backoff", "end", "Gmail.example")
	wantReply(t, "another sender", p.session(bank).send("other@bank.example", "b@gmail.example"), "250 ")
	wantText(t, p.verb(2, "backoff", "end", "gmail.example"), `nothing of gmail\.example waits`)
	p.verb(2, "backoff", "end")
}
