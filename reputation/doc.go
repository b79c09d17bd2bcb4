// Package reputation answers whether our addresses and domains are listed, and
// who caused it. Nothing on the mail path waits for it.
//
// A Monitor gathers three kinds of evidence: what blocklists say (package dnsbl),
// what receivers say in their refusals, and what DNS says of us (package identity).
// A listing report names the target, the evidence and the senders whose mail
// changed before it (History). Suppressions keep recipients that do not exist,
// Backoff the waits that receivers asked for.
package reputation
