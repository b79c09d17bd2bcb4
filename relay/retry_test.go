package relay

import (
	"fmt"
	"strings"
	"testing"
)

// TestUnknownOutcomeStaysCharged: an upstream that takes each message and hangs up
// instead of its last reply lets no more pass than the limit.
func TestUnknownOutcomeStaysCharged(t *testing.T) {
	r := newRig(t)
	r.set("", "limit.sender.per sender")
	r.set("", "limit.sender.messages 5/1h")
	r.set("", "limit.sender.recipients 50/1h")
	r.fault("", "dot times=6 drop")
	p := r.dial()
	p.say("EHLO x", "250")
	send := func(n int, want string) {
		t.Helper()
		p.say("MAIL FROM:<a@example.org>", "250")
		if got := p.say("RCPT TO:<b@dest.example>", want[:3]); want[:3] != "250" {
			_ = got
			p.say("RSET", "250")
			return
		}
		p.say("DATA", "354")
		p.send(fmt.Sprintf("From: a@example.org\r\nSubject: %d\r\n\r\nx\r\n.\r\n", n))
		p.want(want[4:])
	}
	for n := range 4 {
		send(n, "250 451 4.4.2")
	}
	send(0, "250 451 4.4.2") // a second time unknown: charged
	send(5, "450")
	r.reload("", "limit.sender.messages 7/1h")
	send(5, "250 451 4.4.2") // six are charged
	send(1, "250 250")       // the one retry, free
	send(1, "250 250")       // and again: charged, the seventh
	send(2, "450")
	if got := len(r.up.Messages()); got != 8 {
		t.Errorf("%d at the upstream, want 6 of unknown outcome and 2 others", got)
	}
}

// TestRetryOfAnotherIsCharged: neither another content nor other recipients pass
// for the retry.
func TestRetryOfAnotherIsCharged(t *testing.T) {
	r := newRig(t)
	r.set("", "limit.sender.per client")
	r.set("", "limit.sender.messages 4/1h")
	r.fault("", "dot times=1 drop")
	p := r.dial()
	p.say("EHLO x", "250")
	send := func(from, to, body, want string) {
		t.Helper()
		p.say("MAIL FROM:<"+from+">", "250")
		p.say("RCPT TO:<"+to+">", "250")
		p.say("DATA", "354")
		p.send("From: a@example.org\r\n\r\n" + body + "\r\n.\r\n")
		p.want(want)
	}
	send("a@example.org", "b@dest.example", "x", "451 4.4.2")
	send("c@example.org", "b@dest.example", "x", "250")
	send("a@example.org", "c@dest.example", "x", "250")
	send("a@example.org", "b@dest.example", "y", "250")
	p.say("MAIL FROM:<a@example.org>", "250")
	p.say("RCPT TO:<b@dest.example>", "450 4.7.1")
}

// TestLargeRetryIsFree: the content is known again where it went to a file.
func TestLargeRetryIsFree(t *testing.T) {
	r := newRig(t)
	r.set("", "limit.sender.per client")
	r.set("", "limit.sender.messages 2/1h")
	r.message.Memory = 4 << 10
	r.fault("", "dot times=1 drop")
	p := r.dial()
	p.say("EHLO x", "250")
	for _, want := range []string{"451 4.4.2", "250", "250"} {
		p.say("MAIL FROM:<a@example.org>", "250")
		p.say("RCPT TO:<b@dest.example>", "250")
		p.say("DATA", "354")
		p.send("From: a@example.org\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 1000) + ".\r\n")
		p.want(want)
	}
	p.say("MAIL FROM:<a@example.org>", "250")
	p.say("RCPT TO:<b@dest.example>", "450 4.7.1")
}
