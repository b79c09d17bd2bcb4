// Package tlsmin says how old a TLS may be that is spoken with a peer.
//
// RFC 8996 retired TLS 1.0 and 1.1, but scanners and servers are left that know
// nothing newer. Go refuses them, so that such a peer would be told nothing, or
// would fall back to plain text. With an old version come the cipher suites of
// its time.
package tlsmin

import (
	"crypto/tls"
	"strings"

	"postern/internal/text"
)

// Version is the oldest version of TLS that a peer may speak; blank is 1.2.
type Version string

// The versions.
const (
	V10 Version = "1.0" // and old cipher suites, for peers that cannot be mended
	V11 Version = "1.1" // likewise
	V12 Version = "1.2"
	V13 Version = "1.3"
)

// UnmarshalText accepts the four versions; blank is an error.
func (v *Version) UnmarshalText(b []byte) error {
	return text.OneOf(v, b, V10, V11, V12, V13)
}

// MarshalText returns the version.
func (v Version) MarshalText() ([]byte, error) { return []byte(v), nil }

// IsOld reports whether v lets in what RFC 8996 has retired.
func (v Version) IsOld() bool { return v == V10 || v == V11 }

// Limit sets the oldest version in c. With an old one come the cipher suites of
// its time; RC4 stays out (RFC 7465).
func (v Version) Limit(c *tls.Config) {
	c.MinVersion = map[Version]uint16{V10: tls.VersionTLS10, V11: tls.VersionTLS11, V13: tls.VersionTLS13}[v]
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	if !v.IsOld() {
		return
	}
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if !strings.Contains(suite.Name, "RC4") {
			c.CipherSuites = append(c.CipherSuites, suite.ID)
		}
	}
}
