// Package plain keeps text of others from doing anything to the terminal that
// shows it. Controls move the cursor, change colours and answer for the user;
// format characters turn text round or hide it. Both are written out instead.
package plain

import (
	"encoding/binary"
	"io"
	"strconv"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Append appends text to b with what a terminal must not get written out: the
// controls but for tab and line feed (C0, DEL, C1), format characters (Cf, with
// those for directions) and separators of lines as \u and four digits, two of
// these beyond U+FFFF, as JSON has them, and octets that are no UTF-8 as \x and
// two. In a string of JSON it stays the same string.
func Append(b, text []byte) []byte {
	for len(text) > 0 {
		n := harmless(text)
		b, text = append(b, text[:n]...), text[n:]
		if len(text) == 0 {
			break
		}
		r, size := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(b, '\\', 'x', digits[text[0]>>4], digits[text[0]&15])
		case r > 0xffff:
			r -= 0x10000
			b = unit(unit(b, 0xd800+r>>10), 0xdc00+r&0x3ff)
		default:
			b = unit(b, r)
		}
		text = text[size:]
	}
	return b
}

const digits = "0123456789abcdef"

func unit(b []byte, r rune) []byte {
	return append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

// harmless is how many octets of text may be shown as they are.
func harmless(text []byte) (n int) {
	for n < len(text) {
		for len(text)-n >= 8 && isPrintable(binary.LittleEndian.Uint64(text[n:])) {
			n += 8
		}
		if n == len(text) {
			break
		}
		if c := text[n]; c < utf8.RuneSelf {
			if c < ' ' && c != '\n' && c != '\t' || c == 0x7f {
				return n
			}
			n++
			continue
		}
		r, size := utf8.DecodeRune(text[n:])
		if r == utf8.RuneError && size == 1 || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return n
		}
		n += size
	}
	return n
}

// isPrintable reports whether all of eight octets are printable ASCII. Each line
// of the log and of the journal comes by here: an octet at a time it costs more
// than a microsecond.
func isPrintable(x uint64) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	below := (x - ' '*each) &^ x // high bit: less than a space, or behind such a one
	del := x + each              // high bit: DEL
	return (x|below|del)&high == 0
}

// IsPlain reports whether Append would leave text as it is.
func IsPlain(text []byte) bool { return harmless(text) == len(text) }

// Writer writes to another one by Append. It is safe for concurrent use.
type Writer struct {
	mu   sync.Mutex
	out  io.Writer
	part []byte // of a character, whose rest is still to come
}

// NewWriter writes to out.
func NewWriter(out io.Writer) *Writer { return &Writer{out: out} }

// Write takes text, which may end within a character. The error is that of out.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.part) == 0 && IsPlain(p) {
		return w.out.Write(p)
	}
	text := append(w.part, p...)
	whole := len(text) - unfinished(text)
	w.part = append([]byte(nil), text[whole:]...)
	if _, err := w.out.Write(Append(nil, text[:whole])); err != nil {
		return 0, err
	}
	return len(p), nil
}

// unfinished is how many octets at the end of text begin a character that is not
// all there.
func unfinished(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if c := text[len(text)-n]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(text[len(text)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}

// quoted bounds what Quote shows of a text.
const quoted = 200

// Quote makes text from a peer safe for a log and for an event: at most 200
// octets of it, in quotes, what is not printable ASCII escaped.
func Quote(s string) string { return strconv.QuoteToASCII(s[:min(len(s), quoted)]) }

// QuoteControls returns plain text as it is, and quotes a text that holds
// controls.
func QuoteControls(s string) string {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return Quote(s)
		}
	}
	return s
}
