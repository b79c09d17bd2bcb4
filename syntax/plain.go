package syntax

import (
	"strings"

	"postern/mail"
)

// plainAuthor reads the forms that nearly every From has: "a@b.example",
// "<a@b.example>", "Words <a@b.example>" and "\"Text\" <a@b.example>", in ASCII
// on one line, without comments and escapes; Words may be encoded. It takes
// nothing that the whole grammar takes otherwise; ok is false for all else.
func plainAuthor(s string) (a Author, ok bool) {
	s = strings.Trim(s, " ")
	address := s
	if open := strings.IndexByte(s, '<'); open >= 0 {
		if address, ok = strings.CutSuffix(s[open+1:], ">"); !ok {
			return Author{}, false
		}
		if a.Name, ok = plainName(strings.TrimRight(s[:open], " ")); !ok {
			return Author{}, false
		}
	}
	a.Address, ok = plainAddress(address)
	return a, ok
}

// plainName is a display name: atoms with one space between them, each
// encoded-word within one of them, or one quoted-string without either.
func plainName(s string) (name string, ok bool) {
	if len(s) > maxWords {
		return "", false // which may be too many words
	}
	if quoted, ok := strings.CutPrefix(s, `"`); ok {
		quoted, ok = strings.CutSuffix(quoted, `"`)
		return quoted, ok && printable(quoted) && !strings.ContainsAny(quoted, `"\`) && !strings.Contains(quoted, "=?")
	}
	atom := false // an atom stands before i
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 0x80:
			return "", false
		case mail.IsAtext(c), c == '.' && atom:
			atom = true
		case c != ' ' || !atom:
			return "", false
		default:
			atom = false
		}
	}
	if !strings.Contains(s, "=?") {
		return s, true
	}
	for word := range strings.SplitSeq(s, " ") {
		if opensWord(word) {
			return "", false
		}
	}
	return decodeWords(s), true
}

// plainAddress is an addr-spec of a dot-atom and a domain name.
func plainAddress(s string) (a mail.Address, ok bool) {
	local, domain, ok := strings.Cut(s, "@")
	if _, n, err := dotString(local); err != nil || n != len(local) || n > maxLocal || !mail.ASCII(local) {
		return mail.Address{}, false
	}
	a.Local = local
	if !ok || strings.Contains(local, "=?") || !mail.ASCII(domain) || domainOrLiteral(&a, domain, false, false) != nil {
		return mail.Address{}, false
	}
	return a, true
}
