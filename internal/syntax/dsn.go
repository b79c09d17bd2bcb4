package syntax

import (
	"slices"
	"strings"
)

// NamesDSN reports whether one of the parameters behind the path in the argument of
// MAIL or RCPT is one of DSN (RFC 3461): RET, ENVID, NOTIFY or ORCPT, whatever its
// value.
func NamesDSN(arg string) bool {
	_, rest, _ := strings.Cut(arg[strings.LastIndexByte(arg, '>')+1:], " ")
	return slices.ContainsFunc(strings.Fields(rest), func(p string) bool {
		key, _, _ := strings.Cut(p, "=")
		switch strings.ToUpper(key) {
		case "RET", "ENVID", "NOTIFY", "ORCPT":
			return true
		}
		return false
	})
}
