package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postern/internal/smtptest"
)

// TestReloadChangesHowMailIsSigned: other keys for an upstream hold from the next
// message on, over the connections that there are; a message that has begun is signed
// as it began.
func TestReloadChangesHowMailIsSigned(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	text := basic(up, `
[dkim."example.org"]
generate = true
keys = [{ selector = "s1", file = "s1.pem", type = "ed25519" }, { selector = "s2", file = "s2.pem", type = "ed25519" }]
`)
	p := startRelay(t, text)
	reload := func(keys string) {
		writeFile(t, filepath.Join(p.dir, "relay.toml"), strings.Replace(text, `tls = "off"`, "tls = \"off\"\nsign_keys = "+keys, 1))
		before := p.count("configuration reloaded")
		p.signal(syscall.SIGHUP)
		eventually(t, "the reload is told", func() bool { return p.count("configuration reloaded") > before })
	}
	d := dialSMTP(t, p.address("mta"))
	begin := func() {
		d.say("MAIL FROM:<a@example.org>", "250")
		d.say("RCPT TO:<b@dest.example>", "250")
	}
	end := func() {
		d.say("DATA", "354")
		d.say("From: a@example.org\r\n\r\nx\r\n.", "250")
	}
	begin()
	reload(`"none"`)
	end()
	begin()
	end()
	reload(`["s2"]`)
	begin()
	end()
	all := upstreamMessages(t, up, 3)
	for i, want := range []string{"s=s1;s=s2;", "", "s=s2;"} {
		got := ""
		for _, s := range []string{"s=s1;", "s=s2;"} {
			if bytes.Contains(all[i].Data, []byte("\ts="+s[2:])) {
				got += s
			}
		}
		if got != want {
			t.Errorf("message %d is signed by %q, want %q", i, got, want)
		}
		if all[i].Conn != all[0].Conn {
			t.Errorf("message %d came by connection %d", i, all[i].Conn)
		}
	}
	p.stop()
}
