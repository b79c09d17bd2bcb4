package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/relay/cli"
)

// onALaptop is the shipped example of an MTA's smarthost, copied away from its
// machine together with a journal: no password, key or certificate is here.
func onALaptop(t *testing.T) (path string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("POSTERN_REDIS_PASSWORD", "")
	text := strings.NewReplacer("/var/lib/postern/", dir+"/", "/etc/postern/", dir+"/etc/").
		Replace(string(readFile(t, "../../examples/mta-smarthost.toml")))
	path = filepath.Join(dir, "relay.toml")
	writeFile(t, path, text)
	line := `{"time":"2026-11-01T10:00:00Z","id":"%d","client":"crm","stream":"transactional","upstream":"provider","from":"crm@example.org","outcome":"rejected","code":550,"status":"5.1.1","stage":"rcpt","rule":"upstream",` +
		`"to":[{"address":"b@dest.example","outcome":"rejected","code":550,"status":"5.1.1","reply":"no such user","rule":"upstream","class":"no-such-user"}]}` + "\n"
	writeFile(t, filepath.Join(dir, "journal.jsonl"), fmt.Sprintf(line, 1)+fmt.Sprintf(line, 2))
	return path
}

// TestCommandsReadOnlyWhatTheyNeed: an operator's copy of the configuration is
// enough for all that does not run a relay.
func TestCommandsReadOnlyWhatTheyNeed(t *testing.T) {
	path := onALaptop(t)
	for _, row := range []struct {
		args string
		says string
	}{
		{"explain 2", "transaction 2"},
		{"replies top -since 9000d", "no-such-user"},
		{"simulate", "2 transactions"},
		{"suggest", "[limit.client]"},
		{"outliers backtest -journal " + filepath.Join(filepath.Dir(path), "journal.jsonl"), "2 transactions"},
		{"outliers replay", ""},
		{"listings suspects", "no suspect"},
		{"import rspamd-ratelimit " + writeRspamd(t), "[limit."},
	} {
		t.Run(row.args, func(t *testing.T) {
			for _, named := range [][]string{{"-config", path}, nil} {
				if strings.HasPrefix(row.args, "import") {
					named = nil
				}
				t.Setenv(cli.ConfigEnv, path)
				status, out, errs := runVerb("", append(strings.Fields(row.args), named...)...)
				if status != cli.OK || errs != "" || !strings.Contains(out, row.says) {
					t.Errorf("status %d, %s%s", status, out, errs)
				}
			}
		})
	}
}

func writeRspamd(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ratelimit.conf")
	writeFile(t, file, `rates { user = { bucket = { burst = 10; rate = "10 / 1h"; } selector = "user"; } }`)
	return file
}

// TestCommandsSayWhatToDoWithoutAJournal: before the relay's first start there is none, and
// mostly no folder for it either.
func TestCommandsSayWhatToDoWithoutAJournal(t *testing.T) {
	path := onALaptop(t)
	journal := filepath.Join(filepath.Dir(path), "journal.jsonl")
	if err := os.Remove(journal); err != nil {
		t.Fatal(err)
	}
	nowhere := filepath.Join(t.TempDir(), "none", "journal.jsonl")
	for _, command := range []string{
		"find -since 1d", "find -to b@dest.example", "explain 2", "incident -since 1d a@example.org", "replies top", "simulate", "suggest",
		"outliers measure", "outliers tune", "outliers backtest", "listings suspects",
	} {
		for named, args := range map[string][]string{journal: {"-config", path}, nowhere: {"-config", path, "-journal", nowhere}} {
			if command == "outliers backtest" {
				args = []string{"-config", path, "-journal", named}
			}
			status, out, errs := runVerb("", append(strings.Fields(command), args...)...)
			if want := "there is no journal " + named + "; relay serve makes it at its first start"; status == cli.OK || out != "" || !strings.Contains(errs, want) {
				t.Errorf("%s %v: status %d, %s%s", command, args, status, out, errs)
			}
		}
	}
}

// TestCheckWarnsOfWhatIsNotHere: a check elsewhere goes on, and one before a
// start does not.
func TestCheckWarnsOfWhatIsNotHere(t *testing.T) {
	path := onALaptop(t)
	status, out, errs := runVerb("", "check", path)
	if status != cli.OK || !strings.Contains(out, "client crm") {
		t.Errorf("status %d\n%s", status, out)
	}
	for _, want := range []string{
		"redis.password_env: warning: the environment has no POSTERN_REDIS_PASSWORD, or it is empty; not checked, and relay serve does not start without it",
		"upstream.provider.password_file: warning: open ", "listener.mta.certificate: warning: ", `dkim."example.org".keys.1: warning: `,
	} {
		if !strings.Contains(errs, want) {
			t.Errorf("does not say %q", want)
		}
	}
	if n := strings.Count(errs, "\n"); n != strings.Count(errs, ": warning: ") {
		t.Errorf("not every line is a warning:\n%s", errs)
	}
	status, out, errs = runVerb("", "check", "-strict", path)
	if status != cli.Fault || out != "" || strings.Contains(errs, "warning") || !strings.Contains(errs, "set it for the relay") {
		t.Errorf("-strict: status %d\n%s%s", status, out, errs)
	}
	// What is here is still looked at.
	if err := os.MkdirAll(filepath.Join(filepath.Dir(path), "etc/keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(filepath.Dir(path), "etc/keys/s2026.pem"), "no key\n")
	if status, _, errs := runVerb("", "check", path); status != cli.Fault || !strings.Contains(errs, "is not a PEM file") {
		t.Errorf("a broken key: status %d\n%s", status, errs)
	}
}

// TestEveryCommandTakesTheUsualConfiguration: -config, else the environment,
// else one path; check and serve take it as an argument, too.
func TestEveryCommandTakesTheUsualConfiguration(t *testing.T) {
	t.Setenv(cli.ConfigEnv, "/nowhere/by-env.toml")
	for _, v := range []string{"check", "serve", "check -dns", "explain x", "limits show", "limits top", "limits raises", "senders", "senders show x",
		"suspend x -reason y", "release x", "suppressions list", "suppressions add a@b.example", "listings", "listings show 1", "listings zones",
		"listings resume x", "listings findings", "listings suspects", "simulate", "suggest", "replies top", "outliers explain x", "outliers replay",
		"outliers backtest -journal x", "dkim rotate example.org"} {
		if _, _, errs := runVerb("", strings.Fields(v)...); !strings.Contains(errs, "/nowhere/by-env.toml: no such file") {
			t.Errorf("relay %s: %s", v, errs)
		}
		args := append(strings.Fields(v), "-config", "/nowhere/by-flag.toml")
		if _, _, errs := runVerb("", args...); !strings.Contains(errs, "/nowhere/by-flag.toml: no such file") {
			t.Errorf("relay %s: %s", v, errs)
		}
	}
	for _, v := range []string{"check", "serve"} {
		if _, _, errs := runVerb("", v, "/nowhere/by-word.toml"); !strings.Contains(errs, "/nowhere/by-word.toml: no such file") {
			t.Errorf("relay %s FILE: %s", v, errs)
		}
	}
	t.Setenv(cli.ConfigEnv, "")
	if got := cli.ConfigPath(""); got != "/etc/postern/relay.toml" {
		t.Errorf("without anything it is %q", got)
	}
}
