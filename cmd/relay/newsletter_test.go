package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
)

// marketingExample is the shipped example, with the addresses of this machine in
// the place of its own and its newsletter due today.
func marketingExample(t *testing.T, up *smtptest.Server, mode string) *process {
	t.Helper()
	dir := t.TempDir()
	text := string(readFile(t, "../../examples/marketing-dedicated-ip.toml"))
	_, hash, _ := runVerb("secret\n", "hash-password", "-bcrypt")
	today := time.Now().UTC()
	days := fmt.Sprintf(`days = [%q, %q]`, strings.ToLower(today.Format("Mon")), strings.ToLower(today.AddDate(0, 0, 1).Format("Mon")))
	for _, r := range [][2]string{
		{`"/var/lib/postern"`, `"` + dir + `"`},
		{`/var/lib/postern/`, dir + "/"},
		{`address     = "10\.20\.0\.2:465"\ntls         = "implicit"\ncertificate.*\nkey .*\n`, "address = \"127.0.0.1:0\"\n"},
		{`"10\.20\.0\.2:25"`, `"127.0.0.1:0"`},
		{`"10\.20\.0\.5/32"`, `"127.0.0.5/32"`},
		{`"10\.20\.0\.40/32"`, `"127.0.0.1/32"`},
		{`source_ip = .*\n`, ""},
		{`"\$argon2id\$[^"]*"`, `"` + strings.TrimSpace(hash) + `"`},
		{`"10\.20\.0\.3:25"\]\ntls   = "required"`, `"` + up.Addr() + "\"]\ntls = \"off\""},
		{`\[dkim\."[^"]*"\]\nkeys.*\n`, ""},
		{`days     = .*`, days},
		{`mode         = "shadow" .*`, `mode = "` + mode + `"`},
		{`address = "127.0.0.1:8025"`, `address = "127.0.0.1:0"`},
		{`\[reputation\]\n`, "[reputation]\nresolvers = [\"127.0.0.1:9\"]\ntimeout = \"100ms\"\n"},
	} {
		re := regexp.MustCompile(r[0])
		if !re.MatchString(text) {
			t.Fatalf("the example has no %s", r[0])
		}
		text = re.ReplaceAllLiteralString(text, r[1])
	}
	writeFile(t, filepath.Join(dir, "relay.toml"), text)
	return startRelayIn(t, dir)
}

// TestDeclaredNewsletterOfTheExamplePasses: 700 recipients at ten providers, by a
// program that has never sent before, within seconds.
func TestDeclaredNewsletterOfTheExamplePasses(t *testing.T) {
	for _, mode := range []string{"shadow", "enforce"} {
		t.Run(mode, func(t *testing.T) {
			up := smtptest.Start(t, smtptest.Options{})
			p := marketingExample(t, up, mode)
			d := dialSMTP(t, p.address("submission"))
			d.say("AUTH PLAIN AG5ld3NsZXR0ZXIAc2VjcmV0", "235") // newsletter, secret
			for i := range 700 {
				d.say("MAIL FROM:<news@example.com>", "250")
				d.say(fmt.Sprintf("RCPT TO:<reader%d@provider%d.example>", i, i%10), "250")
				d.say("DATA", "354")
				d.say(newsletterText(i), "250")
			}
			d.say("QUIT", "221")
			upstreamMessages(t, up, 700)
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
