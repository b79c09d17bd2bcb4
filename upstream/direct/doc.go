// Package direct carries mail transactions to the recipients' own mail
// exchangers, while the client waits: there is no queue.
//
// Package mx says which addresses a domain has, package upstream speaks to each
// of them; here stands what lies between. A Transaction (transaction.go) is with one domain, and tries
// its addresses in order (search.go) until one takes a session; from then on
// that host's word counts. A refusal is handed through, and no other host is asked in the
// hope of a milder one: greylists would begin anew there. A Fan (fan.go) is what the relay
// uses: it holds a Transaction for each domain, asks them and sends to them at the same time,
// and returns a verdict for each, for different domains may give different verdicts on one message.
package direct
