package dkimsign

import (
	"fmt"
	"strings"
	"time"

	"postern/internal/text"
)

// DomainConfig is a table [dkim."example.org"]. It holds for mail whose header
// From is in this domain, and for subdomains that have no table of their own.
type DomainConfig struct {
	// Require makes mail wait (451) when it cannot be signed; false lets it
	// leave unsigned. Default: true.
	Require bool `toml:"require"`
	// Keys make one signature each. At least one is needed.
	Keys []KeyConfig `toml:"keys"`
	// Generate makes missing key files at start, mode 0600, and prints the DNS
	// records to publish. Default: false, a missing file is an error.
	Generate bool `toml:"generate"`
	// Expire is the time from signing after which receivers must not trust the
	// signature (x=); 1h to 365d. Blank: signatures do not expire.
	Expire time.Duration `toml:"expire"`
	// RequirePublished says what to do when no key of the domain has its record
	// in DNS: "warn" signs all the same, "skip" leaves the signatures out,
	// "defer" answers 451. Default: warn. While one key is there, those whose
	// record is missing or holds another key are left out: so a new key can be
	// configured before it is published. DNS that does not answer never counts
	// as missing.
	RequirePublished Published `toml:"require_published"`
}

// KeyConfig is one element of keys.
type KeyConfig struct {
	// Selector is the name under which the record is published, in
	// SELECTOR._domainkey.DOMAIN. No default.
	Selector string `toml:"selector"`
	// File holds the private key in PEM, among other blocks if need be: RSA of
	// 2048 to 4096 bits (PKCS #1 or PKCS #8) or Ed25519 (PKCS #8). Only its owner
	// may read it. No default.
	File string `toml:"file" form:"path"`
	// Type is what generate makes: "rsa" (2048 bits) or "ed25519". A key file
	// that exists tells its type itself. Default: rsa.
	Type KeyType `toml:"type"`
	// AllowWeak lets an RSA key of 1024 to 2047 bits sign, for one that is
	// published already: RFC 8301 s. 3.2 asks for 2048. Each load warns of it.
	// Default: false, such a key is an error.
	AllowWeak bool `toml:"allow_weak"`
}

// SetDefaults fills c with the documented defaults.
func (c *DomainConfig) SetDefaults() {
	c.Require = true
	c.RequirePublished = Warn
}

// Check reports every problem of the table, apart from those of its keys. That
// the key files can be read is for Load.
func (c *DomainConfig) Check(report func(key, problem string)) {
	if len(c.Keys) == 0 {
		report("keys", `is empty; write as in keys = [{ selector = "s2026", file = "keys/s2026.pem" }]`)
	}
	if c.Expire != 0 && (c.Expire < time.Hour || c.Expire > 365*24*time.Hour) {
		report("expire", "is not between 1h and 365d; leave it out for signatures that do not expire")
	}
	seen := map[string]bool{}
	for i, k := range c.Keys {
		if s := strings.ToLower(k.Selector); s != "" && seen[s] {
			report(fmt.Sprintf("keys.%d.selector", i), fmt.Sprintf("repeats %q; each key of a domain needs a selector of its own", k.Selector))
		}
		seen[strings.ToLower(k.Selector)] = true
	}
}

// SetDefaults fills c with the documented defaults.
func (c *KeyConfig) SetDefaults() { c.Type = RSA }

// Check reports every problem of one key.
func (c *KeyConfig) Check(report func(key, problem string)) {
	if !isHostName(c.Selector) {
		report("selector", `is not a DNS name; use letters, digits and hyphens, as in "s2026"`)
	}
	if c.File == "" {
		report("file", "is missing; write the path of the private key")
	}
}

// CheckDomain returns what is wrong with the name of a [dkim] table, or "".
func CheckDomain(name string) string {
	switch {
	case name != strings.ToLower(name):
		return fmt.Sprintf("has capitals; write %q", strings.ToLower(name))
	case !isHostName(name) || !strings.Contains(name, "."):
		return `is not a domain in ASCII; write it as in DNS ("example.org", "xn--bcher-kva.example")`
	}
	return ""
}

// Published is what an unpublished key leads to.
type Published string

// Values of Published; the zero value counts as Warn.
const (
	Warn  Published = "warn"
	Skip  Published = "skip"
	Defer Published = "defer"
)

// UnmarshalText takes the three values of Published.
func (p *Published) UnmarshalText(b []byte) error {
	return text.OneOf(p, b, Warn, Skip, Defer)
}

// MarshalText is the inverse of UnmarshalText.
func (p Published) MarshalText() ([]byte, error) { return []byte(p), nil }

// KeyType is a kind of key.
type KeyType string

// Values of KeyType.
const (
	RSA     KeyType = "rsa"
	Ed25519 KeyType = "ed25519"
)

// UnmarshalText takes the two values of KeyType.
func (t *KeyType) UnmarshalText(text []byte) error {
	switch v := KeyType(text); v {
	case RSA, Ed25519:
		*t = v
		return nil
	}
	return fmt.Errorf(`%q is none of "rsa", "ed25519"`, text)
}

// MarshalText is the inverse of UnmarshalText.
func (t KeyType) MarshalText() ([]byte, error) { return []byte(t), nil }

// isHostName reports whether s is a name of letters, digits, hyphens and
// underscores in labels of at most 63 octets, 253 in all.
func isHostName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i] | 0x20; (c < 'a' || c > 'z') && (label[i] < '0' || label[i] > '9') && label[i] != '-' && label[i] != '_' {
				return false
			}
		}
	}
	return true
}

// CheckName returns what is wrong with a domain and selector given by hand, or
// "".
func CheckName(domain, selector string) string {
	if problem := CheckDomain(domain); problem != "" {
		return fmt.Sprintf("domain %q %s", domain, problem)
	}
	if !isHostName(selector) {
		return fmt.Sprintf(`selector %q is not a DNS name; use letters, digits and hyphens, as in "s2026"`, selector)
	}
	return ""
}
