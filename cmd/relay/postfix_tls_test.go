package main

import (
	"fmt"
	"strings"
	"testing"

	"postern/internal/auth"
	"postern/internal/smtptest"
)

// TestPostfixWithTLSAndPassword: Postfix submits as a SASL user under TLS; the
// client's address stays out of Received, and TLS is in it.
func TestPostfixWithTLSAndPassword(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	dir := t.TempDir()
	ca, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, key := ca.WritePair(t, dir, "relay", smtptest.Cert{Names: []string{"127.0.0.1"}})
	p := startRelay(t, fmt.Sprintf(`
hostname = "relay.test"
[reputation]
resolvers = ["127.0.0.1:9"]
[listener.submission]
address = "127.0.0.1:0"
tls = "required"
certificate = %q
key = %q
[user.shop]
password = %q
[client.shop]
users = ["shop"]
senders = ["orders@shop.example"]
stream = "main"
hide_client = true
[stream.main]
upstream = "up"
[upstream.up]
hosts = [%q]
tls = "off"
`, cert, key, auth.HashArgon2id("secret, with a comma"), up.Addr()))
	address := p.address("submission")
	_, port, _ := strings.Cut(address, ":")
	mta := startPostfix(t, address,
		"smtp_tls_security_level = encrypt",
		"smtp_sasl_auth_enable = yes",
		"smtp_sasl_security_options = noanonymous",
		"smtp_sasl_password_maps = inline:{ { [127.0.0.1]:"+port+" = shop:secret, with a comma } }",
	)
	for i := range 5 {
		if err := mta.send("orders@shop.example", []string{"b@dest.example"}, testMessage("orders@shop.example", fmt.Sprintf("t%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range upstreamMessages(t, up, 5) {
		head, _, _ := strings.Cut(string(m.Data), "\r\n\tby mta.example.org")
		if !strings.Contains(head, "SMTPSA id ") {
			t.Errorf("Received does not say that TLS and a password were used:\n%s", head)
		}
		if first, _, _ := strings.Cut(head, "\r\nReceived:"); strings.Contains(first, "127.0.0.1") {
			t.Errorf("Received names the client's address:\n%s", first)
		}
	}
	p.expect(`client=shop .* user=shop .* outcome=relayed`)
	for _, secret := range []string{"secret, with", "c2VjcmV0"} {
		if n := p.count(secret); n > 0 {
			t.Errorf("%d log lines hold the password", n)
		}
	}
	eventually(t, "the queue is empty", func() bool { return mta.queued() == 0 })

	// A sender that the user does not own is refused for good: Postfix hears it.
	if err := mta.send("ceo@example.org", []string{"b@dest.example"}, testMessage("ceo@example.org", "forged")); err != nil {
		t.Fatal(err)
	}
	p.expect(`code=553 status=5\.7\.1 rule=senders`)
	if up.Taken() != 5 {
		t.Errorf("upstream has %d messages, want 5", up.Taken())
	}
	p.stop()
}
