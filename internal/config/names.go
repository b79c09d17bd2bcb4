package config

import (
	"fmt"
	"slices"
	"strings"

	"postern/internal/syntax"
)

// isHostName reports whether s is a full host name: a domain of two labels or
// more in ASCII.
func isHostName(s string) bool {
	d, err := syntax.Domain(s)
	return err == nil && strings.EqualFold(d, s) && strings.Contains(s, ".")
}

// isTableName reports whether s can name a table: it goes into logs, metrics,
// command lines and keys of the store.
func isTableName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '-' && c != '_' && c != '.') {
			return false
		}
	}
	return true
}

// isUserName reports whether s can be a SASL user's name.
func isUserName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != "" && len(s) <= 255
}

// isDomainPattern reports whether s is "example.org" or "*.example.org".
func isDomainPattern(s string) bool {
	_, err := syntax.Domain(strings.TrimPrefix(s, "*."))
	return err == nil
}

// patternDomain is the domain of a sender pattern in A-labels; below says that
// the pattern means the domains under it.
func patternDomain(pattern string) (domain string, below bool) {
	domain = pattern[strings.LastIndexByte(pattern, '@')+1:]
	domain, below = strings.CutPrefix(domain, "*.")
	if d, err := syntax.LenientDomain(domain); err == nil {
		domain = d
	}
	return domain, below
}

// noSuch says that no table has the name, and which was perhaps meant.
func noSuch(table, name string, known []string) string {
	switch near := nearest(name, known); {
	case near != "":
		return fmt.Sprintf("there is no [%s]; did you mean %q", join(table, name), near)
	case len(known) == 0:
		return fmt.Sprintf("there is no [%s], and no other; write that table", join(table, name))
	case len(known) > 8:
		return fmt.Sprintf("there is no [%s]; write that table or correct the name", join(table, name))
	}
	known = slices.Clone(known)
	slices.Sort(known)
	return fmt.Sprintf("there is no [%s]; write that table or one of %s", join(table, name), strings.Join(known, ", "))
}
