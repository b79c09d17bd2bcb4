package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/cmd/relay/cli"
	"postern/mail"
)

func TestRepliesClassifyPrintsTheClassFirst(t *testing.T) {
	for _, row := range []struct {
		name, in string
		args     []string
		want     string
	}{
		{"one reply", "", []string{"550 5.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org"}, "listed-ip list=spamhaus-zen rule=blocked-using remedy: "},
		{"words of their own", "", []string{"550", "5.1.1", "user", "unknown"}, "no-such-user list=- "},
		{"lines joined by two characters", "", []string{`550-5.1.1 The account you tried\n550 5.1.1 does not exist`}, "no-such-user "},
		{"lines joined by a newline", "", []string{"550-5.7.26 mail is\n550 5.7.26 unauthenticated"}, "policy-auth "},
		{"a time to wait", "", []string{"451 greylisted, try again in 300 seconds"}, "greylisted list=- rule=- sure="},
		{"a stage", "", []string{"-stage", "dot", "550 quux"}, "other list=- rule=- "},
		{"standard input", "552 5.2.2 mailbox full\n550 quux\n", nil, "mailbox-full "},
		{"json", "", []string{"-json", "550 5.1.1 user unknown"}, `{"class":"no-such-user",`},
	} {
		status, out, errs := runVerb(row.in, append([]string{"replies", "classify"}, row.args...)...)
		if status != cli.OK || errs != "" || !strings.HasPrefix(out, row.want) {
			t.Errorf("%s: status %d, %q, %q", row.name, status, out, errs)
		}
	}
}

func TestRepliesClassifyTakesRules(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(file, []byte("rule ours content-spam\n  text quux\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, out, _ := runVerb("", "replies", "classify", "-rules", file, "550 quux"); !strings.HasPrefix(out, "content-spam list=- rule=ours ") {
		t.Errorf("%q", out)
	}
	if status, _, errs := runVerb("", "replies", "classify", "-rules", file+"x", "550 quux"); status != cli.Usage || errs == "" {
		t.Errorf("a missing file: status %d, %q", status, errs)
	}
	if _, out, _ := runVerb("", "replies", "rules"); !strings.Contains(out, "rule blocked-using listed-ip\n") {
		t.Error("the built-in rules are not printed")
	}
}

// Trouble of ours with the upstream is told by its cause and not by what the
// client heard.
func TestRepliesTopNamesRefusedCredentials(t *testing.T) {
	e := mail.Event{Time: time.Now(), Upstream: "provider", Outcome: mail.Deferred, Code: 450, Status: "4.7.1", Reply: "450 4.7.1 of another recipient",
		Err: `upstream provider: AUTH as "relay": credentials refused for good: "535 5.7.8 key revoked"`, To: []mail.RecipientEvent{
			{Address: "a@b.example", Outcome: mail.Deferred, Code: 451, Status: "4.4.1", Rule: "upstream", Class: "credentials"},
			{Address: "b@b.example", Outcome: mail.Deferred, Code: 450, Status: "4.7.1", Rule: "backoff"},
		}}
	line, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	status, out, errs := runVerb(string(line), "replies", "top", "-by", "class,destination", "-journal", "-")
	if status != cli.OK || errs != "" || strings.Count(out, "\n") != 2 || !strings.Contains(out, "credentials") || !strings.Contains(out, "535 5.7.8 key revoked") {
		t.Errorf("status %d, %q, %q", status, out, errs)
	}
}

// TestRepliesTopNamesFaultsWithoutAReply by the fault, and gives them no class:
// what the client heard are words of ours.
func TestRepliesTopNamesFaultsWithoutAReply(t *testing.T) {
	e := mail.Event{Time: time.Now(), Upstream: "provider", Outcome: mail.Deferred, Code: 451, Status: "4.4.2", Reply: "451 4.4.2 upstream connection was lost, try again later",
		Err: "outcome unknown: upstream provider: final reply: EOF", To: []mail.RecipientEvent{{Address: "a@b.example", Outcome: mail.Deferred, Code: 451, Status: "4.4.2", Rule: "upstream"}}}
	line, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	status, out, errs := runVerb(string(line), "replies", "top", "-by", "class,destination", "-journal", "-")
	if status != cli.OK || errs != "" || strings.Contains(out, "temporary-fault") || !strings.Contains(out, "outcome unknown") {
		t.Errorf("status %d, %q, %q", status, out, errs)
	}
}

func TestRepliesTopCounts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "journal")
	var lines []byte
	add := func(e mail.Event) {
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(append(lines, b...), '\n')
	}
	refusal := func(to, text string) mail.RecipientEvent {
		return mail.RecipientEvent{Address: to, Outcome: mail.Rejected, Code: 550, Status: "5.1.1", Rule: "upstream", Reply: text}
	}
	for range 3 {
		add(mail.Event{Time: time.Now(), Upstream: "provider", Stream: "marketing", From: "news@example.org",
			To: []mail.RecipientEvent{refusal("ben@partner.example", "User unknown"), {Address: "x@y.example", Code: 250, Rule: "upstream"}}})
	}
	add(mail.Event{Time: time.Now(), Upstream: "provider", Stream: "corporate", From: "anna@example.org",
		To: []mail.RecipientEvent{refusal("ben@free.example", "blocked using bl.spamcop.net")}})
	add(mail.Event{Time: time.Now(), From: "anna@example.org", To: []mail.RecipientEvent{{Code: 450, Rule: "limit sender"}}})
	add(mail.Event{Time: time.Now().Add(-48 * time.Hour), Upstream: "provider", To: []mail.RecipientEvent{refusal("a@b.example", "quux")}})
	if err := os.WriteFile(file, lines, 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, errs := runVerb("", "replies", "top", "-since", "1h", "-journal", file)
	rows := strings.Split(strings.TrimSpace(out), "\n")
	if status != cli.OK || errs != "" || len(rows) != 3 {
		t.Fatalf("status %d, %q, %q", status, out, errs)
	}
	for i, want := range []string{"3 no-such-user marketing partner.example news@example.org", "1 listed-ip corporate free.example anna@example.org"} {
		if got := strings.Join(strings.Fields(rows[i+1]), " "); !strings.HasPrefix(got, want) {
			t.Errorf("row %d: %q, want %q", i, got, want)
		}
	}
	if _, out, _ := runVerb("", "replies", "top", "-by", "class,list", "-n", "1", "-json", "-journal", file); !strings.HasPrefix(out, `{"class":"no-such-user","count":4,"list":"-"`) {
		t.Errorf("%q", out)
	}
	for _, args := range [][]string{{"top"}, {"top", "-by", "moon", file}, {"tip"}, nil} {
		if status, _, _ := runVerb("", append([]string{"replies"}, args...)...); status != cli.Usage {
			t.Errorf("%q: status %d", args, status)
		}
	}
}
