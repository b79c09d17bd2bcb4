package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"postern/cmd/relay/cli"
	"postern/internal/explain"
	"postern/internal/plain"
	"postern/mail"
)

func TestExplainTellsATransaction(t *testing.T) {
	e := mail.Event{
		Time: time.Unix(1700000000, 0), Duration: 12 * time.Millisecond, ID: "x1", Client: "shop", ClientIP: "192.0.2.1", Listener: "mta",
		Helo: "h", User: "bob", TLS: "TLSv1.3", Stream: "main", From: "news@example.org", Authors: []string{"news@example.org"},
		To:   []mail.RecipientEvent{{Address: "b@dest.example", Outcome: mail.Deferred, Code: 450, Status: "4.7.1", Rule: "limit sender"}},
		Size: 100, Stage: "rcpt", Outcome: mail.Deferred, Code: 450, Status: "4.7.1", Rule: "limit sender", Upstream: "up", Reply: "450 4.7.1 no",
		Limits: []mail.LimitEvent{{Limit: "sender", Key: "sender=news@example.org", Unit: "messages", Window: time.Hour, Max: 500, Used: 500, Refused: true, Top: []string{"a 62%"}}},
		Shadow: []string{"from_mismatch"}, Err: "some fault",
	}
	var in bytes.Buffer
	for _, id := range []string{"x0", "x1", "x2"} {
		e.ID = id
		json.NewEncoder(&in).Encode(&e)
	}
	var out, errs bytes.Buffer
	status := run(cli.IO{In: &in, Out: &out, Err: &errs}, []string{"explain", "-journal", "-", "x1"})
	if status != cli.OK {
		t.Fatalf("status %d: %s", status, errs.String())
	}
	for _, want := range []string{
		"transaction x1,", "shop from [192.0.2.1] on listener mta", "user bob", "<news@example.org>",
		"limit       sender on sender=news@example.org: 500 of 500 messages in 1h, no room; most of it by a 62%",
		"to          <b@dest.example> deferred with 450 4.7.1 by limit sender",
		"end         deferred with 450 4.7.1 by limit sender: 450 4.7.1 no at stage rcpt",
		"shadow      would have been refused by from_mismatch", "fault       some fault",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "refused     ") {
		t.Errorf("one recipient is counted:\n%s", out.String())
	}
	e.Class, e.To = "no-such-user", append(e.To, e.To[0], mail.RecipientEvent{Address: "c@dest.example", Outcome: mail.Rejected, Code: 550, Status: "5.1.1", Rule: "upstream", Class: "no-such-user"})
	for _, want := range []string{"450 4.7.1 no, class no-such-user at stage rcpt", "refused     2 by limit sender 450 4.7.1, 1 by upstream/no-such-user 550 5.1.1\n"} {
		if text := explain.Event(&e); !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	if status := run(cli.IO{In: strings.NewReader(""), Out: &out, Err: &errs}, []string{"explain", "-journal", "-", "x9"}); status != cli.Fault {
		t.Errorf("unknown id: status %d", status)
	}
	if status := run(cli.IO{In: strings.NewReader(""), Out: &out, Err: &errs}, []string{"explain", "x9"}); status != cli.Usage {
		t.Errorf("no journal: status %d", status)
	}
}

// TestExplainDoesNothingToTheTerminal: what a sender, a receiver or a stranger
// has said is shown, in words and as JSON, in output and in errors.
func TestExplainDoesNothingToTheTerminal(t *testing.T) {
	const bad = "a\u009b2J\u202e\u2066\x1b[31m\x7f\U000e0041b"
	e := mail.Event{ID: "x1", Helo: bad, From: bad, MessageID: bad, Reply: bad, Err: bad, Outcome: mail.Rejected,
		To: []mail.RecipientEvent{{Address: bad, Reply: bad}}, Shadow: []string{bad}}
	b, err := json.Marshal(&e)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"x1"}, {"-json", "x1"}, {"-json=false", bad}} {
		var out, errs bytes.Buffer
		run(cli.IO{In: bytes.NewReader(b), Out: &out, Err: &errs}, append([]string{"explain", "-journal", "-"}, args...))
		all := out.String() + errs.String()
		if !strings.Contains(all, `\u202e`) || !plain.IsPlain([]byte(all)) {
			t.Errorf("%q", all)
		}
	}
	if errs := new(bytes.Buffer); run(cli.IO{In: nil, Out: errs, Err: errs}, []string{bad}) != cli.Usage || !plain.IsPlain(errs.Bytes()) {
		t.Errorf("%q", errs)
	}
}
