package main

import (
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postern/internal/smtptest"
)

// TestSmarthostOfTheExample plays the shipped example with the settings of Postfix
// that stand in it: mail of people reaches the recipients' own hosts from the address
// of its stream, each recipient of one message has a verdict of its own, and mail of
// applications goes to the provider.
func TestSmarthostOfTheExample(t *testing.T) {
	t.Parallel()
	world := newReceivers(t)
	good := world.add("good.example", "127.0.0.2")
	grey := world.add("grey.example", "127.0.0.3", smtptest.Fault{Stage: smtptest.Rcpt, Times: 1, Reply: "450 4.2.0 greylisted, come back"})
	unknown := world.add("unknown.example", "127.0.0.4", smtptest.Fault{Stage: smtptest.Rcpt, Reply: "550 5.1.1 no such user"})
	provider := smtptest.Start(t, smtptest.Options{})
	dir := t.TempDir()
	_, hash, _ := runVerb("secret\n", "hash-password", "-bcrypt")
	const name = "mta-smarthost.toml"
	writeFile(t, filepath.Join(dir, "relay.toml"), shippedExample(t, name, [][2]string{
		{`"/var/lib/postern"`, `"` + dir + `"`},
		{`/var/lib/postern/`, dir + "/"},
		{`"0\.0\.0\.0:2424"`, `"127.0.0.1:0"`},
		{`"0\.0\.0\.0:465"\ntls         = "implicit"`, "\"127.0.0.1:0\""},
		{`(?m)^(tls         = "optional"|certificate .*|key .*|require_tls = true)\n`, ""},
		{`"10\.20\.0\.5/32", "10\.20\.0\.6/32"`, `"127.0.0.1/32"`},
		{`"\$argon2id\$[^"]*"`, `"` + strings.TrimSpace(hash) + `"`},
		{`source_ip = \["192\.0\.2\.24"\]`, `source_ip = ["127.0.9.24"]`},
		{`(?m)^mx = true.*`, world.inExample()},
		{`(?s)"smtp1.provider.example:587".*provider"   # mode`, `"` + provider.Addr() + "\"]\ntls = \"off\" # mode"},
		{`(?s)\[dkim.*\]\n\n\[limit.sender\]`, "[limit.sender]"},
		{`(?s)\[redis\].*\[journal\]`, "[reputation]\nresolvers = [\"127.0.0.1:9\"]\ntimeout = \"1s\"\n[journal]"},
		{`format = "json"`, `format = "text"`},
		{`"127.0.0.1:8025"`, `"127.0.0.1:0"`},
	}))
	p := startRelayIn(t, dir)
	var settings []string
	for _, m := range regexp.MustCompile(`(?m)^#     ([a-z_]+ = ?.*)$`).FindAllStringSubmatch(string(readFile(t, "../../examples/"+name)), -1) {
		settings = append(settings, strings.Replace(strings.Replace(m[1], "[relay.example.org]:2424", p.address("mta"), 1), "= encrypt", "= none", 1))
	}
	if len(settings) != 3 {
		t.Fatalf("the example has settings %q", settings)
	}
	mta := startPostfix(t, p.address("mta"), append(settings, "bounce_queue_lifetime = 0")...)
	to := []string{"a@good.example", "b@grey.example", "c@unknown.example"}
	if err := mta.send("anna@example.org", to, testMessage("anna@example.org", "m1")); err != nil {
		t.Fatal(err)
	}
	m := upstreamMessages(t, good, 1)[0]
	upstreamMessages(t, grey, 1)
	eventually(t, "the queue is empty", func() bool { return mta.queued() == 0 })
	if good.Taken() != 1 || grey.Taken() != 1 || unknown.Taken() != 0 {
		t.Errorf("taken: %d %d %d", good.Taken(), grey.Taken(), unknown.Taken())
	}
	if m.Remote.Addr() != netip.MustParseAddr("127.0.9.24") {
		t.Errorf("the world sees %s", m.Remote)
	}
	d := dialSMTP(t, p.address("submission"))
	d.say("AUTH PLAIN AGNybQBzZWNyZXQ=", "235") // crm, secret
	d.say("MAIL FROM:<crm@example.org>", "250")
	d.say("RCPT TO:<b@dest.example>", "250")
	d.say("DATA", "354")
	d.say("From: crm@example.org\r\nTo: b@dest.example\r\nSubject: x\r\n\r\nx\r\n.", "250")
	upstreamMessages(t, provider, 1)
	p.stop()
}
