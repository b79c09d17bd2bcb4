package policy

import (
	"strings"

	"postern/mail"
)

// patterns is a set of "user@example.org", "@example.org" (that domain) and
// "@*.example.org" (every domain below it, at any depth, not itself).
//
// The case of ASCII letters in the local-part does not count. RFC 5321 s. 2.4
// lets a domain tell News@ from news@, but none gives the two to different
// people, and a rule against news@ must hold against News@. Letters beyond
// ASCII are compared as they are: folding them has surprises, such as the
// Kelvin sign becoming k.
type patterns struct {
	written []string
	boxes   map[mailbox]bool
	domains map[string]bool
	below   map[string]bool
}

type mailbox struct{ local, domain string }

func (p *patterns) empty() bool { return len(p.written) == 0 }

// match reports whether a fits one of the patterns. The null address and the
// bare postmaster fit none.
func (p *patterns) match(a mail.Address) bool {
	if p.empty() || a.Domain == "" {
		return false
	}
	return p.domains[a.Domain] || p.matchBox(a) || p.matchBelow(a.Domain)
}

// matchBox reports whether a is written as a pattern of its own.
func (p *patterns) matchBox(a mail.Address) bool {
	return p.boxes[mailbox{lower(a.Local), a.Domain}]
}

func (p *patterns) matchBelow(domain string) bool {
	for len(p.below) > 0 {
		_, parent, ok := strings.Cut(domain, ".")
		if !ok {
			return false
		}
		if p.below[parent] {
			return true
		}
		domain = parent
	}
	return false
}

// add takes one pattern as written; it returns the problem with it, or "".
func (p *patterns) add(s string, parse func(string) (mail.Address, error)) (problem string) {
	domain, whole := strings.CutPrefix(s, "@")
	domain, below := strings.CutPrefix(domain, "*.")
	text := s
	if whole {
		text = "x@" + domain // a domain that an address may have
	}
	a, err := parse(text)
	if err != nil || below && (!whole || strings.HasPrefix(domain, "[")) {
		return `is no pattern of addresses; write as "news@example.org", "@example.org" or "@*.example.org"`
	}
	if !whole && strings.Contains(a.Local, "*") && s[0] != '"' {
		// It may stand in an address, but whoever writes it means something else.
		return `has a "*" that stands for itself alone; write "@example.org" for all of a domain`
	}
	switch {
	case below:
		p.below = put(p.below, a.Domain)
	case whole:
		p.domains = put(p.domains, a.Domain)
	default:
		p.boxes = put(p.boxes, mailbox{lower(a.Local), a.Domain})
	}
	p.written = append(p.written, s)
	return ""
}

func put[K comparable](m map[K]bool, k K) map[K]bool {
	if m == nil {
		m = map[K]bool{}
	}
	m[k] = true
	return m
}

// lower folds ASCII only, and allocates only where there is upper case.
func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			return strings.Map(lowerRune, s)
		}
	}
	return s
}

func lowerRune(r rune) rune {
	if r >= 'A' && r <= 'Z' {
		r += 'a' - 'A'
	}
	return r
}
