package links

import (
	"fmt"
	"time"

	"postern/internal/resolve"
)

// Config is the table [links]. Without zones and files no message is looked into.
type Config struct {
	// Zones are domain lists that are asked by DNS, such as "dbl.example". Codes,
	// what to ignore, the key and the controls are those of [reputation.dnsbl."ZONE"]
	// where there is such a table. Blank: none.
	Zones []string `toml:"zones"`
	// Files hold one host a line, as an address of a page or as in a hosts file, too;
	// ".example.net" is a domain with all below it. They are read again when they
	// change. Blank: none.
	Files []string `toml:"files" form:"path"`
	// Skip are domains that are left out, with all below them, besides
	// internal_domains and the domains of clients' senders. Blank: none.
	Skip []string `toml:"skip"`
	// Mode is "shadow": note what is listed and refuse nothing, or "enforce".
	// Default: "shadow".
	Mode Mode `toml:"mode"`
	// Timeout is for all questions about a message; what is not known then is a
	// fault, and the message goes on. 50ms to 10s. Default: 500ms.
	Timeout time.Duration `toml:"timeout"`
}

// SetDefaults fills in what the documentation promises.
func (c *Config) SetDefaults() { *c = Config{Mode: Shadow, Timeout: 500 * time.Millisecond} }

// Check reports every problem of the table.
func (c *Config) Check(report func(key, problem string)) {
	for i, z := range c.Zones {
		if !resolve.IsHostName(z) {
			report(fmt.Sprintf("zones.%d", i), fmt.Sprintf("%q is not the name of a zone", z))
		}
	}
	for i, s := range c.Skip {
		if hostOf(s) == "" {
			report(fmt.Sprintf("skip.%d", i), fmt.Sprintf(`%q is not a domain; write one such as "example.org"`, s))
		}
	}
	if c.Timeout < 50*time.Millisecond || c.Timeout > 10*time.Second {
		report("timeout", fmt.Sprintf("%v is out of range; write 50ms to 10s", c.Timeout))
	}
}

// Mode says whether a listed host refuses its message.
type Mode string

// The modes.
const (
	Shadow  Mode = "shadow"
	Enforce Mode = "enforce"
)

// UnmarshalText accepts the two names; blank is an error.
func (m *Mode) UnmarshalText(b []byte) error {
	switch v := Mode(b); v {
	case Shadow, Enforce:
		*m = v
		return nil
	}
	return fmt.Errorf("%q is unknown; write one of enforce, shadow", b)
}
