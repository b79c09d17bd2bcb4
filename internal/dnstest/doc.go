// Package dnstest runs name servers for tests on loopback: Knot, Unbound and
// rbldnsd from Debian, and one of our own that misbehaves as the name asked for
// says.
package dnstest
