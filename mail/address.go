// Package mail holds the words that all other packages share: addresses,
// peers, envelopes, replies and events. It decides nothing and does no I/O.
package mail

import (
	"fmt"
	"strings"
)

// Address is a mailbox as SMTP uses it (RFC 5321 s. 4.1.2). The zero value is
// the null reverse-path "<>". Package syntax makes addresses from what a peer
// sent, so a non-zero Address of a peer has passed its grammar.
//
// Two addresses are the same sender when their Identities are equal, and the same
// recipient when their RecipientIDs are.
type Address struct {
	// Local is the local-part without quotes and without escapes, its case
	// kept; with Domain at most 254 octets. UTF-8 beyond ASCII occurs only under SMTPUTF8.
	Local string
	// Domain is the domain in lower-case A-labels, or an address literal with
	// its brackets; at most 255 octets. Empty in the null address and in the
	// bare <postmaster> of RFC 5321 s. 4.5.1.
	Domain string
	// Written is the domain as the peer wrote it (case, U-labels), or empty
	// when that equals Domain. It is what goes to the upstream.
	Written string
}

// Postmaster is the recipient <postmaster> without a domain.
var Postmaster = Address{Local: "postmaster"}

// IsNull reports whether a is the null reverse-path.
func (a Address) IsNull() bool { return a.Local == "" && a.Domain == "" }

// Key is the form in which events and logs name a: quoted where needed, domain in
// lower-case A-labels. The null address has the key "<>", never the empty one.
func (a Address) Key() string {
	if a.IsNull() {
		return "<>"
	}
	return a.join(a.Domain)
}

// String is the form for the wire, without angle brackets: the local-part
// quoted exactly where RFC 5321 asks for it, the domain as the peer wrote it.
func (a Address) String() string {
	if a.Written != "" {
		return a.join(a.Written)
	}
	return a.join(a.Domain)
}

// AppendTo appends String to b.
func (a Address) AppendTo(b []byte) []byte {
	b = append(b, QuoteLocal(a.Local)...)
	switch {
	case a.Written != "":
		b = append(append(b, '@'), a.Written...)
	case a.Domain != "":
		b = append(append(b, '@'), a.Domain...)
	}
	return b
}

func (a Address) join(domain string) string {
	local := QuoteLocal(a.Local)
	if domain == "" {
		return local
	}
	return local + "@" + domain
}

// Shown is the key between angle brackets as a reply names it, in ASCII: other
// characters as \x{HEX} (RFC 6533 s. 3).
func (a Address) Shown() string {
	key := a.Key()
	switch {
	case a.IsNull():
		return key
	case ASCII(key):
		return "<" + key + ">"
	}
	var b strings.Builder
	b.WriteByte('<')
	for _, r := range key {
		if r < 0x80 {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\x{%X}`, r)
		}
	}
	b.WriteByte('>')
	return b.String()
}

// UTF8 reports whether the wire form holds an octet beyond ASCII, so that it
// may only be sent with SMTPUTF8 (RFC 6531).
func (a Address) UTF8() bool { return !ASCII(a.Local) || !ASCII(a.Written) }

// ASCII reports whether s has no octet above 0x7F.
func ASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// QuoteLocal writes a local-part as a Dot-string when it is one and as a
// Quoted-string otherwise (RFC 5321 s. 4.1.2), escaping only '"' and '\'.
func QuoteLocal(local string) string {
	if isDotString(local) {
		return local
	}
	var b strings.Builder
	b.Grow(len(local) + 2)
	b.WriteByte('"')
	for i := range len(local) {
		if c := local[i]; c == '"' || c == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(local[i])
	}
	b.WriteByte('"')
	return b.String()
}

func isDotString(s string) bool {
	dot := true // a dot may not come first, last or after another
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if dot {
				return false
			}
			dot = true
		case IsAtext(c):
			dot = false
		default:
			return s == ""
		}
	}
	return s == "" || !dot
}

// IsAtext reports whether c may stand in an atom (RFC 5322 s. 3.2.3); octets
// above 0x7F count, as RFC 6531 extends it.
func IsAtext(c byte) bool { return atext[c] }

var atext = func() (is [256]bool) {
	for c := range is {
		is[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80 ||
			strings.IndexByte("!#$%&'*+-/=?^_`{|}~", byte(c)) >= 0
	}
	return is
}()
