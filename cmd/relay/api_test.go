package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postern/cmd/relay/cli"
	"postern/internal/smtptest"
)

// TestCommandsFromAnotherMachine: what the control socket answers, a token gets over the
// port of [admin], as far as its role goes.
func TestCommandsFromAnotherMachine(t *testing.T) {
	t.Parallel()
	text, address := withAdmin(t, basic(smtptest.Start(t, smtptest.Options{}), ""))
	p := startRelay(t, text)
	p.address("mta")
	token := func(name string, more ...string) string {
		t.Helper()
		out := p.verb(0, append([]string{"token", "new", name, "-reason", "a test"}, more...)...)
		found := regexp.MustCompile(`pst_\S+`).FindString(out)
		if found == "" {
			t.Fatal(out)
		}
		file := filepath.Join(p.dir, name+".token")
		if err := os.WriteFile(file, []byte(found+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	view, operate := token("watcher"), token("ops", "-role", "operate", "-for", "1d")
	remote := func(status int, file string, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		args = append(args, "-server", "http://"+address, "-token-file", file)
		if got := run(cli.IO{In: strings.NewReader(""), Out: &out, Err: &errs}, args); got != status {
			t.Fatalf("relay %s: status %d, want %d\n%s%s", strings.Join(args, " "), got, status, &out, &errs)
		}
		return out.String() + errs.String()
	}
	for _, command := range [][]string{{"limits", "show"}, {"limits", "raises"}, {"senders"}, {"suppressions", "list"}, {"backoff", "list"}, {"listings"}, {"listings", "zones"}, {"alert", "list"}} {
		if here, there := p.verb(0, command...), remote(0, view, command...); here != there {
			t.Errorf("relay %s says\n%sand from elsewhere\n%s", strings.Join(command, " "), here, there)
		}
	}
	for _, command := range [][]string{{"limits", "show"}, {"limits", "raises"}, {"suppressions", "list"}, {"backoff", "list"}, {"listings"}, {"warmup"}, {"tls"}, {"listings", "zones"}} {
		if out := p.verb(0, append(command, "-json")...); out != "[]\n" {
			t.Errorf("relay %s -json prints %q for an empty list", strings.Join(command, " "), out)
		}
	}
	p.tells(`(?m)^ready +yes`, "status")
	wantText(t, remote(0, view, "status"), `(?m)^ready +yes`)
	wantText(t, remote(1, view, "suspend", "a@example.org", "-reason", "x"), `this takes role operate; yours is view`)
	wantText(t, remote(0, operate, "suspend", "a@example.org", "-reason", "stolen"), `sender a@example.org is now suspended`)
	wantText(t, p.verb(0, "senders"), `(?m)^a@example.org +suspended`)
	wantText(t, remote(0, operate, "release", "a@example.org"), `is now normal`)
	wantText(t, remote(2, operate, "release", "a@example.org"), `neither suspended`)
	wantText(t, remote(1, operate, "reload"), `this takes role admin`)
	wantText(t, p.verb(0, "reload", "-reason", "a new limit"), `^reloaded`)
	wantText(t, p.verb(0, "token", "list"), `(?m)^watcher +view +\S+ \S+ +\S+ +`)
	wantText(t, remote(0, operate, "audit", "list"), `(?s)reload .*release +sender a@example.org +done +no reason given.*suspend +sender a@example.org +done +stolen`)
	wantText(t, p.verb(0, "audit", "verify"), `all as they were written`)
	wantText(t, p.verb(1, "audit", "verify", filepath.Join(p.dir, "elsewhere.jsonl")), `there is no .*elsewhere.jsonl`)
	p.verb(0, "token", "revoke", "ops")
	wantText(t, remote(1, operate, "senders"), `unknown, expired or revoked`)
	wantText(t, p.verb(2, "token", "revoke", "ops"), `no token of that name`)
	spoil := filepath.Join(p.dir, "state", "audit.jsonl")
	if b, err := os.ReadFile(spoil); err != nil || os.WriteFile(spoil, bytes.Replace(b, []byte("stolen"), []byte("forged"), 1), 0o600) != nil {
		t.Fatal(err)
	}
	wantText(t, p.verb(1, "audit", "verify"), `audit.jsonl:\d+: was changed`)
	bad := filepath.Join(p.dir, "relay.toml")
	if err := os.WriteFile(bad, []byte(text+"colour = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantText(t, p.verb(1, "reload", "-dry-run"), `(?s)unknown key.*would not come into force`)
	wantText(t, p.verb(1, "reload"), `(?s)unknown key.*stays in force`)
}

// TestServerFlagKeepsTheToken: it is not sent in plain text, and not without need.
func TestServerFlagKeepsTheToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("pst_x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(open, []byte("pst_x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	os.Chmod(open, 0o644)
	for _, c := range []struct{ server, file, want string }{
		{"http://192.0.2.1:8025", file, "plain text"}, {"relay.example.org", file, "is not such as https"}, {"https://relay.example.org/api", file, "is not such as https"},
		{"https://u:p@relay.example.org", file, "is not such as https"}, {"https://relay.example.org", "", "needs -token-file"}, {"https://relay.example.org", open, "every user"},
		{"http://127.0.0.1:1", file, "no relay answers at"},
	} {
		var out, errs bytes.Buffer
		if got := run(cli.IO{In: strings.NewReader(""), Out: &out, Err: &errs}, []string{"status", "-server", c.server, "-token-file", c.file}); got == 0 || !strings.Contains(errs.String(), c.want) || strings.Contains(errs.String(), "pst_x") {
			t.Errorf("%s: status %d, %s", c.server, got, &errs)
		}
	}
}
