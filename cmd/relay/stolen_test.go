package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/mail"
	"postern/outlier"
)

// watched leaves in a state folder what a relay has seen in ten weeks: 20 submitters of an
// MTA who write to their colleagues, each from one network.
func watched(t *testing.T, state string) {
	t.Helper()
	now := time.Now().Add(-70*24*time.Hour - 2*time.Hour)
	var cfg outlier.Config
	cfg.SetDefaults()
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	w, err := outlier.New(cfg, outlier.Options{Now: func() time.Time { return now }, Dir: filepath.Join(state, "outlier")})
	if err != nil {
		t.Fatal(err)
	}
	for d := range 70 {
		for i := range 3 {
			for u := range 20 {
				user := fmt.Sprintf("user%d", u)
				w.Observe(&mail.Event{Client: "corporate", From: user + "@example.org", Submitter: "corporate/" + user, SubmitterIP: fmt.Sprintf("192.0.2.%d", 1+u),
					Outcome: mail.Relayed, To: []mail.RecipientEvent{{Address: fmt.Sprintf("c%d@dest.example", (7*d+i+u)%60), Outcome: mail.Relayed, Rule: "upstream"}}})
			}
			now = now.Add(time.Hour)
		}
		now = now.Add(21 * time.Hour)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	w.Run(ended)
}

// submitAs gives a message to Postfix as one of its SASL users, who connects from an
// address.
func (p *postfix) submitAs(user, from string, to []string, text string) {
	p.t.Helper()
	c, err := textproto.Dial("tcp", p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	hear := func(code int) {
		p.t.Helper()
		if _, _, err := c.ReadResponse(code); err != nil {
			p.t.Fatalf("Postfix to %s: %v", user, err)
		}
	}
	hear(220)
	type step struct {
		say  string
		code int
	}
	steps := []step{
		{"EHLO client.example", 250}, {"XCLIENT ADDR=" + from + " NAME=[UNAVAILABLE]", 220}, {"EHLO laptop.example", 250},
		{"AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+user)), 235}, {"MAIL FROM:<" + user + "@example.org>", 250},
	}
	for _, rcpt := range to {
		steps = append(steps, step{"RCPT TO:<" + rcpt + ">", 250})
	}
	steps = append(steps, step{"DATA", 354}, step{strings.TrimSuffix(text, "\r\n") + "\r\n.", 250}, step{"QUIT", 221})
	for _, step := range steps {
		c.PrintfLine("%s", step.say)
		hear(step.code)
	}
}

// TestStolenPasswordBehindPostfix: one of 20 passwords is stolen and used from another
// network. Its mail to strangers is braked, then the mailbox is suspended, without an
// operator, and the other 19 go on.
func TestStolenPasswordBehindPostfix(t *testing.T) {
	t.Parallel()
	need(t, "postfix", "postfix")
	up := smtptest.Start(t, smtptest.Options{Judge: func(s smtptest.Step) string {
		if s.Stage == smtptest.Rcpt && strings.Contains(s.Address, "gone") {
			return "550 5.1.1 no such user"
		}
		return ""
	}})
	dir := t.TempDir()
	watched(t, filepath.Join(dir, "state"))
	writeFile(t, filepath.Join(dir, "relay.toml"), "state_dir = \"state\"\n"+strings.Replace(basic(up, `
[outlier]
mode = "enforce"
`), "[client.corporate]", "[client.corporate]\nsubmitter = [\"received-auth\", \"xforward\"]", 1))
	p := startRelayIn(t, dir)
	mta := startPostfix(t, p.address("mta"),
		"smtpd_sasl_auth_enable = yes", "smtpd_sasl_type = dovecot", "smtpd_sasl_path = inet:"+dovecotAuth(t), "smtpd_authorized_xclient_hosts = 127.0.0.0/8",
		"smtpd_sasl_authenticated_header = yes", "smtp_send_xforward_command = yes", "smtpd_sasl_security_options = noanonymous")

	const thief = "203.0.113.9"
	mailOf := func(user, mark string) string { return string(testMessage(user+"@example.org", mark)) }
	for i := range 12 {
		mta.submitAs("user7", thief, []string{fmt.Sprintf("victim%d@dest.example", i)}, mailOf("user7", fmt.Sprintf("v%d", i)))
	}
	p.expect(`msg=transaction .*stage=forward outcome=deferred code=450 status=4\.7\.1 rule="outlier brake submitter" .*reply="450 4\.7\.1 submitter user7: more new recipients than usual, retry in \d+ seconds" .*submitter=corporate/user7`)
	mta.logs(`status=deferred .*450 4\.7\.1 submitter user7: more new recipients than usual`)
	eventually(t, "the rest of the first mail waits in Postfix", func() bool { return len(up.Messages())+mta.queued() == 12 })
	if out := len(up.Messages()); out < 1 || out > 8 {
		t.Errorf("%d messages to strangers have left", out)
	}

	// The thief turns to the address book, a part of which is out of date.
	for i := range 20 {
		to := []string{fmt.Sprintf("gone%d@dest.example", i)}
		for j := range 3 {
			to = append(to, fmt.Sprintf("c%d@dest.example", 3*i+j))
		}
		mta.submitAs("user7", thief, to, mailOf("user7", fmt.Sprintf("b%d", i)))
	}
	p.expect(`msg=outlier scope=("?)[a-z+]+"? name=.*user7.* is=suspend cause=rule reason=.*from 203\.0\.113\.0/24, new for this user`)
	p.expect(`msg=transaction .*outcome=deferred code=450 .*rule="outlier (submitter|sender)" .*suspended for unusual sending.*submitter=corporate/user7`)
	mta.logs(`status=deferred .*450 4\.7\.1 .*user7.*: suspended for unusual sending`)

	before := len(up.Messages())
	for i := range 20 {
		if i != 7 {
			user := fmt.Sprintf("user%d", i)
			mta.submitAs(user, fmt.Sprintf("192.0.2.%d", 1+i), []string{"guest@dest.example"}, mailOf(user, "ok-"+user))
		}
	}
	eventually(t, "the other 19 go on", func() bool {
		return p.count(`msg=transaction .*outcome=relayed .*guest@dest\.example`)+p.count(`msg=transaction .*guest@dest\.example.*outcome=relayed`) == 19
	})
	if after := len(up.Messages()); after < before+19 {
		t.Errorf("%d messages have left, before the mail of the others %d", after, before)
	}
	wantText(t, p.verb(0, "senders", "-state", "suspend"), `user7`)
	eventually(t, "the journal tells what left", func() bool {
		return strings.Contains(p.verb(0, "incident", "submitter:corporate/user7", "-since", "1h"), thief)
	})
	p.stop()
}
