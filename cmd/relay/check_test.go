package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/relay/cli"
)

const checkedFile = `hostname = "relay.example.org"
state_dir = "state"
internal_domains = ["example.org"]

[listener.mta]
address = "127.0.0.1:2525"

[listener.all]
address = "192.0.2.1:25"

[client.shop]
networks = ["192.0.2.8/29"]
users = ["shop"]
senders = ["@shop.example.org", "news@example.com"]
stream = "news"

[client.office]
networks = ["192.0.2.16/28"]
senders = ["@example.org"]
stream = "main"
null_sender = "reject"

[user.shop]
password = "$2b$12$9ONShFYUIRYfZo1p3t8H3eoYLTNvpxkPk7Jwzq.cYQoStdJQ6MDIe"

[stream.main]
upstream = "provider"

[stream.news]
upstream = "provider"
source_ip = ["127.0.0.25"]
ehlo = "news.example.org"

[upstream.provider]
hosts = ["smtp1.provider.example:587", "smtp2.provider.example"]

[dkim."example.org"]
generate = true
keys = [{ selector = "s1", file = "s1.pem" }, { selector = "e1", file = "e1.pem", type = "ed25519" }]

[limit.sender]
per = "sender"
messages = ["500/1h"]
recipients_not_at = ["internal"]
overrides = { "@lists.example.org" = { messages = "9/1s", shared = true }, "@example.org" = { recipients = "0/1h" } }

[limit.user]
per = "user"
absent = "skip"
bytes = "1GiB/24h"
mode = "shadow"

[limit.provider]
per = "upstream"
messages = "1000/1h"
reserve = { main = "20%" }
streams = ["news"]
on_store_failure = "defer"
`

func checkText(t *testing.T, text string, args ...string) (status int, out, errs string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "relay.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, errs = runVerb("", append([]string{"check", "-config", path}, args...)...)
	clean := func(s string) string { return strings.ReplaceAll(s, filepath.Dir(path)+"/", "") }
	return status, clean(out), clean(errs)
}

func TestCheckSaysWhoMaySendWhat(t *testing.T) {
	status, out, errs := checkText(t, checkedFile)
	if status != cli.OK {
		t.Fatalf("status %d, %s", status, errs)
	}
	for _, want := range []string{
		"relay.toml is good; it means:\n\nhostname:      relay.example.org\n",
		"listener mta:  127.0.0.1:2525, not encrypted, passwords taken in plain text, for it is loopback",
		"listener all:  192.0.2.1:25, not encrypted, no passwords",
		"client office\n  who:         hosts in 192.0.2.16/28\n  as:          anybody at example.org\n",
		"client shop\n  who:         hosts in 192.0.2.8/29, authenticated as \"shop\"\n  as:          anybody at shop.example.org or news@example.com\n",
		"  null sender: refused\n",
		"  upstream:    provider, smtp1.provider.example:587, then smtp2.provider.example, encrypted, certificate verified\n",
		"  from IP:     127.0.0.25, never another\n  EHLO:        news.example.org\n",
		"  from IP:     whichever the system chooses\n  EHLO:        relay.example.org\n",
		"  signed:      shop.example.org as example.org with key s1 and e1, or it waits\n               example.com is not signed\n",
		"null_sender:shop: 20 messages in 1h for each client; mail from <>, and reports and receipts from others\n",
		"provider: 1000 messages in 1h for each upstream; 20% kept for stream main; mail waits while the store is away\n",
		"sender: 500 messages in 1h for each sender; recipients at internal not counted\n",
		"                 @lists.example.org: 9 messages in 1s for all its senders together\n",
		"                 @example.org: no recipients at all (0/1h) for each of its senders\n",
		"user: 1GiB of message text in 24h for each user; shadow: counts, never refuses\n",
		"user: 1GiB of message text in 24h for each user; this client has no SASL user, so it does not count; shadow",
		"limits:        counted in this process",
		"control:       state/control.sock\nadmin:         none\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("does not say %q", want)
		}
	}
	if strings.Count(out, "null_sender:office") != 1 || strings.Count(out, "null_sender:shop") != 1 || strings.Count(out, "provider: 1000") != 1 {
		t.Errorf("a client has limits that do not concern it")
	}
	if strings.Contains(out, "$2b$") {
		t.Error("a password's hash is printed")
	}
	if t.Failed() {
		t.Log(out)
	}
	if !strings.Contains(errs, "relay.toml:14:33: client.shop.senders.1: warning: mail from example.com leaves unsigned") {
		t.Errorf("warnings %s", errs)
	}
	if status, out, quiet := checkText(t, checkedFile, "-quiet"); status != cli.OK || out != "" || quiet != errs {
		t.Errorf("quiet: status %d, %q, %q", status, out, quiet)
	}
}

func TestCheckSaysWhereLimitsAreCounted(t *testing.T) {
	for redis, want := range map[string]string{
		`addresses = ["127.0.0.1:6379"]`:                                   "counted in Redis, 127.0.0.1:6379, under postern; relays",
		`addresses = ["127.0.0.1:1", "127.0.0.1:2"]`:                       "counted in Redis, the Cluster of 127.0.0.1:1, 127.0.0.1:2, under postern;",
		"addresses = [\"127.0.0.1:1\"]\nmaster = \"main\"\nprefix = \"p\"": "counted in Redis, the server that the Sentinels 127.0.0.1:1 know as main, under p;",
	} {
		status, out, errs := checkText(t, checkedFile+"[redis]\n"+redis+"\n")
		if status != cli.OK || !strings.Contains(out, want) {
			t.Errorf("status %d, %s, does not say %q:\n%s", status, errs, want, out)
		}
	}
}

func TestCheckListsEveryProblemAtOnce(t *testing.T) {
	text := strings.NewReplacer(`"192.0.2.8/29"`, `"192.0.2.9/29"`, `messages = ["500/1h"]`, `messages = ["500"]`,
		`generate = true`, `generrate = true`, `stream = "main"`, `stream = "mian"`).Replace(checkedFile)
	status, out, errs := checkText(t, text)
	if status != cli.Fault || out != "" {
		t.Errorf("status %d, out %q", status, out)
	}
	for _, want := range []string{
		`relay.toml:12:13: client.shop.networks.0: "192.0.2.9/29" has bits beyond its length; write "192.0.2.8/29"`,
		`relay.toml:20:1: client.office.stream: there is no [stream.mian]; did you mean "main"`,
		`relay.toml:38:1: dkim."example.org".generrate: unknown key; did you mean generate`,
		`limit.sender.messages`,
	} {
		if !strings.Contains(errs, want) {
			t.Errorf("does not say %q", want)
		}
	}
	if t.Failed() {
		t.Log(errs)
	}
}

// TestCheckLooksAtTheStateFolder as the start does. Who asks may be another user than the
// relay, unless -strict says that it is not.
func TestCheckLooksAtTheStateFolder(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	text := "hostname = \"relay.example.org\"\nstate_dir = \"" + state + "\"\n[listener.mta]\naddress = \"127.0.0.1:2525\"\n" +
		"[client.mta]\nnetworks = [\"192.0.2.8/29\"]\nsenders = [\"@example.org\"]\nstream = \"main\"\n[stream.main]\nupstream = \"provider\"\n" +
		"[upstream.provider]\nhosts = [\"127.0.0.1:1\"]\n"
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	look := func(want string, args ...string) {
		t.Helper()
		status, _, errs := checkText(t, text, args...)
		if strings.Contains(errs, "state_dir: ") != (want != "") || !strings.Contains(errs, want) || want != "" && status != cli.Fault {
			t.Errorf("%q: status %d, %s", args, status, errs)
		}
	}
	if err := os.Chmod(state, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{nil, {"-strict"}, {"-connect"}} {
		look("can be written by others (mode 0777)", args...)
	}
	if err := os.Chmod(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		t.Log("needs root to give a folder away")
		return
	}
	if err := os.Chown(state, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	look("")
	look("", "-connect")
	look("belongs to another user (uid 65534)", "-strict")
}

func TestCheckUsage(t *testing.T) {
	t.Setenv(cli.ConfigEnv, "nowhere.toml")
	for _, row := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"no file", nil, cli.Fault, "nowhere.toml: no such file or directory"},
		{"two files by argument", []string{"x", "y"}, cli.Usage, `"y" is one word too many`},
		{"an unknown flag", []string{"-file", "x"}, cli.Usage, `not defined: -file; run "relay check -h"`},
		{"a stray argument", []string{"-config", "x", "y"}, cli.Usage, `"y" and -config name two configurations; keep one`},
		{"a missing file", []string{"-config", "/nowhere/relay.toml"}, cli.Fault, "/nowhere/relay.toml: no such file or directory; name a configuration file"},
		{"a folder", []string{"-config", "/"}, cli.Fault, "is a directory"},
		{"help", []string{"-h"}, cli.OK, "-config file"},
	} {
		status, out, errs := runVerb("", append([]string{"check"}, row.args...)...)
		if status != row.status || !strings.Contains(errs, row.says) || out != "" {
			t.Errorf("%s: status %d, out %q, error %q; want %d, %q", row.name, status, out, errs, row.status, row.says)
		}
		if row.status != cli.OK && strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: more than a line: %q", row.name, errs)
		}
	}
}

// TestCheckReadsTheFilesOfTheWatch: relay serve does not start without them.
func TestCheckReadsTheFilesOfTheWatch(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "relay.toml")
	writeFile(t, path, "hostname = \"relay.example.org\"\nstate_dir = \"state\"\n[listener.a]\naddress = \"127.0.0.1:0\"\n[outlier]\ndecoys = [\"decoys.txt\"]\n"+
		"[client.a]\nnetworks = [\"127.0.0.1/32\"]\nsenders = [\"@example.org\"]\nstream = \"main\"\n[stream.main]\nupstream = \"out\"\n[upstream.out]\ncapture = \"outbox\"\n")
	for _, row := range []struct {
		args   string
		status int
		says   string
	}{
		{"-strict", cli.Fault, "relay.toml: outlier.decoys.0: open"},
		{"-quiet", cli.OK, "relay.toml: warning: outlier.decoys.0: open"},
	} {
		status, _, errs := runVerb("", "check", row.args, path)
		if status != row.status || !strings.Contains(errs, row.says) || !strings.Contains(errs, "relay serve does not start with it") {
			t.Errorf("%s: status %d, %s", row.args, status, errs)
		}
	}
	writeFile(t, filepath.Join(dir, "decoys.txt"), "trap@example.org\n")
	if status, _, errs := runVerb("", "check", "-strict", path); status != cli.OK || strings.Contains(errs, "decoys") {
		t.Errorf("status %d, %s", status, errs)
	}
}
