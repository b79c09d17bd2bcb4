package scan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/text"
)

// Config is one [scanner.NAME]: whom to ask, about which mail, and what its
// answers do. Exactly one of Rspamd, Clamd, ICAP and Milter is set.
type Config struct {
	// Rspamd is the address of a normal worker, such as "http://127.0.0.1:11333".
	Rspamd string `toml:"rspamd"`
	// Clamd is "unix:/run/clamav/clamd.ctl" or "tcp:127.0.0.1:3310".
	Clamd string `toml:"clamd"`
	// ICAP is the address of a service, such as "icap://127.0.0.1:1344/avscan".
	ICAP string `toml:"icap"`
	// Milter is "inet:127.0.0.1:8891" or "unix:/run/milter.sock".
	Milter string `toml:"milter"`
	// Plain allows an address that is not loopback without TLS: whoever is on the
	// way reads all mail. Default: false.
	Plain bool `toml:"plain"`

	// Clients and Streams whose mail it sees. Blank: all.
	Clients []string `toml:"clients"`
	Streams []string `toml:"streams"`

	// Timeout bounds the whole scan of a message, waiting for a place and connecting
	// included; over 0s, at most 120s. Default: 20s.
	Timeout time.Duration `toml:"timeout"`
	// MaxSize of a message that the scanner is sent, in octets; at least 1. Default: 25MiB.
	MaxSize int64 `toml:"max_size" form:"size"`
	// TooLarge is what happens to a larger message: "pass" or "refuse". Default:
	// "pass"; its event then says that it left unscanned.
	TooLarge Choice `toml:"too_large"`
	// OnFailure is what happens when it gives no verdict: "defer" (451) or "pass",
	// with which each message that leaves unscanned is counted. Default: "defer".
	OnFailure Choice `toml:"on_failure"`
	// Suspicious says what happens to mail that rspamd would mark: "pass", "defer" or
	// "refuse". Default: "pass".
	Suspicious Choice `toml:"suspicious"`
	// Encrypted says what happens to encrypted archives and documents: "pass" or "refuse".
	// Default: "pass".
	Encrypted Choice `toml:"encrypted"`
	// Macros says what happens to documents with macros: "pass" or "refuse". Default:
	// "pass".
	Macros Choice `toml:"macros"`
	// Unscannable is mail that it says it could not look into: "pass" or
	// "refuse". Default: "refuse".
	Unscannable Choice `toml:"unscannable"`
	// Mode is "enforce" or "shadow": ask, count, refuse nothing and wait for
	// nothing. Default: "enforce".
	Mode Mode `toml:"mode"`
	// Concurrency is how many messages the scanner is asked about at one time, 1 to 1000;
	// one client has at most three quarters of them. Default: 8.
	Concurrency int `toml:"concurrency"`

	// RequireSymbols must all stand in rspamd's answer for it to mean clean, such
	// as one that the site's rules set once its virus scan has run. Blank: none.
	RequireSymbols []string `toml:"require_symbols"`
	// SettingsID names the settings of rspamd for this mail. Blank: none.
	SettingsID string `toml:"settings_id"`
	// AcceptHeaders are the names of header fields that a milter may add. Blank:
	// none are added.
	AcceptHeaders []string `toml:"accept_headers"`

	// Canary is how often the scanner must find a harmless test message; 1s to 1h, or "0s"
	// for never, and its yes is then not proven. Default: 1m.
	Canary time.Duration `toml:"canary"`
	// CanaryFinds is what a milter or an ICAP service must refuse: "gtube", "eicar", or a
	// text of its own rules. Blank: "eicar" for ICAP; a milter then only has to answer, so
	// that its yes is not proven.
	CanaryFinds string `toml:"canary_finds"`
}

// SetDefaults fills in what the documentation promises.
func (c *Config) SetDefaults() {
	*c = Config{
		Timeout: 20 * time.Second, MaxSize: 25 << 20, TooLarge: Pass, OnFailure: Defer, Suspicious: Pass,
		Encrypted: Pass, Macros: Pass, Unscannable: Refuse, Mode: Enforce, Concurrency: 8, Canary: time.Minute,
	}
}

// MaxTimeout is the longest Config.Timeout: RFC 5321 s. 4.5.3.2.6 has a client wait 10
// minutes for the reply to the final dot.
const MaxTimeout = 120 * time.Second

// Check reports every problem of the table.
func (c *Config) Check(report func(key, problem string)) {
	key, n := c.kind()
	switch {
	case n == 0:
		report("", `has no address; write one of rspamd, clamd, icap and milter, such as clamd = "unix:/run/clamav/clamd.ctl"`)
	case n > 1:
		report(key, "is a second kind in one table; make a table [scanner.NAME] for each")
	default:
		c.checkAddress(report, key)
	}
	if c.Timeout <= 0 || c.Timeout > MaxTimeout {
		report("timeout", fmt.Sprintf("%s is out of range; write more than 0s and at most 120s", c.Timeout))
	}
	if c.MaxSize < 1 {
		report("max_size", "must be at least 1; leave the table out for no scan")
	}
	if c.Concurrency < 1 || c.Concurrency > 1000 {
		report("concurrency", fmt.Sprintf("%d is out of range; write 1 to 1000", c.Concurrency))
	}
	if c.Canary != 0 && (c.Canary < time.Second || c.Canary > time.Hour) {
		report("canary", fmt.Sprintf(`%s is out of range; write 1s to 1h, or "0s" for none`, c.Canary))
	}
	c.checkChoices(report)
	c.checkKinds(report, key)
}

func (c *Config) checkAddress(report func(key, problem string), key string) {
	t, err := c.target()
	switch {
	case err != nil:
		report(key, err.Error())
	case !t.private() && !c.Plain:
		report(key, fmt.Sprintf("sends all mail to %s in plain text; use a loopback address or TLS, or set plain = true", t.address))
	}
}

func (c *Config) checkChoices(report func(key, problem string)) {
	check := func(key string, v Choice, allowed ...Choice) {
		if !slices.Contains(allowed, v) {
			report(key, fmt.Sprintf("%q is not one of %s", v, join(allowed)))
		}
	}
	check("too_large", c.TooLarge, Pass, Refuse)
	check("on_failure", c.OnFailure, Defer, Pass)
	check("encrypted", c.Encrypted, Pass, Refuse)
	check("macros", c.Macros, Pass, Refuse)
	check("unscannable", c.Unscannable, Pass, Refuse)
}

func (c *Config) checkKinds(report func(key, problem string), kind string) {
	only := func(key string, set bool, kinds ...string) {
		if set && kind != "" && !slices.Contains(kinds, kind) {
			report(key, fmt.Sprintf("means nothing for %s; delete it", kind))
		}
	}
	only("require_symbols", len(c.RequireSymbols) > 0, "rspamd")
	only("settings_id", c.SettingsID != "", "rspamd")
	only("accept_headers", len(c.AcceptHeaders) > 0, "milter")
	only("canary_finds", c.CanaryFinds != "", "milter", "icap")
	for i, name := range c.AcceptHeaders {
		if !fieldName(name) || ownField(name) {
			report(fmt.Sprintf("accept_headers.%d", i), fmt.Sprintf("%q is not a field that a scanner may add", name))
		}
	}
	for _, v := range append([]string{c.SettingsID, c.CanaryFinds}, c.RequireSymbols...) {
		if clean(v, 1000) != v {
			report("", fmt.Sprintf("%q is not printable ASCII", v))
		}
	}
}

// kind is the key of the address, with how many are set.
func (c *Config) kind() (key string, n int) {
	for _, k := range []struct{ key, address string }{
		{"rspamd", c.Rspamd}, {"clamd", c.Clamd}, {"icap", c.ICAP}, {"milter", c.Milter},
	} {
		if k.address != "" {
			key, n = k.key, n+1
		}
	}
	return key, n
}

// ownField reports whether a field is ours or the author's to write.
func ownField(name string) bool {
	switch strings.ToLower(name) {
	case "dkim-signature", "from", "sender", "to", "cc", "bcc", "subject", "date", "message-id", "reply-to",
		"received", "return-path", "resent-from", "mime-version":
		return true
	}
	return strings.HasPrefix(strings.ToLower(name), "content-") || strings.HasPrefix(strings.ToLower(name), "arc-")
}

func fieldName(s string) bool {
	return s != "" && len(s) <= 77 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' })
}

// Choice is what happens to a message.
type Choice string

// The choices.
const (
	Pass   Choice = "pass"
	Defer  Choice = "defer"
	Refuse Choice = "refuse"
)

// UnmarshalText accepts the three names; blank is an error.
func (c *Choice) UnmarshalText(b []byte) error {
	return text.OneOf(c, b, Pass, Defer, Refuse)
}

// Mode says whether a scanner's word counts.
type Mode string

// The modes.
const (
	Enforce Mode = "enforce"
	Shadow  Mode = "shadow"
)

// UnmarshalText accepts the two names; blank is an error.
func (m *Mode) UnmarshalText(b []byte) error {
	return text.OneOf(m, b, Enforce, Shadow)
}

func join(list []Choice) string {
	s := make([]string, len(list))
	for i, c := range list {
		s[i] = string(c)
	}
	return strings.Join(s, ", ")
}
