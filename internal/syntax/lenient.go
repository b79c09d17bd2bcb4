package syntax

import (
	"slices"
	"strings"

	"postern/mail"
)

// Some devices cannot be mended and send what the standards do not have. For
// clients with forms = "lenient" such text is written anew here in the form of
// the standards, and then judged by the same functions as all other text: nothing
// else here decides what is an address. What these take as it stands is never
// touched. One form has no other way to write it, an underscore in a domain; it is
// read as a letter.

// lenient is what stands behind the at sign for lenient clients.
var lenient = hosts{literals: true, underscore: true}

// LenientMail is MailCommand for lenient clients. Where that gives an error, the
// argument is read once more with brackets round the path if it has none, without
// blanks beside brackets and at sign, with quotes round a local-part whose dots
// need them, and without AUTH and ENVID whose value cannot be read: nobody acts on
// those. Errors are those of MailCommand.
func LenientMail(arg string) (mail.Envelope, error) {
	if env, err := MailCommand(arg); err == nil {
		return env, nil
	}
	return lenient.mailCommand(mend(arg, func(key, value string) bool {
		return key == "AUTH" && checkXtext(value, maxAuth) != nil || key == "ENVID" && checkXtext(value, maxEnvID) != nil
	}))
}

// LenientRcpt is to RcptCommand what LenientMail is to MailCommand; ORCPT is left
// out where it cannot be read.
func LenientRcpt(arg string, utf8, literals bool) (mail.Recipient, error) {
	if r, err := RcptCommand(arg, utf8, literals); err == nil {
		return r, nil
	}
	return hosts{literals: literals, underscore: true}.rcptCommand(mend(arg, func(key, value string) bool {
		return key == "ORCPT" && checkORcpt(value, utf8) != nil
	}), utf8)
}

// LenientAuthors is AppendAuthors with underscores in domains.
func LenientAuthors(list []Author, value []byte) (authors []Author, plain bool, err error) {
	return lenient.appendAuthors(list, value)
}

// LenientMailbox is Mailbox with underscores in domains, for what operators write
// about addresses of lenient clients.
func LenientMailbox(s string, utf8 bool) (mail.Address, error) { return lenient.mailbox(s, utf8) }

// LenientDomain is Domain with underscores, likewise.
func LenientDomain(s string) (string, error) { return lenient.domain(s) }

// HasAuthor reports whether a header names an author, or may for some reader: it has
// a From field with anything that could be taken for an address, or more than one
// such field.
func (h Header) HasAuthor() bool {
	f, ok := h.Get("From")
	return ok && (h.Count("From") > 1 || hidesAddress(f.Text()))
}

// AppendAuthor appends the fields of a header that has no author with one before
// them; what From holds, such as "root (Cron Daemon)", becomes his name.
func (h Header) AppendAuthor(b []byte, author mail.Address) []byte {
	a := Author{Address: author}
	if f, ok := h.Get("From"); ok && len(f.Text()) <= longName {
		a.Name = strings.ReplaceAll(f.Text(), "\t", " ")
	}
	return h.AppendWith(appendFrom(b, []Author{a}), nil, "From")
}

// mend writes what stands behind the colon of MAIL or RCPT in the form of RFC 5321
// s. 4.1.2, without the parameters that drop is true for; the key is in upper case.
// What is not one path with parameters behind it stays as it is.
func mend(arg string, drop func(key, value string) bool) string {
	path, params, ok := cutPath(strings.Trim(arg, blanks))
	if !ok {
		return arg
	}
	out := "<" + mendAddress(path) + ">"
	for _, p := range strings.FieldsFunc(params, func(r rune) bool { return r == ' ' || r == '\t' }) {
		if key, value, _ := cut(p, '='); !drop(strings.ToUpper(key), value) {
			out += " " + p
		}
	}
	return out
}

const blanks = " \t"

// cutPath parts s behind its path, which ends at its closing bracket, or without
// brackets at the first blank; neither counts within quotes. ok is false where
// that is not there, or brackets stand anywhere else.
func cutPath(s string) (path, params string, ok bool) {
	s, bracketed := strings.CutPrefix(s, "<")
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '>' && bracketed:
			params = s[i+1:]
			return s[:i], params, params == "" || strings.IndexByte(blanks, params[0]) >= 0
		case c == '<', c == '>':
			return "", "", false
		case isBlank(c) && !bracketed:
			return s[:i], s[i:], i > 0
		}
	}
	return s, "", !bracketed && !quoted && s != ""
}

// mendAddress takes the blanks at the ends of an address and beside its at sign
// away and quotes a local-part of atoms and dots that is not a Dot-string.
func mendAddress(s string) string {
	s = strings.Trim(s, blanks)
	at := strings.LastIndexByte(s, '@') // no domain holds one
	if at < 0 {
		return s
	}
	local, domain := strings.TrimRight(s[:at], blanks), strings.TrimLeft(s[at+1:], blanks)
	if local != "" && !slices.ContainsFunc([]byte(local), func(c byte) bool { return c != '.' && !mail.IsAtext(c) }) {
		local = mail.QuoteLocal(local)
	}
	return local + "@" + domain
}

// LenientHelo is the name in HELO or EHLO of a lenient client in a form that can
// be written to Received: an octet that is not printable ASCII, or that means
// something there, is "?", and what lies behind 255 octets is cut off. Errors are
// those of Helo, for a blank name.
func LenientHelo(s string) (string, error) {
	s = strings.Trim(s, blanks)
	if Helo(s) == nil {
		return s, nil
	}
	if s == "" {
		return "", errHelo
	}
	name := []byte(s[:min(len(s), maxDomain)])
	for i, c := range name {
		if !heloOctet(c) || c == '[' || c == ']' {
			name[i] = '?'
		}
	}
	return string(name), nil
}
