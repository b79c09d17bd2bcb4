package submitter

import (
	"net/netip"
	"strings"
)

// Bounds of what is taken apart: a line that an MTA writes is far below them.
const (
	maxLine  = 4 << 10
	maxWords = 64
	maxDepth = 8
)

// trace is a Received line taken apart (RFC 5321 s. 4.4), as far as its "for" or its
// date.
type trace struct {
	from     string    // the word behind "from"; "" where there is none
	by       string    // the word behind "by"
	rest     []string  // words behind that
	comments []comment // in their order
}

// comment is a text in parentheses.
type comment struct {
	text  string
	words int // that stand before it
}

// parseTrace takes a line apart; false where it is not of the form that MTAs write:
// "from" with one word, if any, then "by" with one word.
func parseTrace(body []byte) (t trace, ok bool) {
	if len(body) > maxLine {
		return trace{}, false
	}
	words, comments, ok := tokens(unfold(body))
	if !ok {
		return trace{}, false
	}
	at := 0
	if len(words) > 1 && strings.EqualFold(words[0], "from") {
		t.from, at = words[1], 2
	}
	if len(words) < at+2 || !strings.EqualFold(words[at], "by") {
		return trace{}, false
	}
	t.by, t.rest, t.comments = words[at+1], words[at+2:], comments
	return t, true
}

// tokens cuts a line into words and comments, up to ";" or the word "for". Quoted
// strings and what stands in angle brackets are parts of a word, whatever they hold.
func tokens(s string) (words []string, comments []comment, ok bool) {
	for i := 0; i < len(s); {
		switch c := s[i]; c {
		case ' ', '\t':
			i++
		case ';':
			return words, comments, true
		case '(':
			end := commentEnd(s, i)
			if end < 0 || len(comments) == maxWords {
				return nil, nil, false
			}
			comments = append(comments, comment{s[i+1 : end-1], len(words)})
			i = end
		default:
			end := wordEnd(s, i)
			if end < 0 || len(words) == maxWords {
				return nil, nil, false
			}
			if len(words) > 3 && strings.EqualFold(s[i:end], "for") {
				return words, comments, true
			}
			words = append(words, s[i:end])
			i = end
		}
	}
	return words, comments, true
}

// commentEnd is just behind the parenthesis that closes the one at i; -1 for none.
func commentEnd(s string, i int) int {
	depth := 0
	for ; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			if depth++; depth > maxDepth {
				return -1
			}
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// wordEnd is where the word ends that begins at i; -1 where a quote or an angle
// bracket is not closed.
func wordEnd(s string, i int) int {
	for i < len(s) {
		closing := byte(0)
		switch s[i] {
		case ' ', '\t', ';', '(':
			return i
		case '"':
			closing = '"'
		case '<':
			closing = '>'
		}
		i++
		if closing == 0 {
			continue
		}
		for i < len(s) && s[i] != closing {
			if s[i] == '\\' {
				i++
			}
			i++
		}
		if i >= len(s) {
			return -1
		}
		i++
	}
	return i
}

// submitter is the name that the MTA gives its own client in this line, and how
// many there are. The forms are those of Postfix with
// smtpd_sasl_authenticated_header, and of its pickup for local users; Exim for local
// users; Courier; OpenSMTPD.
func (t *trace) submitter() (name string, n int) {
	found := func(s string) { name, n = s, n+1 }
	for _, c := range t.comments {
		switch {
		case t.from != "" && c.words == 2: // between "from" and "by"
			if s, ok := strings.CutPrefix(c.text, "Authenticated sender: "); ok {
				found(s)
			} else if s, ok := courier(c.text); ok {
				found(s)
			}
		case t.from == "" && c.words == 2: // behind "by"
			if s, ok := strings.CutPrefix(c.text, "Postfix, from userid "); ok {
				found("userid:" + s)
			}
		}
	}
	for i, w := range t.rest {
		switch {
		case i+1 < len(t.rest) && w == "auth=yes" && strings.HasPrefix(t.rest[i+1], "user="):
			found(t.rest[i+1][len("user="):])
		case i+1 < len(t.rest) && w == "with" && t.rest[i+1] == "local" && t.from != "" && !t.told():
			found(t.from)
		}
	}
	return name, n
}

// told reports whether something is said of the host behind "from", which a local
// submitter is not.
func (t *trace) told() bool {
	for _, c := range t.comments {
		if c.words == 2 {
			return true
		}
	}
	return strings.HasPrefix(t.from, "[")
}

// courier reads "AUTH: LOGIN anna@example.org, TLS: ...".
func courier(text string) (name string, ok bool) {
	text, ok = strings.CutPrefix(text, "AUTH: ")
	if !ok {
		return "", false
	}
	_, text, ok = strings.Cut(text, " ") // the mechanism
	name, _, _ = strings.Cut(text, ",")
	return name, ok
}

// addr is the address from which the MTA was handed the message. In the comment
// behind the EHLO name it stands in brackets; Exim has it in place of that name, and
// what the client has said in the comment.
func (t *trace) addr() netip.Addr {
	if t.from == "" || len(t.comments) == 0 || t.comments[0].words != 2 {
		return netip.Addr{}
	}
	text := t.comments[0].text
	for _, said := range [...]string{"helo=", "port=", "ident="} {
		if strings.HasPrefix(text, said) {
			return literal(t.from)
		}
	}
	return literal(text)
}

// literal is the first address in brackets.
func literal(s string) netip.Addr {
	_, s, _ = strings.Cut(s, "[")
	s, _, ok := strings.Cut(s, "]")
	if !ok {
		return netip.Addr{}
	}
	if len(s) > 5 && strings.EqualFold(s[:5], "IPv6:") {
		s = s[5:]
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return a
}
