// Package policy answers whether this client may send this, as this sender, to
// these recipients. Its functions are pure: they work on a compiled rule set that
// never changes, do no I/O, read no clock, and know nothing of SMTP, Redis or DNS.
//
// Three questions come up in the course of a message. Who is it? A peer is a client
// when every condition of one [client.NAME] table holds: its network, its user, its
// certificate ([Rules.Client]). May it send as this sender? The reverse-path must be
// one of those that the client owns ([Rules.Sender]), and the authors that readers
// see in the header must be, too ([Rules.Header]): SMTP itself checks neither, and a
// stranger's name on a message is what spam and fraud live from. May it write to
// this recipient ([Rules.Recipient])?
//
// A refusal is a reply for the client; nil means "go on". [Compile] reports every
// problem of a configuration at once, with the path of its key. What is blank or
// missing never widens access: without a table nobody is a client.
package policy
