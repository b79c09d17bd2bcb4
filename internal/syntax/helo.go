package syntax

import (
	"errors"
	"net/netip"
	"strings"
)

// errHelo: the argument of HELO or EHLO cannot be a name (501 5.5.4).
var errHelo = errors.New("bad HELO name")

// Helo judges the argument of HELO or EHLO. RFC 5321 s. 4.1.1.1 asks for a
// domain or an address literal; real clients also send single labels, bare
// addresses and underscores, and those pass. Refused are an empty name, more
// than 255 octets, anything but printable ASCII, the characters that have a
// meaning in Received, and brackets that are not an address literal.
func Helo(s string) error {
	if s == "" || len(s) > maxDomain {
		return errHelo
	}
	named := false
	for i := range len(s) {
		c := s[i]
		if !heloOctet(c) {
			return errHelo
		}
		named = named || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	}
	if strings.ContainsAny(s, "[]") && !looseLiteral(s) || !named {
		return errHelo
	}
	return nil
}

// heloOctet reports whether c is printable and means nothing in Received.
func heloOctet(c byte) bool { return c > ' ' && c < 0x7f && strings.IndexByte(`()<>@,;"\`, c) < 0 }

// looseLiteral takes an IPv6 address without its tag as well.
func looseLiteral(s string) bool {
	inner, ok := strings.CutPrefix(s, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if !ok || !closed {
		return false
	}
	if _, err := literal(s); err == nil {
		return true
	}
	_, err := netip.ParseAddr(inner)
	return err == nil
}
