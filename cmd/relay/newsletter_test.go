package main

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// shippedExample is one of the examples with other words in the place of some; each
// pattern has to be in it.
func shippedExample(t *testing.T, name string, others [][2]string) string {
	t.Helper()
	text := string(readFile(t, "../../examples/"+name))
	for _, r := range others {
		re := regexp.MustCompile(r[0])
		if !re.MatchString(text) {
			t.Fatalf("the example has no %s", r[0])
		}
		text = re.ReplaceAllLiteralString(text, r[1])
	}
	return text
}

// marketingExample is the shipped example, with the addresses of this machine in
// the place of its own and its newsletter due today.
func marketingExample(t *testing.T, world *receivers, mode string) *process {
	t.Helper()
	dir := t.TempDir()
	_, hash, _ := runVerb("secret\n", "hash-password", "-bcrypt")
	today := time.Now().UTC()
	days := fmt.Sprintf(`days = [%q, %q]`, strings.ToLower(today.Format("Mon")), strings.ToLower(today.AddDate(0, 0, 1).Format("Mon")))
	writeFile(t, filepath.Join(dir, "relay.toml"), shippedExample(t, "marketing-dedicated-ip.toml", [][2]string{
		{`"/var/lib/postern"`, `"` + dir + `"`},
		{`/var/lib/postern/`, dir + "/"},
		{`address     = "10\.20\.0\.2:465"\ntls         = "implicit"\ncertificate.*\nkey .*\n`, "address = \"127.0.0.1:0\"\n"},
		{`"10\.20\.0\.2:2424"`, `"127.0.0.1:0"`},
		{`"10\.20\.0\.5/32"`, `"127.0.0.5/32"`},
		{`"10\.20\.0\.40/32"`, `"127.0.0.1/32"`},
		{`source_ip = \["192\.0\.2\.24", "2001:db8::24"\]`, `source_ip = ["127.0.9.24"]`},
		{`source_ip = \["192\.0\.2\.25", "2001:db8::25"\]`, `source_ip = ["127.0.9.25"]`},
		{`"\$argon2id\$[^"]*"`, `"` + strings.TrimSpace(hash) + `"`},
		{`(?m)^mx = true.*`, world.inExample()},
		{`\[dkim\."[^"]*"\]\nkeys.*\n`, ""},
		{`days     = .*`, days},
		{`mode         = "shadow" .*`, `mode = "` + mode + `"`},
		{`address = "127.0.0.1:8025"`, `address = "127.0.0.1:0"`},
		{`\[reputation\]\n`, "[reputation]\nresolvers = [\"127.0.0.1:9\"]\ntimeout = \"100ms\"\n"},
	}))
	return startRelayIn(t, dir)
}

// TestDeclaredNewsletterOfTheExamplePasses: 700 recipients at ten providers, by a
// program that has never sent before, within seconds.
func TestDeclaredNewsletterOfTheExamplePasses(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"shadow", "enforce"} {
		t.Run(mode, func(t *testing.T) {
			world := newReceivers(t)
			for i := range 10 {
				world.add(fmt.Sprintf("provider%d.example", i), fmt.Sprintf("127.0.0.%d", 10+i))
			}
			p := marketingExample(t, world, mode)
			d := dialSMTP(t, p.address("submission"))
			d.say("AUTH PLAIN AG5ld3NsZXR0ZXIAc2VjcmV0", "235") // newsletter, secret
			for i := range 700 {
				d.say("MAIL FROM:<news@example.com>", "250")
				d.say(fmt.Sprintf("RCPT TO:<reader%d@provider%d.example>", i, i%10), "250")
				d.say("DATA", "354")
				d.say(newsletterText(i), "250")
			}
			d.say("QUIT", "221")
			for domain, up := range world.at {
				for _, m := range upstreamMessages(t, up, 70) {
					if m.Remote.Addr() != netip.MustParseAddr("127.0.9.25") || m.EHLO != "news.example.com" {
						t.Fatalf("%s sees %s as %s", domain, m.Remote, m.EHLO)
					}
				}
			}
			if out := p.verb(0, "senders", "-sort", "alarm"); !regexp.MustCompile(`(?m)\bnews@example\.com .*normal`).MatchString(out) {
				t.Errorf("the newsletter is under alarm:\n%s", out)
			}
			if n := p.count(`msg=outlier`); n > 0 {
				t.Errorf("%d changes of state", n)
			}
			p.stop()
		})
	}
}

func newsletterText(i int) string {
	return fmt.Sprintf("From: News <news@example.com>\r\nTo: reader%d@provider%d.example\r\nSubject: Weekly\r\n"+
		"List-Unsubscribe: <https://news.example.com/u/%d>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\nNews.\r\n.", i, i%10, i)
}
