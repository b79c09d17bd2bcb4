// Package identity checks what DNS says of those who send: what a receiver sees
// when our mail arrives, before it does.
//
// A receiver asks in this order. PTR: does the address have a name, and does that
// name lead back to the address (RFC 8601 s. 2.7.3)? EHLO: is the name we greet
// with a full one that resolves to us? SPF (RFC 7208): does the domain of the
// reverse-path let this address send? DKIM (RFC 6376): is the key published with
// which we sign? DMARC (RFC 9989): does the domain of the header From align with
// one of these, and what is to be done when it does not? MX: can a reply come back?
//
// Each check ends in a Finding: pass, warn, fail or unknown, with what was asked,
// what was seen, what to change and, where a record mends it, that record, which is
// first checked against the same rules. Trouble of DNS is always unknown, never fail.
package identity
