package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postern/internal/smtptest"
)

// TestDSNIsOfferedByUpstream: on the built relay, from its first second on, a peer is
// offered DSN where every client that it can become has an upstream that offers it.
func TestDSNIsOfferedByUpstream(t *testing.T) {
	t.Parallel()
	with, without := smtptest.Start(t, smtptest.Options{}), smtptest.Start(t, smtptest.Options{Offer: []string{"PIPELINING"}})
	text := basic(with, fmt.Sprintf(`
[listener.submission]
address = "127.0.0.1:0"
[user.shop]
password = "$2b$12$9ONShFYUIRYfZo1p3t8H3eoYLTNvpxkPk7Jwzq.cYQoStdJQ6MDIe"
[client.shop]
users = ["shop"]
listeners = ["submission"]
senders = ["@shop.example"]
stream = "other"
[stream.other]
upstream = "plain"
[upstream.plain]
hosts = [%q]
tls = "off"
[upstream.kept]
capture = "kept"
`, without.Addr()))
	p := startRelay(t, text)
	d := dialSMTP(t, p.address("mta"))
	if r := d.say("EHLO client.example.org", "250"); !strings.Contains(r, "250-DSN\r\n") && !strings.HasSuffix(r, "250 DSN") {
		t.Errorf("no DSN where the only client has an upstream with it: %q", r)
	}
	d.say("MAIL FROM:<a@example.org> RET=HDRS ENVID=q1", "250")
	d.say("RCPT TO:<b@dest.example> NOTIFY=NEVER ORCPT=rfc822;B@dest.example", "250")
	d.say("DATA", "354")
	d.say("From: a@example.org\r\n\r\nx\r\n.", "250")
	m := with.Messages()[0]
	if got := fmt.Sprint(m.From.Params, m.To[0].Params); got != "[RET=HDRS ENVID=q1] [NOTIFY=NEVER ORCPT=rfc822;B@dest.example]" {
		t.Errorf("the upstream got %s", got)
	}

	d = dialSMTP(t, p.address("submission"))
	if r := d.say("EHLO client.example.org", "250"); strings.Contains(r, "DSN") {
		t.Errorf("DSN although AUTH may lead to an upstream without it: %q", r)
	}
	d.say("MAIL FROM:<a@example.org> RET=HDRS", "555 5.5.4")
	p.tells(`up `+with.Addr()+` is up.*, offers DSN`, "status")

	// A reload to an upstream that captures takes the offer away.
	writeFile(t, filepath.Join(p.dir, "relay.toml"), strings.Replace(text, `upstream = "up"`, `upstream = "kept"`, 1))
	p.signal(syscall.SIGHUP)
	p.expect("configuration reloaded")
	d = dialSMTP(t, p.address("mta"))
	if r := d.say("EHLO client.example.org", "250"); strings.Contains(r, "DSN") {
		t.Errorf("DSN of an upstream that captures: %q", r)
	}
	p.stop()
}
