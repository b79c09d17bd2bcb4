package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/relay/cli"
)

// runVerb runs one verb with the given standard input.
func runVerb(in string, args ...string) (status int, out, err string) {
	var o, e bytes.Buffer
	status = run(cli.IO{In: strings.NewReader(in), Out: &o, Err: &e}, args)
	return status, o.String(), e.String()
}

func TestDKIMKeygenAndRecordPrintTheSame(t *testing.T) {
	for _, kind := range []string{"rsa", "ed25519"} {
		file := filepath.Join(t.TempDir(), "keys", "k.pem")
		status, made, errs := runVerb("", "dkim", "keygen", "-domain", "example.org", "-selector", "s1", "-type", kind, "-out", file)
		if status != cli.OK || errs != "" {
			t.Fatalf("%s: status %d, %q", kind, status, errs)
		}
		if want := "s1._domainkey.example.org. IN TXT ( \"v=DKIM1; k=" + kind + "; p="; !strings.HasPrefix(made, want) {
			t.Errorf("%s: printed %q, want it to begin with %q", kind, made, want)
		}
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", kind, info.Mode(), err)
		}
		status, shown, errs := runVerb("", "dkim", "record", "-domain", "example.org", "-selector", "s1", "-key", file)
		if status != cli.OK || shown != made {
			t.Errorf("%s: record printed %q (%s), keygen %q", kind, shown, errs, made)
		}
		_, value, _ := runVerb("", "dkim", "record", "-domain", "example.org", "-selector", "s1", "-key", file, "-value")
		if joined := strings.NewReplacer("s1._domainkey.example.org. IN TXT ( ", "", `" "`, "", `"`, "", " )\n", "\n").Replace(made); value != joined {
			t.Errorf("%s: value %q, want %q", kind, value, joined)
		}
	}
}

func TestDKIMRefusals(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open.pem")
	if err := os.WriteFile(open, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		args   string
		status int
		says   string
	}{
		{"nothing to do", "", cli.Usage, "usage:"},
		{"unknown command", "make", cli.Usage, `unknown command "make"`},
		{"unknown flag", "keygen -size 1", cli.Usage, "-size"},
		{"stray argument", "keygen x", cli.Usage, `unexpected argument "x"`},
		{"no domain", "keygen -selector s -out f", cli.Usage, `domain ""`},
		{"capitals in the domain", "keygen -domain Example.org -selector s -out f", cli.Usage, `write "example.org"`},
		{"bad selector", "keygen -domain example.org -selector a_b! -out f", cli.Usage, "selector"},
		{"no file", "keygen -domain example.org -selector s", cli.Usage, "-out is missing"},
		{"unknown kind", "keygen -domain example.org -selector s -type dsa -out f", cli.Usage, "dsa"},
		{"short key", "keygen -domain example.org -selector s -bits 1024 -out " + dir + "/f", cli.Usage, "1024 bits"},
		{"file that exists", "keygen -domain example.org -selector s -type ed25519 -out " + open, cli.Fault, "was left alone"},
		{"record without key", "record -domain example.org -selector s", cli.Usage, "-key is missing"},
		{"record of a missing file", "record -domain example.org -selector s -key " + dir + "/none", cli.Fault, "no such file"},
		{"record of an open file", "record -domain example.org -selector s -key " + open, cli.Fault, "chmod o= " + open},
	} {
		status, out, errs := runVerb("", append([]string{"dkim"}, strings.Fields(row.args)...)...)
		if status != row.status || !strings.Contains(errs, row.says) || out != "" {
			t.Errorf("%s: status %d, out %q, error %q; want %d, %q", row.name, status, out, errs, row.status, row.says)
		}
	}
	if text, _ := os.ReadFile(open); string(text) != "x" {
		t.Error("keygen replaced a file")
	}
}
