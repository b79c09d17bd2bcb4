package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/relay/cli"
	"postern/internal/scantest"
	"postern/internal/smtptest"
)

// scanConfig is a configuration with one scripted scanner for the client.
func scanConfig(t *testing.T, more string) (dir string) {
	t.Helper()
	av := (&scantest.Clamd{Answer: scantest.Finds}).Start(t)
	dir = t.TempDir()
	writeFile(t, filepath.Join(dir, "relay.toml"), basic(smtptest.Start(t, smtptest.Options{}), `
[scanner.av]
clamd = "`+av.Address+`"
timeout = "2s"
`+more))
	t.Setenv(cli.ConfigEnv, filepath.Join(dir, "relay.toml"))
	return dir
}

// TestScanSaysWhatBecomesOfAMessage holds the statuses that docs/scanning.md
// promises.
func TestScanSaysWhatBecomesOfAMessage(t *testing.T) {
	dir := scanConfig(t, "")
	for _, c := range []struct {
		body   string
		status int
		says   string
	}{
		{"hello", cli.OK, "scanner     av: clean, "},
		{"hello", cli.OK, "end         goes on\n"},
		{"a virus", cli.Fault, "end         refused by scanner av: 550 5.7.1 message refused by av: Own.Virus\n"},
		{"poison", cli.Unknown, "end         deferred by scanner av: 451 4.7.1 message cannot be scanned now, try again later\n"},
	} {
		writeFile(t, filepath.Join(dir, "m.eml"), "From: a@example.org\n\n"+c.body+"\n")
		status, out, errs := runVerb("", "scan", filepath.Join(dir, "m.eml"))
		if status != c.status || !strings.Contains(out, c.says) {
			t.Errorf("%s: status %d, want %d\n%s%s", c.body, status, c.status, out, errs)
		}
		status, out, _ = runVerb("From: a@example.org\n\n"+c.body+"\n", "scan", "-json", "-")
		if status != c.status || !strings.Contains(out, `"scanner":"av"`) {
			t.Errorf("%s: status %d, want %d\n%s", c.body, status, c.status, out)
		}
	}
	for _, args := range [][]string{{}, {"-config", "/nonexistent", "-"}, {"/nonexistent"}, {"-client", "nobody", "-"}, {"a", "b"}} {
		if status, out, errs := runVerb("", append([]string{"scan"}, args...)...); status != cli.Usage || out != "" || errs == "" {
			t.Errorf("%q: status %d, %q, %q", args, status, out, errs)
		}
	}
}

func TestSimulateShowsAFolderToTheScanners(t *testing.T) {
	dir := scanConfig(t, "")
	mails := filepath.Join(dir, "mails")
	if err := os.Mkdir(mails, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(mails, "1"), "Subject: x\n\nhello\n")
	writeFile(t, filepath.Join(mails, "2"), "Subject: x\n\na virus\n")
	status, out, errs := runVerb("", "simulate", "-messages", mails)
	if status != cli.OK || !strings.Contains(out, "2 messages: 1 would have gone on") || !strings.Contains(out, "refused by av: virus Own.Virus") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	if status, out, _ = runVerb("", "simulate", "-json", "-messages", mails); status != cli.OK || !strings.Contains(out, `"refused":1`) {
		t.Errorf("status %d\n%s", status, out)
	}
	if status, _, _ = runVerb("", "simulate", "-messages", mails, "journal"); status != cli.Usage {
		t.Errorf("with a journal: status %d", status)
	}
	if status, _, _ = runVerb("", "simulate", "-messages", filepath.Join(dir, "none")); status != cli.Fault {
		t.Errorf("without the folder: status %d", status)
	}
}

// TestScanLooksAsTheRelayDoes: what the relay finds without a scanner is shown, too.
func TestScanLooksAsTheRelayDoes(t *testing.T) {
	dir := scanConfig(t, `
[client.office]
networks = ["127.0.0.2/32"]
senders = ["@office.example"]
stream = "main"
refuse_attachments = ["exe"]
[links]
files = ["bad.txt"]
mode = "enforce"
`)
	writeFile(t, filepath.Join(dir, "bad.txt"), "evil.example\n")
	exe := "From: a@office.example\nContent-Type: application/octet-stream; name=a.exe\n\nx\n"
	for _, c := range []struct {
		name, message string
		args          []string
		status        int
		says          string
	}{
		{"of no client", exe, nil, cli.OK, "links       0 hosts"},
		{"of a client that refuses it", exe, []string{"-client", "office"}, cli.Fault, "end         refused by refuse_attachments: 550 5.7.1 attachments of type exe"},
		{"a listed link", "From: a@office.example\n\nsee http://www.evil.example/x or http://evil.example\n", nil, cli.Fault, "end         refused by links: 550 5.7.1"},
		{"a virus beside a listed link", "From: a@office.example\n\na virus, see http://evil.example\n", nil, cli.Fault, "end         refused by scanner av: 550 5.7.1"},
	} {
		status, out, errs := runVerb(c.message, append([]string{"scan", "-"}, c.args...)...)
		if status != c.status || !strings.Contains(out, c.says) {
			t.Errorf("%s: status %d, want %d, %q\n%s%s", c.name, status, c.status, c.says, out, errs)
		}
	}
}
