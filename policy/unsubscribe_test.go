package policy

import (
	"bytes"
	"strings"
	"testing"

	"postern/mail"
)

// FuzzLinks holds the search for links to that in a copy without what readers
// ignore within one.
func FuzzLinks(f *testing.F) {
	for _, s := range []string{
		" <https://example.org/u>, <mailto:off@example.org>\r\n", " <\r\n HTTPS://example.org/u>\r\n", "<ht\ttp: //x>", "<<mailto:a>", "<\nhttps://x>", "<\rhttps://x>",
		"<h\r\nttps://x", "<mailto", "<http://a> <https://b>", "https://example.org/u",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got := unsubscribeFields{link: true, https: true} // of a field before, which does not count
		got.links(body)
		if want := plainLinks(body); got != want {
			t.Fatalf("%q: %+v, want %+v", body, got, want)
		}
	})
}

func plainLinks(body []byte) (w unsubscribeFields) {
	text := bytes.ReplaceAll(body, []byte("\r\n"), nil)
	text = bytes.ReplaceAll(text, []byte(" "), nil)
	text = bytes.ReplaceAll(text, []byte("\t"), nil)
	s := mail.LowerASCII(string(text))
	w.https = strings.Contains(s, "<https://")
	w.link = w.https || strings.Contains(s, "<mailto:") || strings.Contains(s, "<http://")
	return w
}
