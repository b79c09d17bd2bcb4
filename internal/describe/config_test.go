package describe

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/config"
	"postern/policy"
	"postern/ratelimit"
)

// TestConfigShowsProvidersAndSignatures: what a profile sets, and what was written
// over it, stands in the words of relay check.
func TestConfigShowsProvidersAndSignatures(t *testing.T) {
	file := filepath.Join(t.TempDir(), "relay.toml")
	text := `hostname = "relay.example.org"
[listener.a]
address = "127.0.0.1:2525"
[client.one]
networks = ["10.1.2.0/24"]
senders = ["@example.org"]
stream = "main"
[client.two]
networks = ["10.1.3.0/24"]
senders = ["@example.org"]
stream = "other"
[stream.main]
upstream = "out"
[stream.other]
upstream = "out"
sign_keys = "none"
[upstream.out]
profile = "ses"
hosts = ["email-smtp.eu-west-1.amazonaws.com:587"]
max_recipients = 20
[upstream.plain]
hosts = ["smtp.mailgun.org:587"]
[dkim."example.org"]
generate = true
keys = [{ selector = "s1", file = "s1.pem" }, { selector = "s2", file = "s2.pem" }]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, _, err := config.LoadHere(file)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	Config(&b, f)
	for _, want := range []string{
		"upstream out:  by the profile ses, Amazon SES; 20 recipients a message; 50 connections with 1000 messages each\n",
		"               It replaces Message-ID and Date by its own",
		`upstream plain: smtp.mailgun.org:587 is a host of Mailgun; profile = "mailgun" would set what that wants`,
		"example.org as example.org with key s1 alone, or the next one that is published, or it waits\n",
		"leaving out Message-ID, Date\n",
		"its own signatures are taken out\n",
		"example.org as example.org by nobody on this way: it leaves unsigned\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestConfigSaysWhatIsRefusedInMessages(t *testing.T) {
	file := filepath.Join(t.TempDir(), "relay.toml")
	text := `
hostname = "relay.example.org"
[listener.a]
address = "127.0.0.1:2525"
tls = "none"
[client.a]
networks = ["127.0.0.1/32"]
senders = ["@example.org"]
stream = "main"
refuse_attachments = ["exe"]
[stream.main]
upstream = "capture"
refuse_encrypted = true
[upstream.capture]
capture = "outbox"
[links]
zones = ["dbl.example"]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, _, err := config.LoadHere(file)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	Config(&b, f)
	for _, want := range []string{"attachments: exe; encrypted archives and documents; what can be read in two ways refused\n", "held against dbl.example: mode shadow\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// TestLimitsSayFromWhereTheyCount, and whose address that is.
func TestLimitsSayFromWhereTheyCount(t *testing.T) {
	l := ratelimit.RuleConfig{Per: ratelimit.Per{ratelimit.PerUser}, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		NotNetworks: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("192.0.2.8/32")}}
	c := policy.ClientConfig{Users: []string{"anna"}}
	if got := oneLimit(l, c, false); got != "as its overrides say for each user; mail from 192.0.2.0/24 only; mail from 192.0.2.7/32, 192.0.2.8/32 not counted" {
		t.Error(got)
	}
	c.Submitter = append(c.Submitter, "xforward")
	if got := oneLimit(l, c, false); !strings.Contains(got, "mail from 192.0.2.0/24 only, by the submitter's address, behind the data;") {
		t.Error(got)
	}
}
