// Package policy answers whether this client may send this, as this sender, to
// these recipients: pure functions on a compiled rule set that never changes.
// It does no I/O, reads no clock and knows nothing of SMTP, Redis or DNS.
package policy
