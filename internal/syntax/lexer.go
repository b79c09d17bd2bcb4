package syntax

import (
	"strings"

	"postern/mail"
)

// maxComments bounds how deep comments stand in one another.
const maxComments = 32

// end is what peek returns after the last octet: no text holds it.
const end = 0

// lexer splits a field body. No octet of it is a control but tab and the CR LF
// of folding.
type lexer struct {
	s       string
	at      int
	spaced  bool   // white space stands before at
	comment []byte // text of the comments of an entry
}

func newLexer(value []byte) (lexer, error) {
	s := strings.TrimSuffix(string(value), "\r\n")
	for i := range len(s) {
		c := s[i]
		if c < ' ' && c != '\t' && c != '\r' && c != '\n' || c == 0x7f {
			return lexer{}, errSyntax
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

// white skips white space and folding. A folded line of white space alone is
// obsolete (RFC 5322 s. 4.2), and for some readers the end of the header.
func (l *lexer) white() error {
	l.spaced = false
	for folded := false; ; l.at++ {
		switch l.peek() {
		case ' ', '\t':
		case '\r', '\n':
			if folded || !l.fold() {
				return errSyntax
			}
			folded = true
		default:
			return ambiguousIf(folded && l.at == len(l.s))
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

// readComment moves behind a comment (RFC 5322 s. 3.2.2) and keeps its text. An
// address or an encoded-word in it is refused: some readers show it as the
// author, and some take it for one. plain: it holds nothing to be taken
// differently.
func (l *lexer) readComment() (plain bool, err error) {
	if len(l.comment) > 0 {
		l.comment = append(l.comment, ' ')
	}
	text := len(l.comment)
	plain = true
	for depth := 0; l.at < len(l.s); l.at++ {
		c := l.s[l.at]
		switch c {
		case '(':
			if depth++; depth > maxComments {
				return false, errAmbiguous
			}
			if depth == 1 {
				continue
			}
			plain = false
		case ')':
			if depth--; depth == 0 {
				l.at++
				return plain && len(l.comment) > text, ambiguousIf(hidesAddress(string(l.comment[text:])))
			}
		case '\r', '\n':
			if !l.fold() {
				return false, errSyntax
			}
			plain = false
			continue
		case '\\':
			if !l.escape() {
				return false, errSyntax
			}
			plain, c = false, l.s[l.at]
		case '"', ',', ';', ':':
			plain = false
		case '\t':
			plain, c = false, ' '
		}
		l.comment = append(l.comment, c)
	}
	return false, errAmbiguous
}

// hidesAddress reports whether some reader could take a part of text for an
// address.
func hidesAddress(text string) bool {
	return strings.ContainsAny(text, atSigns+"<>") || strings.Contains(text, "=?") || strings.Contains(text, "?=")
}

// escape moves from "\" to the character after it, which is not a line end.
func (l *lexer) escape() bool {
	l.at++
	c := l.peek()
	return c != end && c != '\r' && c != '\n'
}

// run reads up to white space or one of the specials that mean something in a
// list. atoms: it holds nothing but atoms and dots.
func (l *lexer) run() (text string, atoms bool) {
	start := l.at
	atoms = true
	for ; l.at < len(l.s); l.at++ {
		switch c := l.s[l.at]; {
		case mail.IsAtext(c), c == '.':
		case c == '[', c == ']':
			atoms = false
		default:
			return l.s[start:l.at], atoms
		}
	}
	return l.s[start:], atoms
}

// encodedWord returns the encoded-word that s begins with, or "": "=?charset?",
// "b?" or "q?", its text and "?=". atoms: it is an atom, as RFC 2047 s. 5 asks for
// in a name; programs leave blanks, commas and parentheses in it, too.
func encodedWord(s string) (w string, atoms bool) {
	rest, ok := strings.CutPrefix(s, "=?")
	if !ok {
		return "", false
	}
	charset, rest, _ := strings.Cut(rest, "?")
	if charset == "" || len(rest) < 2 || strings.IndexByte("bBqQ", rest[0]) < 0 || rest[1] != '?' {
		return "", false
	}
	text, _, ok := strings.Cut(rest[2:], "?=")
	if !ok || strings.IndexByte(text, '?') >= 0 {
		return "", false
	}
	w = s[:len("=?")+len(charset)+len("?q?")+len(text)+len("?=")]
	atoms = true
	for i := range len(w) {
		switch c := w[i]; {
		case c < 0x80 && mail.IsAtext(c), c == '.':
		case strings.IndexByte(" ,;:[]()", c) >= 0:
			atoms = false
		default:
			return "", false
		}
	}
	return w, atoms
}

// quotedString reads RFC 5322 s. 3.2.4: folding is taken out, the white space
// after it is part of the text. plain: every reader takes it alike.
func (l *lexer) quotedString() (text string, plain bool, err error) {
	l.at++
	start := l.at
	plain = true
	escaped := false
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
			// In some charsets a backslash may be half of a letter.
			return text, plain && text != "" && (!escaped || mail.ASCII(text)), nil
		case '\t':
			plain = false
		case '\r', '\n':
			b.WriteString(l.s[start:l.at])
			if !l.fold() {
				return "", false, errSyntax
			}
			start, plain = l.at+1, false
		case '\\':
			b.WriteString(l.s[start:l.at])
			if !l.escape() {
				return "", false, errSyntax
			}
			start, plain, escaped = l.at, plain && l.s[l.at] == '"', true
		}
	}
	return "", false, errAmbiguous
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
