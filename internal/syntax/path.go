package syntax

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/mail"
)

// reversePath parses what follows "MAIL FROM:" up to the end of the path;
// "<>" is the null address. Spaces before the path are tolerated, since real
// clients send one. rest is the text of the parameters without the spaces
// around it. utf8 says that SMTPUTF8 was given.
func (h hosts) reversePath(s string, utf8 bool) (a mail.Address, rest string, err error) {
	inner, ok := openPath(s)
	if !ok {
		return mail.Address{}, "", errSyntax
	}
	if strings.HasPrefix(inner, ">") {
		return closePath(mail.Address{}, inner)
	}
	return h.path(inner, utf8, false)
}

// forwardPath parses what follows "RCPT TO:" as reversePath does. <postmaster>
// in any case is mail.Postmaster (RFC 5321 s. 4.5.1); the null path is refused.
func (h hosts) forwardPath(s string, utf8 bool) (a mail.Address, rest string, err error) {
	inner, ok := openPath(s)
	if !ok {
		return mail.Address{}, "", errSyntax
	}
	return h.path(inner, utf8, true)
}

// Mailbox parses "local@domain" with nothing around it (RFC 5321 s. 4.1.2).
// Address literals pass.
func Mailbox(s string, utf8 bool) (mail.Address, error) {
	return hosts{literals: true}.mailbox(s, utf8)
}

func (h hosts) mailbox(s string, utf8 bool) (mail.Address, error) {
	local, n, err := localPart(s, utf8)
	if err != nil {
		return mail.Address{}, err
	}
	if n == len(s) || s[n] != '@' {
		return mail.Address{}, errSyntax
	}
	a := mail.Address{Local: local}
	if err := h.fill(&a, s[n+1:], utf8); err != nil {
		return mail.Address{}, err
	}
	return a, nil
}

func openPath(s string) (string, bool) {
	return strings.CutPrefix(strings.TrimLeft(s, " "), "<")
}

// path parses what follows "<". bare: the domain may be missing behind postmaster.
func (h hosts) path(s string, utf8, bare bool) (mail.Address, string, error) {
	if strings.HasPrefix(s, "@") {
		return mail.Address{}, "", ErrSourceRoute
	}
	local, n, err := localPart(s, utf8)
	if err != nil {
		return mail.Address{}, "", err
	}
	s = s[n:]
	if bare && strings.HasPrefix(s, ">") && strings.EqualFold(local, mail.Postmaster.Local) {
		return closePath(mail.Postmaster, s)
	}
	end := strings.IndexByte(s, '>') // no domain holds one
	if end < 0 || s[0] != '@' {
		return mail.Address{}, "", errSyntax
	}
	a := mail.Address{Local: local}
	if err := h.fill(&a, s[1:end], utf8); err != nil {
		return mail.Address{}, "", err
	}
	return closePath(a, s[end:])
}

// closePath returns a with what follows the ">" that s begins with.
func closePath(a mail.Address, s string) (mail.Address, string, error) {
	rest := s[1:]
	if rest != "" && rest[0] != ' ' {
		return mail.Address{}, "", errSyntax
	}
	return a, strings.Trim(rest, " "), nil
}

// localPart reads a Dot-string or Quoted-string from the start of s and returns
// it without quotes and escapes, and the octets that it took.
func localPart(s string, utf8 bool) (local string, n int, err error) {
	if strings.HasPrefix(s, `"`) {
		local, n, err = quotedLocal(s)
	} else {
		local, n, err = dotString(s)
	}
	switch {
	case err != nil:
		return "", 0, err
	case n > maxAddress-len("@d"):
		return "", 0, errLength
	}
	if err := checkLocal(local, utf8); err != nil {
		return "", 0, err
	}
	return local, n, nil
}

func dotString(s string) (string, int, error) {
	dot := true // a dot may not come first, last or after another
	n := 0
	for ; n < len(s); n++ {
		if s[n] == '.' {
			if dot {
				return "", 0, errSyntax
			}
			dot = true
		} else if mail.IsAtext(s[n]) {
			dot = false
		} else {
			break
		}
	}
	if dot {
		return "", 0, errSyntax
	}
	return s[:n], n, nil
}

func quotedLocal(s string) (string, int, error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"' && b.Len() == 0: // mail.Address cannot hold it
			return "", 0, errSyntax
		case c == '"':
			return b.String(), i + 1, nil
		case c == '\\':
			// RFC 5321 s. 4.1.2: quoted-pairSMTP = %d92 %d32-126
			if i++; i == len(s) || s[i] >= 0x80 {
				return "", 0, errSyntax
			}
			c = s[i]
		}
		b.WriteByte(c)
	}
	return "", 0, errSyntax
}

// checkLocal judges a decoded local-part: no controls of any kind, and beyond
// ASCII only valid UTF-8 and only where that is allowed.
func checkLocal(s string, utf8OK bool) error {
	ascii := true
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c == 0x7f:
			return errSyntax
		case c >= 0x80:
			ascii = false
		}
	}
	switch {
	case ascii:
		return nil
	case !utf8OK:
		return errNonASCII
	case !utf8.ValidString(s):
		return errSyntax
	}
	for _, r := range s {
		if unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) {
			return errSyntax
		}
	}
	return nil
}
