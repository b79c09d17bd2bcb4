package ownfield

import (
	"slices"
	"strings"
	"testing"
)

var ours = []string{"Received", "DKIM-Signature", "Date", "Message-ID"}

func message(client ...string) Message {
	return Message{
		Added: ours,
		Count: func(name string) int {
			return len(slices.DeleteFunc(slices.Clone(client), func(f string) bool { return !strings.EqualFold(f, name) }))
		},
		Wrote: func(string) bool { return false },
	}
}

func TestReplyAboutOurField(t *testing.T) {
	for _, tt := range []struct {
		reply  string
		client []string
		want   string
	}{
		{"554 5.0.0 Transaction failed: Duplicate header 'DKIM-Signature'.", nil, "DKIM-Signature"},
		{"554 5.0.0 Transaction failed: Duplicate header 'DKIM-Signature'.", []string{"DKIM-Signature"}, "DKIM-Signature"},
		{"550 5.6.0 Message contains multiple DKIM-Signature headers", []string{"DKIM-Signature"}, "DKIM-Signature"},
		{"550 5.6.0 DKIM-Signature appears more than once", nil, "DKIM-Signature"},
		{"554 5.0.0 Transaction failed: Duplicate header 'Date'.", nil, "Date"},
		{"554 5.0.0 Transaction failed: Duplicate header 'Message-ID'.", nil, "Message-ID"},
		{"550 5.6.0 Invalid Received header", nil, "Received"},
		{"550 5.7.20 No passing DKIM signature found", nil, "DKIM-Signature"},
		{"550 5.7.0 bad DKIM-Signature data", nil, "DKIM-Signature"},
		{"550 5.6.0 syntax error in 'date'", nil, "Date"},
		{"550 5.6.0 header DKIM-SIGNATURE TOO LONG", nil, "DKIM-Signature"},

		// Ours or the client's: what is wrong with one need not be ours.
		{"550 5.6.0 Invalid Received header", []string{"Received"}, ""},
		{"550 5.7.0 bad DKIM-Signature data", []string{"DKIM-Signature"}, ""},
		// Too many without ours.
		{"554 5.0.0 Transaction failed: Duplicate header 'DKIM-Signature'.", []string{"DKIM-Signature", "dkim-signature"}, ""},
		// A field that we have not added.
		{"554 5.0.0 Transaction failed: Duplicate header 'Subject'.", []string{"Subject"}, ""},
		{"554 5.0.0 Transaction failed: Duplicate header 'Content-Type'.", nil, ""},
		{"550 5.6.0 invalid X-DKIM-Signature", nil, ""},
		{"550 5.6.0 invalid DKIM-Signature-Old", nil, ""},
		// Loops are the message's.
		{"554 5.4.6 too many Received headers", nil, ""},
		{"554 5.4.0 Too many hops 30 (25 max): too many 'Received' fields", nil, ""},
		{"550 5.6.0 too many Received headers", nil, ""},
		// The same words about something else.
		{"550 5.1.1 user invalid", nil, ""},
		{"550 5.7.1 message received but bad content", nil, ""},
		{"550 5.7.1 Message rejected, invalid date of birth", nil, ""},
		{"554 5.7.1 spam message received too many times", nil, ""},
		{"550 5.7.26 DKIM = did not pass", nil, ""},
		{"550 5.7.1 DKIM-Signature", nil, ""},
		{"", nil, ""},
	} {
		if got := Blamed(tt.reply, message(tt.client...)); got != tt.want {
			t.Errorf("%q, client's %q: %q, want %q", tt.reply, tt.client, got, tt.want)
		}
	}
}

// TestWhatTheClientWroteBlamesNobody: a receiver that repeats a subject, or a name
// of the envelope, says nothing of our fields.
func TestWhatTheClientWroteBlamesNobody(t *testing.T) {
	m := message()
	m.Wrote = func(text string) bool { return text == "dkim-signature" }
	if got := Blamed("554 5.7.1 Subject \"Duplicate header 'DKIM-Signature'\" is spam", m); got != "" {
		t.Errorf("blames %q", got)
	}
	m.Added = nil
	m.Wrote = func(string) bool { return false }
	if got := Blamed("554 Duplicate header 'DKIM-Signature'", m); got != "" {
		t.Errorf("an unsigned message blames %q", got)
	}
}

func FuzzBlamed(f *testing.F) {
	f.Add("554 Duplicate header 'DKIM-Signature'")
	f.Add("550 invalid received: header\xff\x00")
	f.Add(strings.Repeat("duplicate 'date' ", 100))
	f.Fuzz(func(t *testing.T, reply string) {
		if got := Blamed(reply, message()); got != "" && !strings.Contains(strings.ReplaceAll(strings.ToLower(reply), "dkim signature", "dkim-signature"), strings.ToLower(got)) {
			t.Errorf("%q blames %q, which it does not name", reply, got)
		}
	})
}
