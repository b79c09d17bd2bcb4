// Package dnsbl asks DNS blocklists whether an address or a domain is listed.
//
// A blocklist is a DNS zone (RFC 5782). To ask about 192.0.2.1, its octets are
// turned round and looked up below the zone: 1.2.0.192.zen.example; a domain is
// put in front of it as it stands. NXDOMAIN means that it is not listed. An
// address in 127.0.0.0/8 means that it is, and says why: the zone's own page gives
// the meaning of each code. All other answers say nothing: 127.255.255.x is how a
// zone refuses to answer, often because the question came through a public
// resolver, and an address outside 127.0.0.0/8 is a parked zone.
//
// A zone that lists everything, or nothing, is as bad as none. So each poll first
// asks about two controls, one that every zone must hold (127.0.0.2) and one that
// none may (127.0.0.1); a zone that fails them is not believed. A listing begins
// or ends when two polls in a row say so.
package dnsbl
