// Package bygroup remembers what the hosts of a group of receivers, such as Google's,
// have said of us, and how long the mail of a stream to the group waits for it.
//
// A large receiver takes mail for millions of domains. When it wants less of our
// address, it says so to whoever of us comes next: to wait for one domain alone would
// mean to learn it anew from each of them. But what is said in the name of one domain
// may be that domain's own doing. So the place where it is said decides. In place of
// the greeting, or to EHLO or MAIL, no recipient has been named: that concerns the
// group. What is said to RCPT or to the message concerns that recipient's domain, which
// package reputation sees to, until three unrelated domains of the group have said the
// same, to mail of two clients, or of the one that the stream has.
//
// It touches no other stream, no other group and nobody's account. A wait ends by
// trial: of each client one message in five minutes goes through, and when a host of
// the group takes it, all of them go on.
package bygroup
