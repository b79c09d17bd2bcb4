// Package profile knows what providers of outgoing mail want of those who send
// through them: hosts, TLS, limits, signatures and what else is peculiar to them.
//
// A provider that refuses two signatures, or puts a Message-ID of its own in place
// of one that was signed, says so on a page that nobody reads before the first
// mail is lost. Each Profile is what such pages say, with their addresses, as
// defaults for an [upstream.NAME]; whatever is written there overrides it.
package profile

import (
	"fmt"
	"slices"
	"strings"
)

// Profile is one provider. Zero values say nothing, so that the usual defaults hold.
type Profile struct {
	Name  string // as in profile = "ses"
	Title string // for people

	// Hosts as in the configuration. Empty: the operator has to choose, as
	// WhichHost says.
	Hosts     []string
	WhichHost string
	// Under are the names of all hosts of the provider: "smtp.sendgrid.net", or
	// "email-smtp.*.amazonaws.com" with any one label in place of "*".
	Under []string

	TLS      string // policy
	TLSMin   string
	Username string // where it is the same for everybody
	Login    bool   // it takes mail only of who logs in

	MaxConnections        int // at one time
	MessagesPerConnection int
	MaxRecipients         int // of a message

	SignKeys         []string // as the key sign_keys
	OneSignature     bool     // it refuses a second DKIM-Signature field
	UnsignedFields   []string // header fields that it replaces
	ClientSignatures string   // as the key client_signatures

	Quirks  []string // what else to know, a sentence each
	Sources []string // pages, reports
}

// Find returns the profile of that name. The error for an unknown name lists all names.
func Find(name string) (*Profile, error) {
	for i := range all {
		if all[i].Name == name {
			return &all[i], nil
		}
	}
	return nil, fmt.Errorf("%q is not a provider that is known; write one of %s, or leave it out", name, strings.Join(names(), ", "))
}

// names are those of all profiles, in order.
func names() []string {
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	slices.Sort(names)
	return names
}

// OfHost returns the profile of the provider that a host, a name with or without
// a port, belongs to; nil for others.
func OfHost(host string) *Profile {
	name, _, _ := strings.Cut(strings.ToLower(host), ":")
	name = strings.TrimSuffix(name, ".")
	for i := range all {
		if slices.ContainsFunc(all[i].Under, func(pattern string) bool { return under(name, pattern) }) {
			return &all[i]
		}
	}
	return nil
}

func under(name, pattern string) bool {
	before, after, star := strings.Cut(pattern, "*")
	if !star {
		return name == pattern
	}
	label, ok := strings.CutPrefix(name, before)
	label, ok2 := strings.CutSuffix(label, after)
	return ok && ok2 && label != "" && !strings.Contains(label, ".")
}
