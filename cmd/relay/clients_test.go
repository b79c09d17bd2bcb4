package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/auth"
	"postern/internal/smtptest"
)

// mailer is a program that people send mail with.
type mailer struct {
	name, program, debian string
	files                 []string
	composes              bool // the message itself, with a hidden recipient; else it sends raw
	args                  func(port, ca, from, to string) []string
}

const (
	mailerUser     = "shop"
	mailerPassword = "s3cret, with a comma"
)

// mailers are those of the test, each with STARTTLS and AUTH.
func mailers() []mailer {
	script := func(name string) func(port, ca, from, to string) []string {
		return func(port, ca, from, to string) []string {
			return []string{filepath.Join("testdata/clients", name), port, ca, mailerUser, mailerPassword, from, to}
		}
	}
	return []mailer{
		{name: "msmtp", program: "msmtp", debian: "msmtp", args: func(port, ca, from, to string) []string {
			return []string{"--host=127.0.0.1", "--port=" + port, "--domain=client.example.org", "--tls=on", "--tls-starttls=on", "--tls-trust-file=" + ca, "--auth=plain",
				"--user=" + mailerUser, "--passwordeval=echo '" + mailerPassword + "'", "--from=" + from, "--", to}
		}},
		{name: "curl", program: "curl", debian: "curl", args: func(port, ca, from, to string) []string {
			return []string{"--silent", "--show-error", "--max-time", "30", "--ssl-reqd", "--cacert", ca, "--url", "smtp://127.0.0.1:" + port + "/client.example.org",
				"--user", mailerUser + ":" + mailerPassword, "--mail-from", from, "--mail-rcpt", to, "--crlf", "--upload-file", "-"}
		}},
		{name: "swaks", program: "swaks", debian: "swaks", args: func(port, _, from, to string) []string {
			return []string{"--server", "127.0.0.1", "--port", port, "--helo", "client.example.org", "--tls", "--auth", "LOGIN", "--auth-user", mailerUser,
				"--auth-password", mailerPassword, "--from", from, "--to", to, "--data", "-"}
		}},
		{name: "smtplib", program: "python3", debian: "python3", composes: true, args: script("python.py")},
		{name: "PHPMailer", program: "php", debian: "php-cli and libphp-phpmailer", files: []string{"/usr/share/php/libphp-phpmailer/autoload.php"},
			composes: true, args: script("phpmailer.php")},
		{name: "nodemailer", program: "node", debian: "node-nodemailer", files: []string{"/usr/share/nodejs/nodemailer/package.json"},
			composes: true, args: script("nodemailer.js")},
	}
}

// TestMailersThroughTheRelay: programs that people send mail with submit by STARTTLS
// and a password, through the relay to a scripted Amazon SES. One message of each
// arrives whole, with one signature that fits what SES has made of it; one in another's
// name is refused, and the program says so.
func TestMailersThroughTheRelay(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.SES())
	ca, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key := ca.WritePair(t, dir, "relay", smtptest.Cert{Names: []string{"127.0.0.1"}})
	authority := ca.WriteFile(t, dir)
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
[stream.main]
upstream = "up"
[upstream.up]
profile = "ses"
hosts = [%q]
tls = "off"
[dkim."shop.example"]
generate = true
keys = [{ selector = "s1", file = "s1.pem" }, { selector = "s2", file = "s2.pem", type = "ed25519" }]
`, cert, key, auth.HashArgon2id(mailerPassword), up.Addr()))
	_, port, _ := strings.Cut(p.address("submission"), ":")
	_, record, _ := runVerb("", "dkim", "record", "-domain", "shop.example", "-selector", "s1", "-key", filepath.Join(p.dir, "s1.pem"))
	taken := 0
	for _, m := range mailers() {
		t.Run(m.name, func(t *testing.T) {
			program := need(t, m.program, m.debian, m.files...)
			send := func(from string) (string, error) {
				cmd := exec.CommandContext(t.Context(), program, m.args(port, authority, from, "b@dest.example")...)
				cmd.Stdin = bytes.NewReader(bytes.ReplaceAll([]byte(testMessage(from, "t-"+m.name)), []byte("\r\n"), []byte("\n")))
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			if out, err := send("orders@shop.example"); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			taken++
			got := upstreamMessages(t, up, taken)[taken-1]
			verifyMsgauth(t, got.Data, map[string]string{"s1": joinTXT(record)})
			if want := map[bool]int{true: 2, false: 1}[m.composes]; len(got.To) != want || got.From.Address != "orders@shop.example" {
				t.Errorf("envelope %+v, %+v", got.From, got.To)
			}
			for _, secret := range []string{"hidden@dest.example", mailerPassword} {
				if bytes.Contains(got.Data, []byte(secret)) {
					t.Errorf("the message shows %q: %s", secret, got.Data)
				}
			}
			if out, err := send("ceo@example.org"); err == nil || !strings.Contains(out, "not owned by this client") && !strings.Contains(out, "553") {
				t.Errorf("in another's name: %v, %s", err, out)
			}
		})
	}
	if n := up.Taken(); n != taken {
		t.Errorf("%d messages arrived, want %d", n, taken)
	}
	if n := p.count("level=ERROR"); n > 0 {
		t.Errorf("%d errors:\n%s", n, p.output())
	}
	p.stop()
}
