// Package provider says which of the large receivers takes mail for a domain.
//
// A receiver such as Google takes mail for millions of domains on the same hosts,
// and counts what comes from one of our addresses over all of them. What its
// domains have in common is the names of their MX hosts, so that a Group is a list
// of such names with what the receiver wants: how many connections, how many
// messages on each, how fast, and over which TLS. Domains that no group claims are
// in the group Other, which wants nothing.
//
// Who owns a domain writes its MX records. He may name Google's hosts there, and
// mail for him then goes to Google and counts as such; nothing else follows from
// it. He cannot give hosts of his own a name of Google's. For that to hold, a name
// or pattern of a group must be one below which nobody but the receiver names
// hosts: an access provider gives such names to its customers' lines, too.
package provider
