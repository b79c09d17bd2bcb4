package resolve

import (
	"errors"
	"net"
	"net/netip"
	"strings"

	"postern/internal/text"
)

// ServerAddress adds the port 53 where none is given.
func ServerAddress(s string) (string, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return net.JoinHostPort(a.String(), "53"), nil
	}
	if a, err := netip.ParseAddrPort(s); err == nil && a.Port() != 0 {
		return a.String(), nil
	}
	return "", errors.New("is not an address with or without a port; write it as 192.0.2.53 or [2001:db8::53]:53")
}

// IsHostName reports whether s is a domain name of letters, digits, hyphens and
// underscores, at most 253 octets long, with or without a final dot.
func IsHostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !IsNameByte(c) {
				return false
			}
		}
	}
	return true
}

func IsNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// Printable writes what DNS or a peer said so that it cannot move the cursor.
func Printable(s string) string {
	clean := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 || c == '\u2028' || c == '\u2029' || c == '\ufffd' {
			return '?'
		}
		return c
	}, s)
	return text.Clip(clean, 600)
}
