// Package resolve asks DNS questions and says what the answers mean.
//
// A question is a name and a type. Four things can come of it, and they are kept
// apart here since each leads elsewhere: there are such records (Found), the name
// exists without such records (NoData), the name does not exist (NoName, which is
// NXDOMAIN), or nothing is known (Fault). SERVFAIL, REFUSED, a time-out, a lame
// server, an answer to another question and a circle of CNAMEs are faults: none of
// them says that a record is missing, and nobody may be refused for one.
//
// Answers are kept as long as their TTL says, within bounds (RFC 2181 s. 8, RFC
// 2308); a truncated answer is asked for again over TCP; of many askers of one
// question only one reaches the wire. A resolver that puts addresses of its own in
// place of NXDOMAIN is noticed, and such answers become faults.
package resolve
