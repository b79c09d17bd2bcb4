package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"postern/internal/smtptest"
)

// TestUserInAColleaguesNameIsHeldAndReleased: a user sends 80 messages to strangers
// in the name of a colleague. What is held is the author, as each command says, and
// what it prints is taken back.
func TestUserInAColleaguesNameIsHeldAndReleased(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	_, hash, _ := runVerb("secret\n", "hash-password", "-bcrypt")
	p := startRelay(t, strings.Replace(basic(up, fmt.Sprintf(`
[user.anna]
password = %[1]q
[user.xaver]
password = %[1]q
[outlier]
mode = "enforce"
`, strings.TrimSpace(hash))), `networks = ["127.0.0.1/32"]`, `users = ["anna", "xaver"]`, 1))
	session := func(auth string) *smtpDialog {
		d := dialSMTP(t, p.address("mta"))
		d.say("AUTH PLAIN "+auth, "235")
		return d
	}
	send := func(d *smtpDialog, from, to string) string {
		if r := d.say("MAIL FROM:<"+from+">", ""); r[0] != '2' {
			return r
		}
		d.say("RCPT TO:<"+to+">", "250")
		d.say("DATA", "354")
		return d.say(strings.TrimSuffix(testMessage(from, to), "\r\n")+"\r\n.", "250")
	}
	anna, xaver := session("AGFubmEAc2VjcmV0"), session("AHhhdmVyAHNlY3JldA==")
	send(anna, "anna@example.org", "first@dest.example")
	var refusal string
	for i := range 80 {
		if refusal = send(xaver, "anna@example.org", fmt.Sprintf("stranger%d@dest.example", i)); refusal[0] != '2' {
			break
		}
	}
	if !strings.HasPrefix(refusal, "450 4.7.1 xaver: ") && !strings.HasPrefix(refusal, "450 4.7.1 <anna@example.org>: ") {
		t.Errorf("the author is told %q", refusal)
	}
	if r := send(anna, "anna@example.org", "second@dest.example"); r[0] != '2' {
		t.Errorf("the colleague is held: %s", r)
	}
	if r := send(xaver, "xaver@example.org", "second@dest.example"); r[0] != '4' {
		t.Errorf("the author goes on as himself: %s", r)
	}
	wantText(t, p.verb(0, "senders", "-state", "throttle"), `(?m)^user\+sender:xaver anna@example\.org +(throttled|suspended)`)
	wantText(t, p.verb(0, "senders", "-state", "throttle"), `(?m)^user:xaver +(throttled|suspended)`)
	wantText(t, p.verb(0, "senders", "show", "user+sender:xaver anna@example.org"), `(?m)^user\+sender +xaver anna@example\.org$`)
	out := p.verb(0, "release", "user:xaver", "-reason", "it was him")
	if m := regexp.MustCompile(`relay release 'user\+sender:xaver anna@example\.org'`).FindString(out); m == "" {
		t.Errorf("what else is held is not said:\n%s", out)
	}
	wantText(t, p.verb(0, "release", "user+sender:xaver anna@example.org", "-learn", "-reason", "it was him"), "is now normal")
	if r := send(xaver, "anna@example.org", "third@dest.example"); r[0] != '2' {
		t.Errorf("after the release: %s", r)
	}
	p.stop()
}
