package syntax

import (
	"bytes"
	"strings"
	"testing"
)

func TestLongFieldsAreFolded(t *testing.T) {
	word := func(n int) string { return strings.Repeat("w", n) }
	for name, tt := range map[string]struct {
		in, out string
		long    int
	}{
		"a line of 998 stays":              {"To: " + word(994) + "\r\n", "To: " + word(994) + "\r\n", 0},
		"a line of 999 is folded":          {"To: a " + word(993) + "\r\n", "To: a\r\n " + word(993) + "\r\n", 0},
		"as late as can be":                {"To: a b " + word(500) + "  " + word(489) + "\r\n", "To: a b " + word(500) + "\r\n  " + word(489) + "\r\n", 0},
		"more than once":                   {"To: " + word(900) + " " + word(900) + "\t" + word(900) + "\r\n", "To: " + word(900) + "\r\n " + word(900) + "\r\n\t" + word(900) + "\r\n", 0},
		"continued lines, too":             {"To: a\r\n " + word(900) + " " + word(99) + "\r\n", "To: a\r\n " + word(900) + "\r\n " + word(99) + "\r\n", 0},
		"no white space":                   {"To:" + word(1000) + "\r\n\r\n", "To:" + word(1000) + "\r\n\r\n", 1},
		"one word that is too long":        {"To: a " + word(1500) + " b\r\n", "To: a\r\n " + word(1500) + "\r\n b\r\n", 1},
		"white space at the end is none":   {"To:" + word(990) + strings.Repeat(" ", 20) + "\r\n", "To:" + word(990) + strings.Repeat(" ", 20) + "\r\n", 1},
		"white space at the start is none": {"To: a\r\n  " + word(1000) + "\r\n", "To: a\r\n  " + word(1000) + "\r\n", 1},
	} {
		got, long := FoldLong([]byte(tt.in))
		if string(got) != tt.out || long != tt.long {
			t.Errorf("%s: %q, %d long", name, got, long)
		}
		if n := LongLines(got); n != long {
			t.Errorf("%s: %d long lines are left, not %d", name, n, long)
		}
	}
}

// FuzzFoldLong: what is folded is what it was, has no blank line that was not
// there, and as many long lines as are told.
func FuzzFoldLong(f *testing.F) {
	f.Add("To: a, b,", "c", uint16(600))
	f.Add("References: <a@b> \t", " <c@d>\r\n\t", uint16(200))
	f.Fuzz(func(t *testing.T, start, part string, n uint16) {
		text := start + strings.Repeat(part, int(n)%1200) + "\r\n"
		text = strings.ReplaceAll(strings.ReplaceAll(text, "\r", ""), "\n", "\r\n")
		if len(text) > 1<<17 {
			return
		}
		got, long := FoldLong([]byte(text))
		if unfold(string(got)) != unfold(text) {
			t.Fatalf("%q became %q", text, got)
		}
		if n := LongLines(got); n != long {
			t.Errorf("%d long lines, told %d", n, long)
		}
		if blank(got) != blank([]byte(text)) {
			t.Errorf("blank lines in %q", got)
		}
	})
}

func unfold(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n ", " "), "\r\n\t", "\t")
}

func blank(b []byte) (n int) {
	for line := range bytes.Lines(b) {
		if len(bytes.Trim(line, " \t\r\n")) == 0 {
			n++
		}
	}
	return n
}
