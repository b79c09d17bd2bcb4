package ratelimit

import (
	"fmt"
	"strings"

	"postern/mail"
)

// domain reads the pattern of a domain, "example.org" or "*.example.org".
func (e *Env) domain(text string) (mail.Pattern, error) {
	if strings.Contains(text, "@") {
		return mail.Pattern{}, errDomain(text)
	}
	p, err := mail.ParsePattern("@"+text, e.Parse)
	if err != nil {
		return mail.Pattern{}, errDomain(text)
	}
	return p, nil
}

func errDomain(text string) error {
	return fmt.Errorf(`%q is not a domain; write "example.org" or "*.example.org"`, text)
}

// sender reads a sender pattern of a limit; tag says that fold_tag is set.
func (e *Env) sender(text string, tag bool) (mail.Pattern, error) {
	p, err := mail.ParsePattern(text, e.Parse)
	if err != nil {
		return p, fmt.Errorf(`%q %w, or as "<>"`, text, err)
	}
	if id, one := p.Identity(); one && tag && id.Untagged() != id {
		return p, fmt.Errorf("%q has a tag that fold_tag cuts off, so it would never match; write %q", text, id.Untagged())
	}
	return p, nil
}

// identity is who a sender is that an operator has written.
func (e *Env) identity(sender mail.Identity) mail.Identity {
	p, err := mail.ParsePattern(string(sender), e.Parse)
	if id, one := p.Identity(); err == nil && one {
		return id
	} else if err == nil {
		return mail.Identity(p.String())
	}
	return mail.IdentityOf(string(sender))
}

// domainName is a domain as keys have it, that an operator has written.
func (e *Env) domainName(text string) string {
	p, err := e.domain(text)
	if domain, below := p.Domain(); err == nil && !below {
		return domain
	}
	return text
}

// CanonicalKey replaces other spellings of senders and users, such as those in keys of an
// older version or from an operator, by the identity of the sender and the one form of the
// user. A text that is not a key stays as it is.
func CanonicalKey(key string) string {
	if !strings.Contains(key, "sender=") && !strings.Contains(key, "user=") {
		return key
	}
	parts, ok := parseKey(key)
	if !ok {
		return key
	}
	var b []byte
	for _, p := range parts {
		switch p.d {
		case PerSender:
			p.value = string(mail.IdentityOf(p.value))
		case PerUser:
			p.value = mail.User(p.value, nil)
		}
		b = appendPart(b, 0, p.d, p.value)
	}
	if string(b) == key {
		return key
	}
	return string(b)
}

// canonicalKey is the key that a limit counts on where an operator writes key.
func (rs *Limits) canonicalKey(limit, key string) string {
	parts, ok := parseKey(key)
	r := rs.rule(limit)
	if !ok || r == nil {
		return key
	}
	var b []byte
	for _, p := range parts {
		switch p.d {
		case PerSender:
			p.value = string(r.sender(rs.env.identity(mail.Identity(p.value))))
		case PerUser:
			p.value = mail.User(p.value, rs.env.Parse)
		case PerSenderDomain, PerRecipientDomain:
			p.value = rs.env.domainName(p.value)
		}
		b = appendPart(b, 0, p.d, p.value)
	}
	return string(b)
}

// CanonicalAllowances returns temporary overrides under their CanonicalKeys; where two of
// them then are for the same window, the larger one stays.
func CanonicalAllowances(allowances []Allowance) []Allowance {
	type window struct {
		limit, key string
		unit       Unit
		length     int64
	}
	at := map[window]int{}
	all := make([]Allowance, 0, len(allowances))
	for _, r := range allowances {
		r.Key = CanonicalKey(r.Key)
		w := window{r.Limit, r.Key, r.Unit, int64(r.Window)}
		i, again := at[w]
		switch {
		case !again:
			at[w] = len(all)
			all = append(all, r)
		case r.Add > all[i].Add:
			all[i] = r
		}
	}
	return all
}
