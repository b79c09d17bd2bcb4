// Package syntax holds the grammars of mail: paths and parameters of SMTP
// commands (RFC 5321, RFC 6531 and their extensions), header fields and the
// authors of From (RFC 5322, RFC 6532, RFC 6854). Only it makes a mail.Address
// from text, so that what was judged is what is sent on. All functions are
// pure, take linear time and bounded memory, and are safe on hostile input.
package syntax

import "errors"

// What can be wrong with an address or a path.
var (
	// errSyntax: not the grammar of RFC 5321 s. 4.1.2 (or RFC 5322 s. 3.4 in a
	// header), which includes controls anywhere, and paths without brackets.
	errSyntax = errors.New("bad address syntax")
	// ErrSourceRoute: "<@a,@b:c@d>". It is never interpreted.
	ErrSourceRoute = errors.New("source route")
	// ErrLiteral: an address literal that is malformed or not wanted here.
	ErrLiteral = errors.New("bad address literal")
	// errNonASCII: an octet above 0x7F without SMTPUTF8.
	errNonASCII = errors.New("address beyond ASCII needs SMTPUTF8")
	// errLength: a local-part over 64 octets in an address that does not fit into a
	// path of 256, a domain over 255 (RFC 5321 s. 4.5.3.1), or a label over 63 (RFC
	// 1035 s. 2.3.4).
	errLength = errors.New("address too long")
	// errDomain: a domain that is not letters, digits and hyphens in labels, or
	// whose A-label or U-label is not valid (RFC 5890).
	errDomain = errors.New("bad domain name")
)

const (
	// leastLocal is the local-part that everybody takes (RFC 5321 s. 4.5.3.1.1), as
	// written, with quotes. It is the least and not the most: SRS and VERP need more.
	leastLocal = 64
	// maxAddress is what a path holds between its brackets (RFC 5321 s. 4.5.3.1.3).
	maxAddress = 254
	maxDomain  = 255 // RFC 5321 s. 4.5.3.1.2
	maxLabel   = 63  // RFC 1035 s. 2.3.4
)
