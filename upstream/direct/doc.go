// Package direct carries mail transactions to the recipients' own mail
// exchangers, while the client waits: there is no queue.
//
// Package mx says which addresses a domain has, package upstream speaks to each
// of them; here stands what lies between. One transaction is with one domain, for
// different domains may give different verdicts on one message, and SMTP has room
// for one: recipients of a further domain are told to come in a transaction of
// their own. Addresses are tried in order until one takes a session; from then on
// its word counts. A refusal is handed through, and no other host is asked in the
// hope of a milder one: greylists would begin anew there.
package direct
