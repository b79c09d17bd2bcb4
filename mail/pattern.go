package mail

import (
	"errors"
	"strings"
)

// Pattern names senders or recipients: one address, all of a domain, or all of
// the domains below one. Only ParsePattern makes one.
type Pattern struct {
	sender    Identity    // of one address, or NullSender; else ""
	recipient RecipientID // of the same address
	domain    string      // lower-case A-labels; "" for NullSender
	below     bool        // "@*.domain"
}

var (
	errPattern = errors.New(`is not a pattern of addresses; write one such as "news@example.org", "@example.org" or "@*.example.org"`)
	errStar    = errors.New(`has a "*" that stands for itself alone; write "@example.org" for all of a domain`)
)

// ParsePattern reads "news@example.org" (one address, however it is spelled),
// "@example.org" (that domain), "@*.example.org" (every domain below it, at any
// depth, not itself) or "<>" (the null reverse-path). parse reads
// "local@domain"; nil stands for a parser that knows ASCII only. The error continues a
// sentence that begins with the text: "is not a pattern of addresses; ...".
func ParsePattern(text string, parse func(string) (Address, error)) (Pattern, error) {
	if text == string(NullSender) {
		return Pattern{sender: NullSender}, nil
	}
	domain, whole := strings.CutPrefix(text, "@")
	domain, below := strings.CutPrefix(domain, "*.")
	written := text
	if whole {
		written = "x@" + domain // a domain that an address may have
	}
	a, err := ParseAddress(written, parse)
	switch {
	case err != nil, below && (!whole || strings.HasPrefix(a.Domain, "[")):
		return Pattern{}, errPattern
	case whole:
		return Pattern{domain: a.Domain, below: below}, nil
	case strings.Contains(a.Local, "*") && text[0] != '"':
		// It may stand in an address, but whoever writes it means something else.
		return Pattern{}, errStar
	}
	return Pattern{sender: a.Identity(), recipient: a.RecipientID(), domain: a.Domain}, nil
}

// ParseAddress reads "local@domain" with parse; nil stands for a parser that knows ASCII
// domains only and checks no more of them than that. The error is that of parse.
func ParseAddress(text string, parse func(string) (Address, error)) (Address, error) {
	if parse == nil {
		parse = parseASCII
	}
	return parse(text)
}

// parseASCII reads an address whose domain needs no IDNA.
func parseASCII(s string) (Address, error) {
	at := strings.LastIndexByte(s, '@')
	if at <= 0 || at == len(s)-1 || strings.ContainsAny(s[at:], " \t\r\n\"*<>") || !ASCII(s[at:]) {
		return Address{}, errPattern
	}
	local := unquoteLocal(s[:at])
	if s[0] != '"' && !isDotString(local) {
		return Address{}, errPattern
	}
	return Address{Local: local, Domain: LowerASCII(strings.TrimSuffix(s[at+1:], "."))}, nil
}

// Identity is the one sender that p names, NullSender among them; ok is false
// where it names a domain.
func (p Pattern) Identity() (i Identity, ok bool) { return p.sender, p.sender != "" }

// Domain is the domain of p in lower-case A-labels, also where p names one address, and ""
// for NullSender; below says that p names all domains under it.
func (p Pattern) Domain() (domain string, below bool) { return p.domain, p.below }

// String is the one form of p, however it was spelled: two patterns that name the same
// senders have the same form. ParsePattern reads it, also with a nil parse. For one sender
// it is the identity, with quotes around a local-part that holds "*".
func (p Pattern) String() string {
	at := strings.LastIndexByte(string(p.sender), '@')
	switch {
	case at > 0 && p.sender[0] != '"' && strings.Contains(string(p.sender[:at]), "*"):
		return `"` + string(p.sender[:at]) + `"` + string(p.sender[at:])
	case p.sender != "":
		return string(p.sender)
	case p.below:
		return "@*." + p.domain
	}
	return "@" + p.domain
}

// Patterns is a set of patterns. The zero value is empty and matches nothing.
// It may be read by many goroutines once it is no longer added to.
type Patterns struct {
	senders    map[Identity]bool
	recipients map[RecipientID]bool
	domains    map[string]bool
	below      map[string]bool
}

// Add puts p into the set.
func (s *Patterns) Add(p Pattern) {
	switch {
	case p.sender != "":
		s.senders = put(s.senders, p.sender)
		if p.recipient != "" {
			s.recipients = put(s.recipients, p.recipient)
		}
	case p.below:
		s.below = put(s.below, p.domain)
	default:
		s.domains = put(s.domains, p.domain)
	}
}

func put[K comparable](m map[K]bool, k K) map[K]bool {
	if m == nil {
		m = map[K]bool{}
	}
	m[k] = true
	return m
}

// Empty reports whether nothing was added.
func (s *Patterns) Empty() bool { return len(s.senders)+len(s.domains)+len(s.below) == 0 }

// Names reports whether a sender has a pattern of its own in the set.
func (s *Patterns) Names(i Identity) bool { return s.senders[i] }

// Match reports whether the set names a sender, by itself or with its domain.
func (s *Patterns) Match(i Identity) bool {
	return !s.Empty() && (s.senders[i] || s.MatchDomain(i.Domain()))
}

// MatchSender is Match for an address. The null reverse-path and the bare
// postmaster match nothing but a pattern of their own.
func (s *Patterns) MatchSender(a Address) bool {
	switch {
	case s.MatchDomain(a.Domain):
		return true
	case len(s.senders) == 0:
		return false
	case !isFolded(a.Local) || a.IsNull():
		return s.senders[a.Identity()]
	}
	var room [128]byte // most identities fit, so that no string is made to look one up
	key := append(room[:0], QuoteLocal(a.Local)...)
	if a.Domain != "" {
		key = append(append(key, '@'), a.Domain...)
	}
	return s.senders[Identity(key)]
}

// MatchRecipient reports whether the set surely names a recipient, by its RecipientID or
// with its domain.
func (s *Patterns) MatchRecipient(a Address) bool {
	return s.MatchDomain(a.Domain) || len(s.recipients) > 0 && s.recipients[a.RecipientID()]
}

// MatchDomain reports whether the set names all addresses of a domain, which is in
// lower-case A-labels. No pattern names "".
func (s *Patterns) MatchDomain(domain string) bool {
	if domain == "" {
		return false
	}
	if s.domains[domain] {
		return true
	}
	for len(s.below) > 0 && domain[0] != '[' {
		_, parent, ok := strings.Cut(domain, ".")
		if !ok || parent == "" {
			return false
		}
		if s.below[parent] {
			return true
		}
		domain = parent
	}
	return false
}
