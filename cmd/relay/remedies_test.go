package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postern/cmd/relay/cli"
	"postern/cmd/relay/control"
	"postern/dkimsign"
	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/smtptest"
	"postern/reputation"
)

// commandIn finds a command of ours from its first word to the end of its line.
var commandIn = regexp.MustCompile(`(?m)\brelay (?:release|suspend|limits|listings|suppressions|status|check|dkim|senders) .*$`)

// shellCommand is a command line as an operator's shell runs it, where relay is
// this program.
func shellCommand(t *testing.T, line string) *exec.Cmd {
	t.Helper()
	bin := t.TempDir()
	if err := os.Symlink(os.Args[0], filepath.Join(bin, "relay")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", line)
	cmd.Env = append(os.Environ(), runAsRelay+"=1", cli.ConfigEnv+"=", "PATH="+bin+":"+os.Getenv("PATH"))
	return cmd
}

// paste runs every command that a text proposes, each as it stands.
func paste(t *testing.T, text string, least int) {
	t.Helper()
	all := commandIn.FindAllString(text, -1)
	if len(all) < least {
		t.Errorf("proposes %d commands, want %d at least:\n%s", len(all), least, text)
	}
	for _, line := range all {
		if out, err := shellCommand(t, line).CombinedOutput(); err != nil {
			t.Errorf("%s\n%v: %s", line, err, out)
		}
	}
}

const awkwardUser = "o'neil+$home;x"

// hindered is a relay in which everything stops news@example.org at once; its
// user's name has all that a shell would take for its own.
func hindered(t *testing.T) *process {
	_, hash, _ := runVerb("secret\n", "hash-password", "-bcrypt")
	text := basic(smtptest.Start(t, smtptest.Options{}), fmt.Sprintf(`
[user.%q]
password = %q
disabled = true
[client.shop]
users = [%q]
senders = ["news@example.org"]
stream = "main"
[outlier]
mode = "enforce"
[limit.client]
per = "client"
messages = ["1/1h"]
`, awkwardUser, strings.TrimSpace(hash), awkwardUser))
	dir := filepath.Join(t.TempDir(), "a folder; with 'quotes' $HOME")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "relay.toml"), text)
	p := startRelayIn(t, dir)
	d := dialSMTP(t, p.address("mta"))
	d.say("MAIL FROM:<news@example.org>", "250")
	d.say("RCPT TO:<b@dest.example>", "250")
	d.say("DATA", "354")
	d.say(testMessage("news@example.org", "x")+".", "250")
	d.conn.Close()
	for _, name := range []string{"news@example.org", "user:" + awkwardUser, "client:corporate"} {
		p.verb(0, "suspend", name, "-reason", "it's a \"test\"")
	}
	p.verb(0, "suppressions", "add", "gone@dest.example")
	return p
}

// TestReleaseSaysWhatElseStops: the sender is free and its mail is not, and each
// command that is printed for that ends it.
func TestReleaseSaysWhatElseStops(t *testing.T) {
	t.Parallel()
	p := hindered(t)
	list := p.verb(0, "senders")
	for _, want := range []string{`(?m)^news@example\.org +suspended`, `(?m)^user:o'neil\S+ +suspended`, `(?m)^client:corporate +suspended`} {
		wantText(t, list, want)
	}
	said := p.verb(0, "release", "news@example.org")
	for _, want := range []string{"sender news@example.org is now normal\nits mail is still stopped:\n", "client corporate is suspended until released: it's a \"test\"",
		"user " + awkwardUser + " is suspended until released", "user " + awkwardUser + " is disabled in the configuration",
		"limit client is full for client=corporate: 1 of 1 messages in 1h, next fits in ", "1 recipient is suppressed for stream main"} {
		if !strings.Contains(said, want) {
			t.Errorf("does not say %q:\n%s", want, said)
		}
	}
	again := p.verb(2, "release", "news@example.org")
	wantText(t, again, `(?s)is neither suspended.*what stops its mail:\n.*client corporate is suspended`)
	paste(t, said, 4)
	again = p.verb(2, "release", "news@example.org")
	for _, gone := range []string{"is suspended", "is full"} {
		if strings.Contains(again, gone) {
			t.Errorf("after all that was proposed it %s:\n%s", gone, again)
		}
	}
	p.stop()
}

// TestReleaseIsPrintedForNamesThatLookLikeFlags: a sender chooses its name.
func TestReleaseIsPrintedForNamesThatLookLikeFlags(t *testing.T) {
	t.Parallel()
	p := startRelay(t, basic(smtptest.Start(t, smtptest.Options{}), ""))
	d := dialSMTP(t, p.address("mta"))
	d.say("MAIL FROM:<-learn@example.org>", "250")
	d.say("RCPT TO:<b@dest.example>", "250")
	d.say("DATA", "354")
	d.say(testMessage("-learn@example.org", "x")+".", "250")
	d.conn.Close()
	p.verb(0, "suspend", "client:corporate", "-reason", "x")
	p.verb(0, "suspend", "-reason", "x", "--", "-learn@example.org")
	paste(t, p.verb(0, "release", "client:corporate"), 1)
	if left := p.verb(0, "senders", "-state", "suspend"); strings.Contains(left, "-learn@") {
		t.Errorf("what was printed releases nobody:\n%s", left)
	}
	p.stop()
}

// TestSuspendRefusesUnknownNames: a typo must not look as if it had helped.
func TestSuspendRefusesUnknownNames(t *testing.T) {
	t.Parallel()
	p := startRelay(t, basic(smtptest.Start(t, smtptest.Options{}), `
[limit.sender]
per = "sender"
messages = ["5/1h"]
`))
	p.address("mta")
	for name, says := range map[string]string{
		"user:nobody": `the configuration has no user "nobody"; there is none at all`, "client:corprate": `no client "corprate"; there are: corporate`,
		"a@elsewhere.example": `no client owns the sender "a@elsewhere.example"`,
		"*@example.org":       `"*@example.org" is not a pattern here`, // it would be suspended, and nobody stopped
	} {
		wantText(t, p.verb(2, "suspend", name, "-reason", "x"), regexp.QuoteMeta(says)+".*-unknown")
		wantText(t, p.verb(0, "suspend", name, "-reason", "x", "-unknown"), "is now suspended until released")
		p.verb(0, "release", name)
	}
	wantText(t, p.verb(0, "suspend", "corporate", "-reason", "x"), "client corporate is now suspended") // it has not sent yet
	wantText(t, p.verb(2, "listings", "resume", "mian"), `no stream "mian"; there are: main`)
	wantText(t, p.verb(2, "suppressions", "add", "a@b.example", "-stream", "mian"), `no stream "mian"; there are: main`)
	for _, v := range []string{"allow -messages +1 -until 1h", "reset"} {
		args := append([]string{"limits"}, strings.Fields(v)...)
		args = append(args, "-limit", "sender", "-reason", "x", "-sender", "a@elsewhere.example")
		wantText(t, p.verb(2, args...), `no client owns the sender "a@elsewhere.example"`)
		p.verb(0, append(args, "-unknown")...)
	}
	p.stop()
}

// TestListingReportsCommandsThatRun: what a report tells to do is done by
// pasting it.
func TestListingReportsCommandsThatRun(t *testing.T) {
	t.Parallel()
	p := hindered(t)
	p.verb(0, "release", "client:corporate")
	path := filepath.Join(p.dir, "relay.toml")
	for _, s := range []reputation.Suspect{
		{Kind: "client", Name: "corporate", Client: "corporate"}, {Kind: "user", Name: awkwardUser, User: awkwardUser},
		{Kind: "sender", Name: "news@example.org", Client: "corporate"}, {Kind: "sender", Name: "news@example.org", Client: "shop", User: awkwardUser},
		{Kind: "sender", Name: "-for@example.org", Client: "corporate"},
	} {
		paste(t, s.Remedy(7, func(words ...string) string { return config.Command(path, words...) }), 1)
	}
	p.stop()
}

// TestOtherRemediesRun: those that need no running relay.
func TestOtherRemediesRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's $HERE")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	up := smtptest.Start(t, smtptest.Options{})
	keys := "[dkim.\"example.org\"]\nkeys = [{ selector = \"s1\", file = \"keys/a b.pem\" }, { selector = \"e1\", file = \"keys/e.pem\", type = \"ed25519\" }]\n"
	config := filepath.Join(dir, "relay.toml")
	writeFile(t, config, basic(up, keys))

	// The keys that are missing are made by what the check says.
	_, _, errs := runVerb("", "check", "-strict", config)
	paste(t, errs, 2)
	if status, _, errs := runVerb("", "check", "-strict", config); status != cli.OK {
		t.Fatalf("status %d, %s", status, errs)
	}
	if key, err := dkimsign.ReadKey(filepath.Join(dir, "keys/e.pem")); err != nil || fmt.Sprintf("%T", key) != "ed25519.PrivateKey" {
		t.Errorf("%T, %v", key, err)
	}

	// One that others can read is closed to them.
	key := filepath.Join(dir, "keys/a b.pem")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, errs = runVerb("", "check", "-strict", config)
	chmod := regexp.MustCompile(`chmod o= '[^\n]*?pem'`).FindString(errs)
	if out, err := shellCommand(t, chmod).CombinedOutput(); err != nil || chmod == "" {
		t.Errorf("%q in %s: %v %s", chmod, errs, err, out)
	}
	if _, err := dkimsign.ReadKey(key); err != nil {
		t.Errorf("after %s: %v", chmod, err)
	}

	// The first key of another domain, and the next one of this.
	_, _, errs = runVerb("", "dkim", "rotate", "other.example", "-config", config)
	paste(t, errs, 1)
	_, out, _ := runVerb("", "dkim", "rotate", "example.org", "-config", config)
	if strings.Contains(out, "not live yet") {
		paste(t, strings.ReplaceAll(out, "-wait 1h", "-wait 1s"), 1)
	}
}

// TestSenderShowsRealVolume: the journal's numbers stand beside those of the
// watch, each with its name, and what else stops the mail.
func TestSenderShowsRealVolume(t *testing.T) {
	t.Parallel()
	p := hindered(t)
	shown := ""
	eventually(t, "the journal has the message", func() bool {
		shown = p.verb(0, "senders", "show", "news@example.org")
		return strings.Contains(shown, "1 message relayed")
	})
	for _, want := range []string{`volume 24h +1 message relayed to 1 recipient; 0 recipients deferred, 0 rejected \(journal\)`,
		`watch +the lines below are the counts of the outlier watch, not the volume`, `(?s)stopped by +.*client corporate is suspended.*relay release client:corporate -config`} {
		wantText(t, shown, want)
	}
	var s control.ShownSender
	if err := json.Unmarshal([]byte(p.verb(0, "senders", "show", "client:corporate", "-json")), &s); err != nil || s.Volume.Day.Messages != 1 || s.Name != "corporate" {
		t.Errorf("%v %+v", err, s)
	}
	var r admin.Released
	if err := json.Unmarshal([]byte(p.verb(0, "release", "news@example.org", "-json")), &r); err != nil || len(r.Still) < 4 || r.Name != "news@example.org" {
		t.Errorf("%v %+v", err, r)
	}
	p.stop()
}
