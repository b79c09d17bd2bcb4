package incident

import (
	"encoding/csv"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

func TestReportTellsWhatLeft(t *testing.T) {
	begin := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	event := func(submitter, user, from string, at time.Duration, to ...mail.RecipientEvent) *mail.Event {
		return &mail.Event{Time: begin.Add(at), ID: "id", Client: "mta", Submitter: submitter, User: user, From: from, SubmitterIP: "203.0.113.7", SourceIP: "192.0.2.25",
			Stage: mail.StageForward, Outcome: mail.Relayed, To: to}
	}
	took := func(a string) mail.RecipientEvent {
		return mail.RecipientEvent{Address: a, Outcome: mail.Relayed, Code: 250}
	}
	refused := mail.RecipientEvent{Address: "=cmd()@dest.example", Outcome: mail.Rejected, Code: 550, Status: "5.7.1", Reply: "spam"}
	waits := mail.RecipientEvent{Address: "w@other.example", Outcome: mail.Deferred, Code: 450}
	who, err := Parse("submitter:mta/Anna@example.org", nil)
	if err != nil {
		t.Fatal(err)
	}
	var list, out strings.Builder
	r := NewReport(who, begin, time.Time{}, &list)
	held := event("mta/anna@example.org", "", "a@example.org", time.Hour, mail.RecipientEvent{Address: "x@dest.example", Outcome: mail.Deferred})
	held.Stage, held.Outcome = mail.StageRcpt, mail.Deferred
	for _, e := range []*mail.Event{
		event("mta/anna@example.org", "", "anna@example.org", -time.Hour, took("before@dest.example")),
		event("mta/anna@example.org", "", "anna@example.org", 0, took("b@dest.example"), refused),
		event("mta/anna@example.org", "", "boss@example.org", time.Minute, took("B@dest.example"), took("c@other.example"), waits),
		event("mta/bob", "", "anna@example.org", time.Minute, took("d@dest.example")),
		held,
	} {
		if err := r.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	if r.Messages != 2 || r.Relayed != 3 || r.People != 2 || r.Refused != 1 || r.Waiting != 1 || r.SentFor["boss@example.org"] != 1 || r.From["203.0.113.7"] != 2 {
		t.Errorf("%+v", r)
	}
	r.Write(&out, "list.csv")
	for _, want := range []string{"2 messages left from 2026-11-30T08:00:00Z to 2026-11-30T08:01:00Z: to 3 recipients, 2 different ones; 1 recipient refused, 1 try deferred: what has not left by now waits with the client", "dest.example", "550 5.7.1 spam", "list.csv", "Please do not open", "left from 192.0.2.25: 2 messages"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, &out)
		}
	}
	rows, err := csv.NewReader(strings.NewReader(list.String())).ReadAll()
	if err != nil || len(rows) != 6 || rows[2][3] != "'=cmd()@dest.example" {
		t.Errorf("%v %q", err, rows)
	}
}

func TestWhoIsMeant(t *testing.T) {
	e := &mail.Event{Client: "mta", User: "anna", Submitter: "mta/bob", From: "News@example.org"}
	for text, want := range map[string]bool{"user:Anna": true, "user:bob": false, "submitter:mta/Bob": true, "submitter:other/bob": false, "client:mta": true, "news@Example.org": true, "sender:news@example.org": true, "x@example.org": false} {
		w, err := Parse(text, nil)
		if err != nil || w.sent(e) != want {
			t.Errorf("%s: %v, %v", text, w.sent(e), err)
		}
	}
	for _, text := range []string{"", "anna", "user:", "submitter:bob"} {
		if _, err := Parse(text, nil); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	r := NewReport(Who{scope: "client", name: "nobody"}, time.Time{}, time.Time{}, nil)
	var out strings.Builder
	r.Write(&out, "")
	if !strings.Contains(out.String(), "no mail of that name in that time") || fmt.Sprint(r.Flush()) != "<nil>" {
		t.Error(out.String())
	}
}

// TestNothingHasLeftSaysWhatBecameOfIt: a suspended mailbox, whose mail all waits, is not a
// name that nobody has.
func TestNothingHasLeftSaysWhatBecameOfIt(t *testing.T) {
	r := NewReport(Who{scope: "client", name: "mta"}, time.Time{}, time.Time{}, nil)
	e := &mail.Event{Client: "mta", From: "a@example.org", Stage: mail.StageForward, Outcome: mail.Deferred,
		To: []mail.RecipientEvent{{Address: "b@dest.example", Outcome: mail.Deferred, Code: 450}}}
	for range 3 {
		if err := r.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Add(&mail.Event{Client: "mta", From: "a@example.org", Stage: mail.StageRcpt, Outcome: mail.Rejected}); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if r.Write(&out, ""); out.String() != "nothing has left; 0 recipients refused, 3 tries deferred: what has not left by now waits with the client; 1 transaction ended before a message was handed on\n" {
		t.Error(out.String())
	}
}

// TestListDoesNothing to a spreadsheet or a terminal, whatever receivers and thieves wrote.
func TestListDoesNothing(t *testing.T) {
	for text, want := range map[string]string{
		"=cmd()": "'=cmd()", " @x": "' @x", "\uff1d1": "'\uff1d1", "-1": "'-1", "plain": "plain", "": "", "\x1b[2J": `\u001b[2J`, "a\u202eb": `a\u202eb`,
		"a\r\nb": `a\u000d\u000ab`, "\xff": `\xff`, "b\u00fccher": "b\u00fccher",
	} {
		if got := cell(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	if got := reply(&mail.RecipientEvent{Code: 550, Status: "5.7.1", Reply: "no\nother.example 9 9 9"}); strings.Contains(got, "\n") {
		t.Errorf("%q", got)
	}
}
