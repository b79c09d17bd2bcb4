package policy

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"postern/mail"
)

const (
	// userWord in a pattern of senders stands for the authenticated user.
	userWord = "{user}"
	// AnyUser among the users of a client stands for everyone who has
	// authenticated and is not another client's user by name.
	AnyUser = "*"
)

// selves are the patterns of senders that depend on who has authenticated.
type selves struct {
	address bool            // "{user}": users whose names are addresses
	domains map[string]bool // "{user}@domain"
	written []string
}

func (s *selves) empty() bool { return len(s.written) == 0 }

// add takes "{user}" or "{user}@domain"; it returns the problem, or "".
func (s *selves) add(text string, parse func(string) (mail.Address, error)) (problem string) {
	domain, ok := strings.CutPrefix(text, userWord+"@")
	switch {
	case text == userWord:
		s.address = true
	case !ok || strings.Contains(domain, "*"):
		return `is not a pattern of users' own addresses; write "{user}" where names of users are addresses, or "{user}@example.org"`
	default:
		p, err := mail.ParsePattern("@"+domain, parse)
		if err != nil {
			return `is not a pattern of users' own addresses; write it as "{user}@example.org"`
		}
		name, _ := p.Domain()
		s.domains = put(s.domains, name)
	}
	s.written = append(s.written, text)
	return ""
}

// own reports whether a is the user's own address. The user has the form that
// mail.User gives; nobody is "".
func (s *selves) own(user string, a mail.Address) bool {
	switch {
	case user == "" || a.Domain == "":
		return false
	case s.address && strings.Contains(user, "@") && mail.Identity(user) == a.Identity():
		return true
	}
	return s.domains[a.Domain] && a.Identity() == mail.Address{Local: user, Domain: a.Domain}.Identity()
}

// senderPatterns reads senders: what the client owns, and what each of its
// users owns.
func (b *builder) senderPatterns(path string, c *Client) {
	for i, text := range c.cfg.Senders {
		add := c.senders.add
		if strings.Contains(text, userWord) {
			add = c.selves.add
		}
		if problem := add(text, b.parse); problem != "" {
			b.problem(at(path, i), fmt.Sprintf("%q %s", text, problem))
		}
	}
	if !c.selves.empty() && len(c.cfg.Users) == 0 {
		b.problem(path, `names {user}, but nobody of this client authenticates; write users = ["*"] or name them`)
	}
}

// of is c for one authenticated user, whose own addresses it then owns, too.
func (c *Client) of(user string) *Client {
	if c.selves.empty() {
		return c
	}
	own := *c
	own.user = user
	return &own
}

// Owns reports whether a is one of the client's senders, or where senders holds "{user}" an
// address of its user. Nobody owns the null address.
func (c *Client) Owns(a mail.Address) bool {
	return c.senders.MatchSender(a) || !c.selves.empty() && c.selves.own(c.user, a)
}

// named reports whether exactly this address has a pattern.
func (c *Client) named(a mail.Address) bool {
	return c.senders.Names(a.Identity()) || !c.selves.empty() && c.selves.own(c.user, a)
}

// Widest yields the patterns that hold all senders that any user of c can own,
// each with its place in Senders: "{user}@example.org" becomes "@example.org",
// and "{user}" the names of users that are addresses. users gives those that
// the configuration knows; it is asked only for a client that is any user.
func (c *ClientConfig) Widest(users func() []string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for i, text := range c.Senders {
			for _, pattern := range c.widest(text, users) {
				if !yield(i, pattern) {
					return
				}
			}
		}
	}
}

func (c *ClientConfig) widest(text string, users func() []string) (patterns []string) {
	switch domain, ok := strings.CutPrefix(text, userWord); {
	case !ok:
		return []string{text}
	case domain != "":
		return []string{domain}
	}
	names := c.Users
	if slices.Contains(names, AnyUser) {
		names = users()
	}
	for _, name := range names {
		if at := strings.LastIndexByte(name, '@'); at > 0 && at < len(name)-1 {
			patterns = append(patterns, name)
		}
	}
	return patterns
}

// words say for people whom the patterns own.
func (s *selves) words() (all []string) {
	for _, text := range s.written {
		if _, domain, ok := strings.Cut(text, "@"); ok {
			all = append(all, "each user as NAME@"+domain)
		} else {
			all = append(all, "each user as the address that is the user's name")
		}
	}
	return all
}
