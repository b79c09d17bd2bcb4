package relay

import (
	"postern/relay/smtpd"
	"strings"
	"testing"
)

// intakeOf feeds text in pieces that end at the cuts and returns what came of it.
func intakeOf(text string, cuts ...int) (header, body string) {
	var cfg smtpd.MessageConfig
	cfg.SetDefaults()
	m := &smtpd.Message{}
	in := newIntake(&cfg, newSpooler(""), m)
	judged := ""
	in.headerEnds = func(h []byte) bodyWriter {
		judged = string(h)
		return nil
	}
	from := 0
	for _, cut := range append(cuts, len(text)) {
		if from < cut {
			m.Take([]byte(text[from:cut]))
		}
		from = cut
	}
	in.end()
	var b strings.Builder
	for _, c := range in.body.chunks {
		b.Write(c)
	}
	in.drop()
	return judged, b.String()
}

// Where the header ends does not depend on how its octets come: what is judged
// is what a reader takes for the header.
func TestHeaderEndsWhereItEndsHoweverItComes(t *testing.T) {
	for _, c := range []struct{ header, body string }{
		{"From: a@example.org\r\nTo: b\r\n\r\n", "x\r\n\r\ny\r\n"},
		{"From: a@example.org\r\n\r\n", "\r\nFrom: x@evil.example\r\n"},
		{"\r\n", "From: a@example.org\r\n\r\nx\r\n"},
		{"From: a@example.org\r\n\tfolded\r\n\r\n", ""},
		{"From: a@example.org\r\nTo: b\r\n", ""},
	} {
		text := c.header + c.body
		for i := 0; i <= len(text); i++ {
			for j := i; j <= len(text); j++ {
				if h, b := intakeOf(text, i, j); h != c.header || b != c.body {
					t.Fatalf("%q cut at %d and %d: header %q, body %q", text, i, j, h, b)
				}
			}
		}
	}
}
