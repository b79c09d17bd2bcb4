// Package relay says what a mail transaction means: who may send it, to whom and
// how much, what is added and signed, and what the next server says about it.
//
// There is no queue. A client hears 250 for a message only after the upstream has
// said 250 to that very message, so that nothing accepted can be lost, and no
// report of a failed delivery ever has to be written: whoever has the message also
// has the duty to report (RFC 5321 s. 6.1), and that stays the client. What cannot
// be done now is answered with 4yz, and the client comes again.
//
// transaction.go is the path of one message, from MAIL to the last reply, and
// docs/flow.md tells the same in words. Each step asks a package that decides
// (policy, ratelimit, dkimsign, upstream, and through [Hooks] those with a memory);
// nothing is decided here. [Server] puts it behind the engine in relay/smtpd, which
// reads commands and knows nothing about their meaning.
package relay
