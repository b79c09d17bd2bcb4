package submitter

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Config is the part of a table [client.NAME] that says how the submitter of each
// message is told.
type Config struct {
	// Submitter lists where the client tells which of its own users or scripts has
	// submitted a message, the first place with a name first: "received-auth" is its
	// Received line, "header:NAME" a field, of which "header:NAME PATTERN" takes what
	// the group in parentheses of a regular expression finds, and "xforward" the
	// command XFORWARD, which tells an address and no name. What is told narrows
	// limits and the watch, and grants nothing. Empty: nothing is read. Default empty.
	Submitter []Source `toml:"submitter"`
	// SubmitterBy are the names by which the client calls itself behind "by" in its
	// Received lines, where they are not its EHLO name. Empty: its EHLO name alone.
	// Default empty.
	SubmitterBy []string `toml:"submitter_by"`
	// HideSubmitter takes the fields that submitter names out before the message is
	// signed and leaves. Default true.
	HideSubmitter bool `toml:"hide_submitter"`
}

// Source is one entry of Config.Submitter.
type Source string

// The words of an entry.
const (
	receivedAuth = "received-auth"
	headerPrefix = "header:"
	xforward     = "xforward"
)

// UnmarshalText takes the forms of an entry and nothing else.
func (s *Source) UnmarshalText(b []byte) error {
	v := Source(b)
	if _, err := v.parse(); err != nil {
		return err
	}
	*s = v
	return nil
}

// errSource says what an entry may be.
var errSource = errors.New(`is not a source; write "received-auth", "header:X-AuthUser" or "xforward"`)

// taken are fields that a message needs, or that its readers go by: to take one out
// would change the message.
var taken = []string{"From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Subject", "Date", "Message-ID", "Received",
	"Return-Path", "DKIM-Signature", "Content-Type", "Content-Transfer-Encoding", "MIME-Version"}

func (s Source) parse() (source, error) {
	switch s {
	case receivedAuth:
		return source{kind: fromReceived}, nil
	case xforward:
		return source{kind: fromXForward}, nil
	}
	rest, ok := strings.CutPrefix(string(s), headerPrefix)
	if !ok {
		return source{}, fmt.Errorf("%q %w", string(s), errSource)
	}
	name, pattern, cut := strings.Cut(rest, " ")
	if !isFieldName(name) {
		return source{}, fmt.Errorf(`%q does not name a header field; write as in "header:X-AuthUser"`, string(s))
	}
	for _, t := range taken {
		if strings.EqualFold(t, name) {
			return source{}, fmt.Errorf("%q names a field that every message has of itself; name one that the client adds", string(s))
		}
	}
	if !cut {
		return source{kind: fromHeader, field: name}, nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil || re.NumSubexp() != 1 {
		return source{}, fmt.Errorf(`%q has no regular expression with one group; write as in "header:X-Authenticated-Sender ^[^:]+: (.+)$"`, string(s))
	}
	return source{kind: fromHeader, field: name, pattern: re}, nil
}

func isFieldName(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' })
}

// Check reports every problem of the keys for a client of that name.
func (c *Config) Check(client string, report func(key, problem string)) {
	if len(c.Submitter) > 0 && strings.Contains(client, "/") {
		report("submitter", "needs a client whose name has no slash, which ends it in the names of submitters; rename the table")
	}
	seen := map[string]bool{}
	mailbox := false
	for i, text := range c.Submitter {
		s, err := text.parse()
		if err != nil {
			report(fmt.Sprintf("submitter.%d", i), err.Error())
			continue
		}
		mailbox = mailbox || s.kind == fromReceived
		key := strings.ToLower(string(text))
		if seen[key] {
			report(fmt.Sprintf("submitter.%d", i), "stands there twice; remove one")
		}
		seen[key] = true
	}
	if len(c.SubmitterBy) > 0 && !mailbox {
		report("submitter_by", `says nothing without "received-auth" in submitter; add that or remove this`)
	}
	for i, name := range c.SubmitterBy {
		if strings.TrimSpace(name) == "" || strings.ContainsAny(name, " \t()") {
			report(fmt.Sprintf("submitter_by.%d", i), `is not a host name; write as in "mta.example.org"`)
		}
	}
}

// Tells reports whether any source is configured.
func (c *Config) Tells() bool { return len(c.Submitter) > 0 }

// Names reports whether any source tells mailboxes or scripts, and not only networks.
func (c *Config) Names() bool {
	for _, text := range c.Submitter {
		if text != xforward {
			return true
		}
	}
	return false
}
