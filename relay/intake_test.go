package relay

import (
	"strings"
	"testing"
)

// intakeOf feeds text in pieces that end at the cuts and returns what came of it.
func intakeOf(text string, dots bool, cuts ...int) (header, body string) {
	var cfg MessageConfig
	cfg.SetDefaults()
	in := newIntake(&cfg, newSpooler(""), dots)
	judged := ""
	in.headerEnds = func(h []byte) bodyWriter {
		judged = string(h)
		return nil
	}
	pending, from := "", 0
	for _, cut := range append(cuts, len(text)) {
		pending += text[from:cut]
		from = cut
		n, _ := in.scan.feed([]byte(pending))
		if !dots {
			in.scan.endChunk([]byte(pending[n:]))
			n = len(pending)
		}
		pending = pending[n:]
	}
	in.end()
	var b strings.Builder
	for _, c := range in.body.chunks {
		b.Write(c)
	}
	in.close()
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
		for _, dots := range []bool{true, false} {
			for i := 0; i <= len(text); i++ {
				for j := i; j <= len(text); j++ {
					if h, b := intakeOf(text, dots, i, j); h != c.header || b != c.body {
						t.Fatalf("%q cut at %d and %d: header %q, body %q", text, i, j, h, b)
					}
				}
			}
		}
	}
}
