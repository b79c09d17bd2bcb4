package syntax

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"

	"postern/mail"
)

// Domain returns s in lower-case A-labels. Labels are letters, digits and
// hyphens (no underscore, no trailing dot); those beyond ASCII must be valid
// U-labels. One label alone is a domain here: policy decides about it. A last
// label of digits alone is refused, for "a@192.0.2.1" is neither a name nor an
// address literal. Errors: errDomain, errLength.
func Domain(s string) (string, error) { return hosts{}.domain(s) }

// hosts says what may stand behind the at sign besides a domain as Domain has it.
type hosts struct {
	literals   bool // address literals
	underscore bool // "_" as a letter, as in names of containers; see lenient.go
}

func (h hosts) domain(s string) (string, error) {
	switch {
	case s == "":
		return "", errDomain
	case len(s) > maxDomain:
		return "", errLength
	}
	plain := true // as it should be already
	for rest, more := s, true; more; {
		var label string
		label, rest, more = strings.Cut(rest, ".")
		if len(label) > maxLabel {
			return "", errLength
		}
		switch kind := h.judgeLabel(label); {
		case kind == badLabel, !more && digits(label):
			return "", errDomain
		case kind != plainLabel:
			plain = false
		}
	}
	if plain {
		return s, nil
	}
	return h.canonical(s)
}

type labelKind int

const (
	badLabel   labelKind = iota
	plainLabel           // lower-case LDH, not an A-label
	upperLabel           // LDH with upper case
	idnLabel             // A-label or U-label, its validity not yet known
)

func (h hosts) judgeLabel(l string) labelKind {
	if l == "" || l[0] == '-' || l[len(l)-1] == '-' {
		return badLabel
	}
	kind := plainLabel
	for i := range len(l) {
		switch c := l[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_' && h.underscore:
		case c >= 'A' && c <= 'Z':
			kind = max(kind, upperLabel)
		case c >= 0x80:
			kind = idnLabel
		default:
			return badLabel
		}
	}
	if hasACEPrefix(l) {
		return idnLabel
	}
	return kind
}

func hasACEPrefix(l string) bool { return len(l) >= 4 && strings.EqualFold(l[:4], "xn--") }

func (h hosts) canonical(s string) (string, error) {
	labels := strings.Split(s, ".")
	for i, l := range labels {
		l = strings.ToLower(l)
		if h.judgeLabel(l) == idnLabel {
			var err error
			if l, err = aLabel(l); err != nil {
				return "", err
			}
		}
		labels[i] = l
	}
	if s = strings.Join(labels, "."); len(s) > maxDomain {
		return "", errLength
	}
	return s, nil
}

var idn = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false))

// aLabel turns a lower-case A-label or U-label into its A-label. A U-label that
// IDNA would map to something else than lower case (wide letters, other dots,
// invisible characters) is refused: two spellings must not be one domain here
// and two elsewhere.
func aLabel(l string) (string, error) {
	a, err := idn.ToASCII(l)
	if err != nil {
		return "", errDomain
	}
	back := a
	if !mail.ASCII(l) {
		if back, err = idn.ToUnicode(a); err != nil {
			return "", errDomain
		}
	}
	switch {
	case back != l, !hasACEPrefix(a):
		return "", errDomain
	case len(a) > maxLabel:
		return "", errLength
	}
	return a, nil
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// fill fills a's Domain and Written from s.
func (h hosts) fill(a *mail.Address, s string, utf8 bool) (err error) {
	switch {
	case s == "":
		return errSyntax
	case s[0] == '[' && !h.literals:
		return ErrLiteral
	case s[0] == '[':
		a.Domain, err = literal(s)
	case !utf8 && !mail.ASCII(s):
		return errNonASCII
	default:
		a.Domain, err = h.domain(s)
	}
	if err != nil {
		return err
	}
	if a.Domain != s {
		a.Written = s
	}
	// Both forms must fit: one goes to the upstream, by the other it is counted.
	local := len(mail.QuoteLocal(a.Local))
	if local > leastLocal && local+len("@")+max(len(a.Domain), len(a.Written)) > maxAddress {
		return errLength
	}
	return nil
}

// literal returns an address literal (RFC 5321 s. 4.1.3) in the one form that
// netip writes, IPv4 that is mapped into IPv6 as IPv4: both are one host. General-address-literals are refused: no tag is registered.
func literal(s string) (string, error) {
	if len(s) > maxDomain || s[len(s)-1] != ']' {
		return "", ErrLiteral
	}
	const tag = "IPv6:"
	text, want6 := s[1:len(s)-1], false
	if len(text) > len(tag) && strings.EqualFold(text[:len(tag)], tag) {
		text, want6 = text[len(tag):], true
	}
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Is6() != want6 || ip.Zone() != "" {
		return "", ErrLiteral
	}
	if ip = ip.Unmap(); ip.Is6() {
		return "[" + tag + ip.String() + "]", nil
	}
	return "[" + ip.String() + "]", nil
}
