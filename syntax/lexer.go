package syntax

import (
	"io"
	"mime"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/mail"
)

// maxComments bounds how deep comments stand in one another.
const maxComments = 32

// end is what peek returns after the last octet: no text holds it.
const end = 0

// word is an atom (with the dots that stand in it) or a quoted-string.
type word struct {
	text   string // without quotes, escapes and folding
	quoted bool
	spaced bool // white space or a comment stands before it
}

// lexer splits a field body. No octet of it is a control but tab and the CR LF
// of folding.
type lexer struct {
	s       string
	at      int
	spaced  bool   // white space or a comment stands before at
	comment []byte // text of comments, until the parser takes it
	// open: an encoded-word has begun and not ended. Some readers take quotes,
	// parentheses and angle brackets up to its end for a part of it, so that end
	// must not stand within quotes or a comment, nor behind an angle bracket.
	open bool
}

func newLexer(value []byte) (lexer, error) {
	s := strings.TrimSuffix(string(value), "\r\n")
	for i := range len(s) {
		c := s[i]
		if c < ' ' && c != '\t' && c != '\r' && c != '\n' || c == 0x7f {
			return lexer{}, ErrSyntax
		}
	}
	return lexer{s: s}, nil
}

func (l *lexer) peek() byte {
	if l.at == len(l.s) {
		return end
	}
	return l.s[l.at]
}

// cfws skips white space, folding and comments (RFC 5322 s. 3.2.2).
func (l *lexer) cfws() error {
	for ; ; l.at++ {
		switch l.peek() {
		case ' ', '\t':
		case '\r', '\n':
			if !l.fold() {
				return ErrSyntax
			}
		case '(':
			if err := l.readComment(); err != nil {
				return err
			}
		default:
			return nil
		}
		l.spaced = true
	}
}

// fold moves to the LF of a CR LF that white space follows.
func (l *lexer) fold() bool {
	rest := l.s[l.at:]
	if len(rest) < 3 || rest[:2] != "\r\n" || rest[2] != ' ' && rest[2] != '\t' {
		return false
	}
	l.at++
	return true
}

// readComment moves to the ")" that closes a comment and keeps its text.
func (l *lexer) readComment() error {
	l.note("")
	start, depth := l.at, 0
	for ; l.at < len(l.s); l.at++ {
		c := l.s[l.at]
		switch c {
		case '(':
			if depth++; depth > maxComments {
				return ErrAmbiguous
			}
			if depth == 1 {
				continue
			}
		case ')':
			if depth--; depth == 0 {
				return ambiguousIf(l.endsWord(start))
			}
		case '\r', '\n':
			if !l.fold() {
				return ErrSyntax
			}
			continue
		case '\\':
			if !l.escape() {
				return ErrSyntax
			}
			c = l.s[l.at]
		}
		l.comment = append(l.comment, c)
	}
	return ErrAmbiguous
}

// note adds text to the comments, after a space where there are any.
func (l *lexer) note(text string) {
	if len(l.comment) > 0 {
		l.comment = append(l.comment, ' ')
	}
	l.comment = append(l.comment, text...)
}

// escape moves from "\" to the character after it, which is no line end.
func (l *lexer) escape() bool {
	l.at++
	c := l.peek()
	return c != end && c != '\r' && c != '\n'
}

// word reads an atom or a quoted-string.
func (l *lexer) word() (word, error) {
	w := word{spaced: l.spaced}
	l.spaced = false
	var err error
	start := l.at
	if w.quoted = l.peek() == '"'; w.quoted {
		if w.text, err = l.quotedString(); err == nil {
			err = ambiguousIf(l.endsWord(start))
		}
	} else if w.text = l.run(); w.text == "" {
		err = ErrAmbiguous
	}
	l.open = opensWord(w.text) || l.open && !l.endsWord(start)
	return w, err
}

// endsWord reports whether an open encoded-word may end between start and at.
func (l *lexer) endsWord(start int) bool {
	return l.open && strings.Contains(l.s[start:l.at], "?=")
}

// opensWord reports whether an encoded-word begins in text and does not end
// there: =?charset?encoding?text?= (RFC 2047 s. 2).
func opensWord(text string) bool {
	for {
		_, rest, ok := strings.Cut(text, "=?")
		if !ok {
			return false
		}
		for _, part := range [...]string{"?", "?", "?="} {
			if _, rest, ok = strings.Cut(rest, part); !ok {
				return true
			}
		}
		text = rest
	}
}

// run reads atoms and dots without anything between them; "" where none is.
func (l *lexer) run() string {
	start := l.at
	for l.at < len(l.s) && (l.s[l.at] == '.' || mail.IsAtext(l.s[l.at])) {
		l.at++
	}
	return l.s[start:l.at]
}

// quotedString reads RFC 5322 s. 3.2.4: folding is taken out, the white space
// after it is part of the text.
func (l *lexer) quotedString() (string, error) {
	l.at++
	start := l.at
	var b strings.Builder // in use once the text differs from what is written
	for ; l.at < len(l.s); l.at++ {
		switch l.s[l.at] {
		case '"':
			text := l.s[start:l.at]
			l.at++
			if b.Len() > 0 {
				b.WriteString(text)
				text = b.String()
			}
			return text, nil
		case '\r', '\n':
			b.WriteString(l.s[start:l.at])
			if !l.fold() {
				return "", ErrSyntax
			}
			start = l.at + 1
		case '\\':
			b.WriteString(l.s[start:l.at])
			if !l.escape() {
				return "", ErrSyntax
			}
			start = l.at
		}
	}
	return "", ErrAmbiguous
}

// bracketed reads from "[" to "]", or to the end where that is missing.
func (l *lexer) bracketed() string {
	start := l.at
	if i := strings.IndexByte(l.s[start:], ']'); i >= 0 {
		l.at += i + 1
	} else {
		l.at = len(l.s)
	}
	return l.s[start:l.at]
}

// decodeWords decodes encoded-words (RFC 2047), in quoted strings too, since
// many readers do. What cannot be decoded stays as it is. The result is UTF-8
// without controls.
func decodeWords(s string) string {
	if strings.Contains(s, "=?") {
		d := mime.WordDecoder{CharsetReader: octets}
		if decoded, err := d.DecodeHeader(s); err == nil {
			s = decoded
		}
	}
	if printable(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// octets reads a charset that we do not know as if it were Latin-1: what is
// ASCII in it, such as an address, is found in the result.
func octets(_ string, in io.Reader) (io.Reader, error) {
	b, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(b))
	for _, c := range b {
		out = utf8.AppendRune(out, rune(c))
	}
	return strings.NewReader(string(out)), nil
}
