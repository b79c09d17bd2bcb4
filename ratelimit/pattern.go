package ratelimit

import (
	"fmt"
	"strings"
)

// A senderSet matches reverse-paths: "a@example.org", "@example.org",
// "@*.example.org" (subdomains at any depth, not the domain itself), "<>".
type senderSet struct {
	exact   map[string]bool // by Address.Key
	domains domainSet
}

// A domainSet matches domains: "example.org" and "*.example.org".
type domainSet struct {
	exact  map[string]bool
	parent map[string]bool // of "*.parent"
}

func (s *senderSet) match(sender, domain string) bool {
	return s.exact[sender] || domain != "" && s.domains.match(domain)
}

func (s *domainSet) match(domain string) bool {
	if s.exact[domain] {
		return true
	}
	if len(s.parent) == 0 {
		return false
	}
	for d := parentOf(domain); d != ""; d = parentOf(d) {
		if s.parent[d] {
			return true
		}
	}
	return false
}

// add takes a normalised "example.org" or "*.example.org".
func (s *domainSet) add(pattern string) {
	if parent, ok := strings.CutPrefix(pattern, "*."); ok {
		if s.parent == nil {
			s.parent = map[string]bool{}
		}
		s.parent[parent] = true
		return
	}
	if s.exact == nil {
		s.exact = map[string]bool{}
	}
	s.exact[pattern] = true
}

// parentOf cuts the first label off: "a.b.example" gives "b.example", "example"
// and an address literal give "".
func parentOf(domain string) string {
	if strings.HasPrefix(domain, "[") {
		return ""
	}
	_, parent, _ := strings.Cut(domain, ".")
	return parent
}

// domainForm normalises the pattern of a domain, "*." kept.
func (e *Env) domainForm(pattern string) (string, error) {
	star, domain := "", pattern
	if rest, ok := strings.CutPrefix(pattern, "*."); ok {
		star, domain = "*.", rest
	}
	if domain == "" || strings.ContainsAny(domain, "*@ \t\"<>") {
		return "", fmt.Errorf(`%q is no domain; write "example.org" or "*.example.org"`, pattern)
	}
	if e.Domain != nil {
		d, err := e.Domain(domain)
		if err != nil {
			return "", fmt.Errorf("%q: %w", pattern, err)
		}
		return star + d, nil
	}
	for i := range len(domain) {
		if domain[i] >= 0x80 {
			return "", fmt.Errorf("%q is not ASCII; write its A-labels (xn--...)", pattern)
		}
	}
	return star + strings.ToLower(strings.TrimSuffix(domain, ".")), nil
}

// senderForm normalises a sender pattern: domains, and the local-part as the
// keys of f have it.
func (e *Env) senderForm(pattern string, f fold) (string, error) {
	if pattern == "<>" {
		return pattern, nil
	}
	at := strings.LastIndexByte(pattern, '@')
	if at < 0 {
		return "", fmt.Errorf(`%q is no sender; write "a@example.org", "@example.org", "@*.example.org" or "<>"`, pattern)
	}
	local, domain := pattern[:at], pattern[at+1:]
	if local != "" && strings.HasPrefix(domain, "*") {
		return "", fmt.Errorf(`%q has a local-part and a wildcard; write "@%s" or an address`, pattern, domain)
	}
	d, err := e.domainForm(domain)
	if err != nil {
		return "", err
	}
	if local == "" {
		return "@" + d, nil
	}
	key := quoteLocal(unquoteLocal(local)) + "@" + d
	folded := f.sender(key)
	if f.tag && folded != (fold{lower: f.lower}).sender(key) {
		return "", fmt.Errorf("%q has a tag that fold_tag cuts off, so it would never match; write %q", pattern, folded)
	}
	return folded, nil
}

// fold says which spellings of a local-part count as one.
type fold struct{ tag, lower bool }

// sender folds an Address.Key. It allocates only when something changes.
func (f fold) sender(key string) string {
	at := strings.LastIndexByte(key, '@')
	if at <= 0 || !f.tag && !f.lower {
		return key
	}
	local, domain := key[:at], key[at:]
	if f.tag {
		local = cutTag(local)
	}
	if f.lower {
		local = lowerASCII(local)
	}
	if len(local) == at && local == key[:at] {
		return key
	}
	return local + domain
}

// cutTag cuts "+" and what follows; a local-part that begins with "+" stays.
func cutTag(local string) string {
	plus := strings.IndexByte(local, '+')
	if plus < 0 {
		return local
	}
	if local[0] != '"' {
		if plus == 0 {
			return local
		}
		return local[:plus]
	}
	plain := unquoteLocal(local)
	if plus = strings.IndexByte(plain, '+'); plus <= 0 {
		return local
	}
	return quoteLocal(plain[:plus])
}

// lowerASCII lowers A to Z only: U-labels of a local-part have no case rule
// that mail systems agree on.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// unquoteLocal takes the quotes and escapes off a quoted local-part.
func unquoteLocal(local string) string {
	if len(local) < 2 || local[0] != '"' || local[len(local)-1] != '"' {
		return local
	}
	plain := make([]byte, 0, len(local))
	for i := 1; i < len(local)-1; i++ {
		if local[i] == '\\' && i+1 < len(local)-1 {
			i++
		}
		plain = append(plain, local[i])
	}
	return string(plain)
}

// quoteLocal is the canonical form of a local-part, as mail.Address.Key has it:
// a Dot-string where it is one (RFC 5321 s. 4.1.2), else quoted.
func quoteLocal(plain string) string {
	if isDotString(plain) {
		return plain
	}
	quoted := []byte{'"'}
	for i := range len(plain) {
		if c := plain[i]; c == '"' || c == '\\' {
			quoted = append(quoted, '\\')
		}
		quoted = append(quoted, plain[i])
	}
	return string(append(quoted, '"'))
}

func isDotString(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" {
			return false
		}
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c >= 0x80:
		case strings.IndexByte("!#$%&'*+-/=?^_`{|}~.", c) >= 0:
		default:
			return false
		}
	}
	return true
}
