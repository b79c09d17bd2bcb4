package upstream

import (
	"crypto/tls"
	"fmt"
	"strings"
)

// TLSVersion is the oldest version of TLS that a host may speak; blank is 1.2.
type TLSVersion string

// The versions.
const (
	TLS10 TLSVersion = "1.0" // and old cipher suites, for hosts that cannot be mended
	TLS11 TLSVersion = "1.1" // likewise
	TLS12 TLSVersion = "1.2"
	TLS13 TLSVersion = "1.3"
)

// UnmarshalText accepts the four versions; blank is an error.
func (v *TLSVersion) UnmarshalText(b []byte) error {
	switch t := TLSVersion(b); t {
	case TLS10, TLS11, TLS12, TLS13:
		*v = t
		return nil
	}
	return fmt.Errorf("%q is not one of 1.0, 1.1, 1.2, 1.3", b)
}

// MarshalText returns the version.
func (v TLSVersion) MarshalText() ([]byte, error) { return []byte(v), nil }

// IsOld reports whether v lets in what RFC 8996 has retired.
func (v TLSVersion) IsOld() bool { return v == TLS10 || v == TLS11 }

// limit sets the oldest version in c. With an old one come the cipher suites of
// its time; RC4 stays out (RFC 7465).
func (v TLSVersion) limit(c *tls.Config) {
	c.MinVersion = map[TLSVersion]uint16{TLS10: tls.VersionTLS10, TLS11: tls.VersionTLS11, TLS13: tls.VersionTLS13}[v]
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
