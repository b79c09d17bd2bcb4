package syntax

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func names(h Header) string {
	var all []string
	for i := range h {
		all = append(all, string(h[i].Name()))
	}
	return strings.Join(all, ",")
}

func TestParseHeader(t *testing.T) {
	for _, tt := range []struct {
		name, in, fields string
		err              error
	}{
		{name: "nothing", in: ""},
		{name: "blank line alone", in: "\r\n"},
		{name: "with the blank line", in: "From: a\r\nTo: b\r\n\r\n", fields: "From,To"},
		{name: "without the blank line", in: "From: a\r\nTo: b\r\n", fields: "From,To"},
		{name: "without the last CR LF", in: "From: a\r\nTo: b", fields: "From,To"},
		{name: "what follows the blank line is no header", in: "From: a\r\n\r\nFrom: b\r\n", fields: "From"},
		{name: "folded", in: "Subject: a\r\n b\r\n\tc\r\nTo: d\r\n", fields: "Subject,To"},
		{name: "white space alone continues a field", in: "Subject: a\r\n \r\nTo: d\r\n", fields: "Subject,To"},
		{name: "nothing after the colon", in: "Cc:\r\nTo:b\r\n", fields: "Cc,To"},
		{name: "same name twice", in: "To: a\r\nto: b\r\n", fields: "To,to"},
		{name: "8-bit body", in: "Subject: Gr\xfc\xdfe\r\n", fields: "Subject"},
		{name: "odd but legal name", in: "X_y!z/1: a\r\n", fields: "X_y!z/1"},

		{name: "field of the most octets", in: "X: " + strings.Repeat("a", MaxField-5) + "\r\n", fields: "X"},
		{name: "From of the most octets", in: "From: " + strings.Repeat("a", MaxSenderField-8) + "\r\n", fields: "From"},
		{name: "tab, 8-bit and what is C1 in some charset", in: "Subject:\ta\x93b\x9b \xc2\x93\xff\r\n", fields: "Subject"},

		{name: "space before the colon", in: "Subject : a\r\n", err: errNotField},
		{name: "tab before the colon", in: "To: b\r\nX-A\t: a\r\n", err: errNotField},
		{name: "field too long", in: "X: " + strings.Repeat("a", MaxField-4) + "\r\n", err: ErrLongField},
		{name: "field too long by folding", in: "X:" + strings.Repeat(" a\r\n", MaxField/4) + " a\r\n", err: ErrLongField},
		{name: "From too long", in: "From: " + strings.Repeat("a", MaxSenderField-7) + "\r\n", err: ErrLongField},
		{name: "Sender too long", in: "sender: " + strings.Repeat("a", MaxSenderField) + "\r\n", err: ErrLongField},
		{name: "Reply-To too long", in: "Reply-To: " + strings.Repeat(" \r\n ", MaxSenderField/4) + "a\r\n", err: ErrLongField},
		{name: "Resent-From too long", in: "Resent-From: " + strings.Repeat("a", MaxSenderField) + "\r\n", err: ErrLongField},
		{name: "Resent-Sender too long", in: "Resent-Sender: " + strings.Repeat("a", MaxSenderField) + "\r\n", err: ErrLongField},
		{name: "form feed", in: "Subject: a\x0c\r\n", err: ErrControl},
		{name: "vertical tab", in: "Subject: a\x0bFrom: b\r\n", err: ErrControl},
		{name: "ESC", in: "Subject: \x1b[2J\r\n", err: ErrControl},
		{name: "DEL", in: "Subject: a\x7f\r\n", err: ErrControl},
		{name: "C1 in UTF-8", in: "Subject: a\u009b2J\r\n", err: ErrControl},
		{name: "next line in UTF-8", in: "Subject: é\u0085From: b\r\n", err: ErrControl},
		{name: "line without colon", in: "From: a\r\nhello there\r\n", err: errNotField},
		{name: "empty name", in: ": a\r\n", err: errNotField},
		{name: "blank name", in: "From: a\r\n : b\r\n", fields: "From"}, // it is folded
		{name: "blank in the name", in: "Fr om: a\r\n", err: errNotField},
		{name: "folded before the colon", in: "From\r\n : a\r\n", err: errNotField},
		{name: "8-bit name", in: "Fr\xf6m: a\r\n", err: errNotField},
		{name: "control in the name", in: "Fr\x01om: a\r\n", err: errNotField},
		{name: "mailbox line", in: "From a@example.org Mon Jan  5 10:00:00 2026\r\nFrom: a\r\n", err: errNotField},
		{name: "quoted mailbox line", in: ">From a@example.org Mon Jan  5 2026\r\n", err: errNotField},
		{name: "first line folded", in: " From: a\r\n", err: errNotField},
		{name: "bare LF", in: "From: a\nTo: b\r\n", err: errNewline},
		{name: "bare CR", in: "From: a\rTo: b\r\n", err: errNewline},
		{name: "CR CR LF", in: "From: a\r\r\n", err: errNewline},
		{name: "NUL", in: "From: a\x00\r\n", err: errNewline},
		{name: "one field too many", in: strings.Repeat("A: b\r\n", 21), err: ErrManyFields},
		{name: "as many as asked for", in: strings.Repeat("A: b\r\n", 20), fields: strings.TrimSuffix(strings.Repeat("A,", 20), ",")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := ParseHeader([]byte(tt.in), 20)
			if names(h) != tt.fields || !errors.Is(err, tt.err) {
				t.Errorf("%s, %v; want %s, %v", names(h), err, tt.fields, tt.err)
			}
		})
	}
}

func TestParseHeaderNamesTheLine(t *testing.T) {
	_, err := ParseHeader([]byte("From: a\r\nSubject: b\r\n c\r\noops\r\n"), 20)
	if err == nil || err.Error() != "line 4: not a header field" {
		t.Error(err)
	}
}

func TestHeaderLookup(t *testing.T) {
	h, err := ParseHeader([]byte("From: a\r\nX: 1\r\nFROM: b\r\n c\r\n"), 20)
	if err != nil {
		t.Fatal(err)
	}
	if f, ok := h.Get("from"); !ok || string(f.Raw) != "From: a\r\n" || string(f.Body()) != " a\r\n" {
		t.Errorf("Get: %q, %v", f.Raw, ok)
	}
	if last := h[len(h)-1]; string(last.Body()) != " b\r\n c\r\n" || last.Text() != "b c" {
		t.Errorf("last field: %q", last.Raw)
	}
	if h.Count("from") != 2 || h.Count("to") != 0 {
		t.Error("Count")
	}
	if _, ok := h.Get("to"); ok {
		t.Error("a field that is not there was found")
	}
}

func TestHeaderEnd(t *testing.T) {
	for _, tt := range []struct {
		in   string
		from int
		want int
	}{
		{"", 0, -1},
		{"A: b\r\n", 0, -1},
		{"\r\nbody", 0, 2},
		{"A: b\r\n\r\nbody", 0, 8},
		{"A: b\r\n\r\nbody\r\n\r\n", 0, 8},
		{"A: b\r\n\r\nbody", 7, 8}, // cut before the last LF
		{"A: b\r\n\r\nbody", 5, 8},
		{"A: b\r\n\n", 0, -1},
	} {
		if got := HeaderEnd([]byte(tt.in), tt.from); got != tt.want {
			t.Errorf("HeaderEnd(%q, %d) = %d, want %d", tt.in, tt.from, got, tt.want)
		}
	}
}

func ExampleParseHeader() {
	h, err := ParseHeader([]byte("To: a@example.org,\r\n b@example.org\r\n"), 100)
	if err != nil {
		fmt.Println(err)
		return
	}
	if f, ok := h.Get("to"); ok {
		fmt.Println(f.Text())
	}
	// Output:
	// a@example.org, b@example.org
}
