// Package smtpd is the server's end of SMTP connections (RFC 5321): it takes octets
// in, finds commands and messages in them, and gives replies.
//
// SMTP is a dialog of lines that end in CR LF. What makes it hard is that a client
// may send several commands at once (pipelining, RFC 2920), that a message follows
// its command on the same connection, and that servers before and behind must agree
// where each line and each message ends: where two of them differ, one client's
// message holds another's commands. So this engine knows one end of a line, CR LF,
// and one end of a message, CR LF . CR LF, and closes a connection on which it can
// no longer tell. docs/engine.md says, row by row, why it is our own.
//
// The engine sees to listeners and their caps, PROXY headers, TLS, AUTH, XCLIENT, the
// order of commands, chunks, deadlines, and what a peer may try. It does not know
// what a message means. For that it hands MAIL to Options.Begin, and whatever comes
// then to the five methods of a [Transaction], which sees of its connection what
// [Conn] shows: who the peer is, and whether that still holds.
package smtpd
