package plain

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestTextOfOthersDoesNothingToATerminal(t *testing.T) {
	for in, want := range map[string]string{
		"Grüße an 株式会社, 😀\ttab\n":     "Grüße an 株式会社, 😀\ttab\n",
		"\x1b[2J\x1b]0;owned\a":       `\u001b[2J\u001b]0;owned\u0007`,
		"over\rwritten":               `over\u000dwritten`,
		"\u009b2J and \x7f":           `\u009b2J and \u007f`,
		"gpj.\u202eexe":               `gpj.\u202eexe`,
		"a\u2066b\u2069c\u200fd":      `a\u2066b\u2069c\u200fd`,
		"in\u00advis\u200bi\ufeffble": `in\u00advis\u200bi\ufeffble`,
		"tag \U000e0041":              `tag \udb40\udc41`,
		"line\u2028sep\u2029":         `line\u2028sep\u2029`,
		"8-bit CSI \x9b2J, \xc3(":     `8-bit CSI \x9b2J, \xc3(`,
	} {
		if got := string(Append(nil, []byte(in))); got != want {
			t.Errorf("%q is shown as %s, want %s", in, got, want)
		}
	}
}

// FuzzAppend: nothing that a terminal obeys is left, however the text is cut into
// pieces, and a string of JSON stays what it was.
func FuzzAppend(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b[31m", "\u202e", "\U000e0041", "\x9b", "\xe2\x80", "ü", "\xf0\x9f\x98\x80"} {
		f.Add(s, 1)
	}
	f.Fuzz(func(t *testing.T, s string, cut int) {
		got := Append(nil, []byte(s))
		if !utf8.Valid(got) || bytes.ContainsFunc(got, func(r rune) bool {
			return r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
		}) || !IsPlain(got) {
			t.Fatalf("%q is shown as %q", s, got)
		}
		var out strings.Builder
		w := NewWriter(&out)
		at := 0
		if len(s) > 0 {
			at = int(uint(cut) % uint(len(s)))
		}
		w.Write([]byte(s[:at]))
		w.Write([]byte(s[at:] + "\n"))
		if out.String() != string(got)+"\n" {
			t.Fatalf("%q cut at %d is %q, in one piece %q", s, at, out.String(), got)
		}
		b, _ := json.Marshal(s)
		var back, ref string
		if json.Unmarshal(Append(nil, b), &back) != nil || json.Unmarshal(b, &ref) != nil || back != ref {
			t.Fatalf("%q comes back from JSON as %q", ref, back)
		}
	})
}

// TestEachOctetAtEachPlace: eight octets at a time are judged as one by one.
func TestEachOctetAtEachPlace(t *testing.T) {
	for at := range 17 {
		for c := range 256 {
			text := []byte("0123456789abcdefg")
			text[at] = byte(c)
			want := c >= ' ' && c < 0x7f || c == '\n' || c == '\t'
			if got := IsPlain(text); got != want {
				t.Fatalf("octet %#x at %d: %v", c, at, got)
			}
		}
	}
}
