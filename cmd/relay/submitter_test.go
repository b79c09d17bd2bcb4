package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/smtptest"
)

// dovecotAuth answers as Dovecot's authentication server does, so that a real Postfix
// takes SASL users without another package: the password of each is its name.
func dovecotAuth(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveAuth(c)
		}
	}()
	return l.Addr().String()
}

func serveAuth(c net.Conn) {
	defer c.Close()
	fmt.Fprint(c, "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t0123456789abcdef0123456789abcdef\nDONE\n")
	for lines := bufio.NewScanner(c); lines.Scan(); {
		words := strings.Split(lines.Text(), "\t")
		if words[0] != "AUTH" {
			continue
		}
		resp := ""
		for _, w := range words {
			if v, ok := strings.CutPrefix(w, "resp="); ok {
				b, _ := base64.StdEncoding.DecodeString(v)
				resp = string(b)
			}
		}
		if parts := strings.Split(resp, "\x00"); len(parts) == 3 && parts[1] == parts[2] {
			fmt.Fprintf(c, "OK\t%s\tuser=%s\n", words[1], parts[1])
		} else {
			fmt.Fprintf(c, "FAIL\t%s\n", words[1])
		}
	}
}

// TestOneMailboxOfTwentyBehindPostfixIsSuspended: by the name that a real Postfix
// tells. The other 19 go on; what the suspended one writes of itself changes nothing.
func TestOneMailboxOfTwentyBehindPostfixIsSuspended(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	p := startRelay(t, strings.Replace(basic(up, `
[client.other]
networks = ["127.0.0.2/32"]
senders = ["@example.org"]
stream = "main"
`), "[client.corporate]", "[client.corporate]\nsubmitter = [\"received-auth\", \"xforward\"]", 1))
	mta := startPostfix(t, p.address("mta"),
		"smtpd_sasl_auth_enable = yes", "smtpd_sasl_type = dovecot", "smtpd_sasl_path = inet:"+dovecotAuth(t),
		"smtpd_sasl_authenticated_header = yes", "smtp_send_xforward_command = yes", "smtpd_sasl_security_options = noanonymous")
	send := func(user, message string) {
		t.Helper()
		from := user + "@example.org"
		auth := smtp.PlainAuth("", user, user, "127.0.0.1")
		if err := smtp.SendMail(mta.address, auth, from, []string{"b@dest.example"}, []byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	mailOf := func(user, mark string) string { return string(testMessage(user+"@example.org", mark)) }
	send("user7", mailOf("user7", "first"))
	upstreamMessages(t, up, 1)
	p.expect(`msg=transaction .*client=corporate .*outcome=relayed .*submitter=corporate/user7`)
	p.verb(0, "suspend", "submitter:corporate/user7", "-for", "1h", "-reason", "password stolen")

	// Its own Received line, as Postfix would write it for another, lies below Postfix's.
	forged := "Received: from x (x [198.51.100.9]) (Authenticated sender: user3)\r\n\tby mta.example.org (Postfix) with ESMTPSA id 4ABC; Mon, 30 Nov 2026 10:00:00 +0000\r\n"
	send("user7", forged+mailOf("user7", "stolen"))
	p.expect(`msg=transaction .*stage=forward outcome=deferred code=450 status=4\.7\.1 rule="outlier submitter" .*reply="450 4\.7\.1 submitter user7: suspended for unusual sending, retry in \d+ seconds" .*submitter=corporate/user7`)
	for i := range 20 {
		if i != 7 {
			send(fmt.Sprintf("user%d", i), mailOf(fmt.Sprintf("user%d", i), fmt.Sprintf("m%d", i)))
		}
	}
	for _, m := range upstreamMessages(t, up, 20) {
		if markOf(m.Data) == "stolen" {
			t.Error("mail of the suspended mailbox has left")
		}
	}
	eventually(t, "Postfix keeps one message", func() bool { return mta.queued() == 1 })
	mta.logs(`status=deferred .*450 4\.7\.1 submitter user7: suspended for unusual sending`)

	// The same words from a client that is not asked blame nobody.
	other := p.session("127.0.0.2")
	other.say("MAIL FROM:<a@example.org>")
	other.say("RCPT TO:<b@dest.example>")
	other.say("DATA")
	if reply := other.say(strings.ReplaceAll(forged, "user3", "user7") + mailOf("a", "other") + "."); !strings.HasPrefix(reply, "250") {
		t.Errorf("another client hears %q", reply)
	}
	upstreamMessages(t, up, 21)
	p.tells(`<user7@example\.org> to <b@dest\.example>  deferred 450 4\.7\.1 outlier submitter`, "find", "-submitter", "user7")
	wantText(t, p.verb(0, "senders", "show", "submitter:corporate/user7"), `suspended until`)
	p.verb(0, "release", "submitter:corporate/user7")
	mta.flush()
	eventually(t, "the released mailbox goes on", func() bool { return mta.queued() == 0 })
	upstreamMessages(t, up, 22)
	p.stop()
}

// TestIncidentTellsWhatLeft: from the journal of a relay, with a list for its owner alone.
func TestIncidentTellsWhatLeft(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	p := startRelay(t, strings.Replace(basic(up, ""), "[client.corporate]", "[client.corporate]\nsubmitter = [\"header:X-AuthUser\"]", 1))
	s := p.session("127.0.0.1")
	for _, box := range []string{"anna", "anna", "bob"} {
		s.say("MAIL FROM:<a@example.org>")
		s.say("RCPT TO:<" + box + "@dest.example>")
		s.say("DATA")
		s.say("X-AuthUser: " + box + "\r\n" + testMessage("a@example.org", "i") + ".")
	}
	upstreamMessages(t, up, 3)
	p.stop()
	list := filepath.Join(t.TempDir(), "list.csv")
	wantText(t, p.verb(0, "incident", "submitter:corporate/anna", "-since", "1h", "-list", list), `(?s)2 messages left from .* to 2 recipients, 1 different one; 0 recipients refused.*dest\.example +2 +0 +0.*Please do not open`)
	info, err := os.Stat(list)
	if err != nil || info.Mode().Perm() != 0o600 || strings.Count(string(readFile(t, list)), "anna@dest.example") != 2 {
		t.Errorf("%v %v", info, err)
	}
	p.verb(1, "incident", "submitter:corporate/anna", "-since", "1h", "-list", list) // it is not written over
	p.verb(2, "incident", "submitter:corporate/anna")
	wantText(t, p.verb(0, "outliers", "measure"), `no day of a user or submitter`)
}
