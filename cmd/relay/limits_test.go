package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/cmd/relay/cli"
	"postern/internal/smtptest"
	"postern/ratelimit"
)

// verb runs a command of an operator on a running relay and returns what it
// printed.
func (p *process) verb(status int, args ...string) string {
	p.t.Helper()
	var out, errs bytes.Buffer
	args = append(args, "-config", filepath.Join(p.dir, "relay.toml"))
	if got := run(cli.IO{In: strings.NewReader(""), Out: &out, Err: &errs}, args); got != status {
		p.t.Fatalf("relay %s: status %d, want %d\n%s%s", strings.Join(args, " "), got, status, out.String(), errs.String())
	}
	return out.String() + errs.String()
}

// tells asks again until the verb succeeds and prints what is wanted. It is for verbs
// that read what a running relay writes a moment later, such as the journal.
func (p *process) tells(pattern string, args ...string) {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	args = append(args, "-config", filepath.Join(p.dir, "relay.toml"))
	shown := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		status, out, errs := runVerb("", args...)
		if shown = out + errs; status == cli.OK && re.MatchString(shown) {
			return
		}
	}
	p.t.Errorf("relay %s lacks %q:\n%s", strings.Join(args, " "), pattern, shown)
}

func wantText(t *testing.T, text, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(text) {
		t.Errorf("lacks %q:\n%s", pattern, text)
	}
}

// TestLimitsFromTheOutside: an operator sees a limit fill up, learns what it
// would say, gives more room for a time and takes the counts away.
func TestLimitsFromTheOutside(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	p := startRelay(t, basic(up, `
[limit.sender]
per = "sender"
messages = ["3/1h"]
recipients = ["100/24h"]
[limit.all]
per = "all"
messages = ["1000/1h"]
mode = "shadow"
`))
	d := dialSMTP(t, p.address("mta"))
	send := func(from, want string) {
		t.Helper()
		d.say("MAIL FROM:<"+from+">", "250")
		r := d.say("RCPT TO:<b@dest.example>", "")
		if !strings.HasPrefix(r, want) {
			t.Fatalf("reply %q, want %s", r, want)
		}
		if want != "250" {
			d.say("RSET", "250")
			return
		}
		d.say("DATA", "354")
		d.say(testMessage(from, "x")+".", "250")
	}
	for range 3 {
		send("a@example.org", "250")
	}
	send("c@example.org", "250")
	send("a@example.org", "450 4.7.1 <a@example.org>: sender limit of 3 messages in 1h reached, retry in ")

	top := p.verb(0, "limits", "top")
	wantText(t, top, `(?m)^USE +LIMIT +KEY.*\n100% +sender +sender=a@example\.org +3 of 3 messages in 1h +0 +in `)
	one := p.verb(0, "limits", "show", "--sender", "c@EXAMPLE.org")
	wantText(t, one, `33% +sender +sender=c@example\.org +1 of 3 messages`)
	if strings.Contains(one, "a@example.org") {
		t.Errorf("shows another sender:\n%s", one)
	}
	var states []ratelimit.Usage
	if err := json.Unmarshal([]byte(p.verb(0, "limits", "show", "--limit", "sender", "--json")), &states); err != nil || len(states) != 2 {
		t.Errorf("%v, %v", states, err)
	}
	wantText(t, p.verb(0, "limits", "explain", "--client", "corporate", "--from", "a@example.org", "--to", "x@dest.example"),
		`(?s)all \(shadow\).*passes.*sender +sender=a@example\.org +3 of 3 messages in 1h +refuses: messages in 1h`)
	wantText(t, p.verb(2, "limits", "explain", "--client", "nobody", "--from", "a@example.org", "--to", "x@dest.example"), `no client "nobody"; there are: corporate`)

	until := time.Now().Add(time.Hour).Format("15:04")
	wantText(t, p.verb(0, "limits", "allow", "--sender", "a@example.org", "--limit", "sender", "--messages", "+2", "--until", until, "--reason", "launch"),
		`sender +sender=a@example\.org +\+2 messages`)
	wantText(t, p.verb(0, "limits", "raises"), `\+2 messages in every window .* launch \(`)
	p.expect(`msg=operator act=allow by=\S+ .*launch`)
	send("a@example.org", "250")

	// The allowance survives a restart, and so do the counts.
	d.conn.Close()
	p.stop()
	p = startRelayIn(t, p.dir)
	d = dialSMTP(t, p.address("mta"))
	send("a@example.org", "250")
	send("a@example.org", "450")
	wantText(t, p.verb(2, "limits", "reset", "--sender", "a@example.org", "--limit", "sender"), "-reason is missing")
	wantText(t, p.verb(2, "limits", "reset", "--sender", "a@example.org", "--limit", "sendr", "--reason", "x"), `no limit "sendr"; there are: all, `)
	wantText(t, p.verb(0, "limits", "reset", "--sender", "a@example.org", "--limit", "sender", "--reason", "test"), `it had:\n +5 of 5 messages in 1h`)
	send("a@example.org", "250")
	p.stop()
}
