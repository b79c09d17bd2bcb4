package policy

import "postern/mail"

// patterns is a set of sender or recipient patterns with their text.
type patterns struct {
	mail.Patterns
	written []string
}

// add takes one pattern as written; it returns the problem with it, or "".
func (p *patterns) add(s string, parse func(string) (mail.Address, error)) (problem string) {
	one, err := mail.ParsePattern(s, parse)
	switch {
	case err != nil:
		return err.Error()
	case s == string(mail.NullSender):
		return `is the null reverse-path, which null_sender is about; write a pattern such as "news@example.org", "@example.org" or "@*.example.org"`
	}
	p.Add(one)
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
