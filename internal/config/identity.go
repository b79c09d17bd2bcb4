package config

import (
	"fmt"
	"maps"
	"slices"

	"postern/internal/syntax"
	"postern/mail"
	"postern/outlier"
)

// identities finds tables that are about the same user or sender under two
// spellings, and says so at both places.
func (x *crossCheck) identities() {
	x.users = make(map[string]bool, len(x.User))
	for name := range x.User {
		x.users[syntax.User(name)] = true
	}
	twice(x.names["user"], syntax.User, func(name, other string) {
		x.userProblem(name, fmt.Sprintf("is the same user as [%s]; keep one", join("user", other)))
	})
	x.d.outlierSenders(&x.Outlier)
}

// outlierSenders checks the sender patterns of [outlier] and the names of its
// sender tables.
func (d *decoder) outlierSenders(c *outlier.Config) {
	if c.FalseAlarms > 0 && d.src.has("outlier.sensitivity") {
		d.problem("outlier.sensitivity", "stands beside false_alarms, by which the relay finds it; leave one of them out")
	}
	for i, s := range c.ExemptSenders {
		if p, err := mail.ParsePattern(s, ParseAddress); err != nil {
			d.problem(fmt.Sprintf("outlier.exempt_senders.%d", i), fmt.Sprintf("%q %v", s, err))
		} else if id, _ := p.Identity(); id == mail.NullSender {
			d.problem(fmt.Sprintf("outlier.exempt_senders.%d", i), "the null reverse-path is no sender of the watch; leave it out")
		}
	}
	senders := sortedKeys(c.Sender)
	for _, s := range senders {
		if senderOf(s) == "" {
			d.problem(join("outlier.sender", s), `is not a sender; write one address, as "news@example.org"`)
		}
	}
	twice(senders, senderOf, func(s, other string) {
		d.problem(join("outlier.sender", s), fmt.Sprintf("is the same sender as [%s]; keep one", join("outlier.sender", other)))
	})
}

// senderOf is the identity of the one sender that a text names; "" when it names
// none or several.
func senderOf(text string) string {
	p, err := mail.ParsePattern(text, ParseAddress)
	if id, ok := p.Identity(); err == nil && ok && id != mail.NullSender {
		return string(id)
	}
	return ""
}

// twice calls report for both of each two names that are one; one of "" is not
// judged.
func twice(names []string, one func(string) string, report func(name, other string)) {
	first := map[string]string{}
	for _, name := range names {
		id := one(name)
		other, again := first[id]
		switch {
		case id == "":
		case again:
			report(name, other)
			report(other, name)
		default:
			first[id] = name
		}
	}
}

// fold puts the one form of users and senders in the place of what is written,
// in a file without problems.
func (f *File) fold() {
	f.User = foldKeys(f.User, syntax.User)
	f.Client = maps.Clone(f.Client)
	for name, c := range f.Client {
		c.Users = slices.Clone(c.Users)
		for i, u := range c.Users {
			c.Users[i] = syntax.User(u)
		}
		f.Client[name] = c
	}
	foldOutlier(&f.Outlier)
}

// foldOutlier gives package outlier, which knows no IDNA, patterns in their one
// form.
func foldOutlier(c *outlier.Config) {
	c.ExemptSenders = slices.Clone(c.ExemptSenders)
	for i, s := range c.ExemptSenders {
		if p, err := mail.ParsePattern(s, ParseAddress); err == nil {
			c.ExemptSenders[i] = p.String()
		}
	}
	c.InternalDomains = slices.Clone(c.InternalDomains)
	for i, d := range c.InternalDomains {
		if p, err := mail.ParsePattern("@"+d, ParseAddress); err == nil {
			c.InternalDomains[i] = p.String()[1:]
		}
	}
	c.Sender = foldKeys(c.Sender, senderOf)
}

func foldKeys[T any](m map[string]T, fold func(string) string) map[string]T {
	if m == nil {
		return nil
	}
	folded := make(map[string]T, len(m))
	for name, v := range m {
		folded[fold(name)] = v
	}
	return folded
}
