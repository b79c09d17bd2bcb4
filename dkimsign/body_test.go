package dkimsign

import (
	"bytes"
	"crypto/sha256"
	"regexp"
	"strings"
	"testing"
)

var (
	runs     = regexp.MustCompile(`[ \t]+`)
	lineEnds = regexp.MustCompile(` ?\r\n`)
	tail     = regexp.MustCompile(`(\r\n)*$`)
)

// relaxedBody is RFC 6376 s. 3.4.4 as it is written, for text with clean CRLF.
func relaxedBody(body string) string {
	if !strings.HasSuffix(body, "\r\n") && body != "" {
		body += "\r\n"
	}
	body = runs.ReplaceAllString(body, " ")
	body = lineEnds.ReplaceAllString(body, "\r\n")
	body = tail.ReplaceAllString(body, "")
	if body == "" {
		return ""
	}
	return body + "\r\n"
}

// clean makes every line end a CRLF.
func clean(s string) string {
	s = strings.ReplaceAll(s, "\r", "")
	return strings.ReplaceAll(s, "\n", "\r\n")
}

var bodies = []struct{ name, body string }{
	{"empty", ""},
	{"one blank line", "\r\n"},
	{"only blank lines", "\r\n\r\n\r\n"},
	{"only white space", " \t "},
	{"blank lines of white space", " \r\n\t\r\n"},
	{"one word", "a"},
	{"one line", "a\r\n"},
	{"trailing blank lines", "a\r\n\r\n \r\n\r\n"},
	{"trailing white space without line end", "a \t"},
	{"leading white space", " a\r\n\t b\r\n"},
	{"blank lines inside", "a\r\n\r\n\r\nb\r\n"},
	{"runs inside", "a  b\tc \t d\r\n"},
	{"white space before line ends", "a \r\nb\t\r\nc  \r\n"},
	{"format=flowed", "this line goes \r\non \r\n\r\n-- \r\nsig\r\n"},
	{"many trailing blank lines", "a\r\n" + strings.Repeat("\r\n", 5000)},
	{"many blank lines inside", "a\r\n" + strings.Repeat("\r\n", 5000) + "b"},
	{"long clean run", strings.Repeat("abcdefghij klmnopqrs\r\n", 500)},
	{"a tab in every line", strings.Repeat("a\tb\r\n", 2000)},
}

// reset makes h as new.
func (h *BodyHash) reset() {
	sum := h.sum
	sum.Reset()
	*h = BodyHash{sum: sum}
}

func TestBodyHash(t *testing.T) {
	h := NewBodyHash()
	for _, row := range bodies {
		want := sha256.Sum256([]byte(relaxedBody(row.body)))
		h.reset()
		h.Write([]byte(row.body))
		if once, again := h.Sum(), h.Sum(); once != want || again != want {
			t.Errorf("%s: wrong hash", row.name)
		}
	}
}

func TestBodyHashInPiecesOfAnySize(t *testing.T) {
	for _, row := range bodies {
		want := sha256.Sum256([]byte(relaxedBody(row.body)))
		for _, size := range []int{1, 2, 3, 7, 64, 1000} {
			h := NewBodyHash()
			for rest := []byte(row.body); len(rest) > 0; {
				n := min(size, len(rest))
				h.Write(rest[:n])
				rest = rest[n:]
			}
			if h.Sum() != want {
				t.Errorf("%s: wrong hash in pieces of %d", row.name, size)
			}
		}
	}
}

func TestBodyHashKnowsThatTheBodyEnded(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("Write after Sum did not panic")
		}
	}()
	h := NewBodyHash()
	h.Sum()
	h.Write([]byte("a"))
}

func TestBodyHashDoesNotAllocate(t *testing.T) {
	h := NewBodyHash()
	body := []byte(strings.Repeat("some words  and a tab\there \r\n", 1000) + strings.Repeat("\r\n", 1000))
	if n := testing.AllocsPerRun(10, func() { h.reset(); h.Write(body); h.Sum() }); n > 0 {
		t.Errorf("%v allocations for each body", n)
	}
}

func FuzzBodyHash(f *testing.F) {
	for _, row := range bodies {
		f.Add([]byte(row.body[:min(len(row.body), 200)]), uint8(3))
	}
	f.Add([]byte("a\rb \r\r\n\nc\r"), uint8(1))
	f.Fuzz(func(t *testing.T, body []byte, size uint8) {
		h := NewBodyHash()
		h.Write(body)
		whole := h.Sum()
		h.reset()
		for rest := body; len(rest) > 0; {
			n := min(int(size)+1, len(rest))
			h.Write(rest[:n])
			rest = rest[n:]
		}
		if h.Sum() != whole {
			t.Fatalf("%q hashes differently in pieces of %d", body, size+1)
		}
		text := clean(string(body))
		h.reset()
		h.Write([]byte(text))
		if h.Sum() != sha256.Sum256([]byte(relaxedBody(text))) {
			t.Fatalf("%q: hash is not that of %q", text, relaxedBody(text))
		}
	})
}

func BenchmarkBodyHash(b *testing.B) {
	const size = 1 << 20
	for _, row := range []struct{ name, line string }{
		{"base64", strings.Repeat("QUJD", 19) + "\r\n"},
		{"text", "The quick brown fox jumps over the lazy dog and then some more of it.\r\n"},
		{"flowed", "The quick brown fox jumps over the lazy dog and then some more of it. \r\n"},
		{"table", "one  two\tthree  four\tfive  six\r\n"},
		{"html", "            <td class=\"c\">Some words</td>\r\n"},
		{"blank", "\r\n"},
	} {
		body := bytes.Repeat([]byte(row.line), size/len(row.line))
		b.Run(row.name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			h := NewBodyHash()
			for b.Loop() {
				h.reset()
				for rest := body; len(rest) > 0; {
					n := min(32<<10, len(rest))
					h.Write(rest[:n])
					rest = rest[n:]
				}
				h.Sum()
			}
		})
	}
	b.Run("sha256", func(b *testing.B) {
		body := make([]byte, size)
		b.SetBytes(size)
		for b.Loop() {
			sha256.Sum256(body)
		}
	})
}
