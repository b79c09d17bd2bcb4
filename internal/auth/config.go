package auth

import (
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// UserConfig is a table [user.NAME]; NAME is what the client sends as its SASL
// authentication identity. Spellings of one name are one user: the caller gives
// New and Verify the one form of each (mail.User).
type UserConfig struct {
	// Password is the hash that "relay hash-password" prints, or that another
	// program has stored (see parseHash): argon2id
	// ("$argon2id$v=19$m=...") or bcrypt ("$2b$..."). No default.
	Password string `toml:"password"`
	// Disabled refuses the user as if the password were wrong. Default: false.
	Disabled bool `toml:"disabled"`
}

// SetDefaults leaves c as it is: an enabled user without a password, which
// Check refuses.
func (c *UserConfig) SetDefaults() {}

// Check reports every problem of the table.
func (c *UserConfig) Check(report func(key, problem string)) {
	if _, err := parseHash(c.Password); err != nil {
		report("password", err.Error()+`; make one with "relay hash-password"`)
	}
}

// Config is the table [auth].
type Config struct {
	// Failures is the number of wrong passwords after which the connection is
	// closed; 1 to 20. Default: 3.
	Failures int `toml:"failures"`
	// SuspendAfter is the number of wrong passwords from one address (an IPv6
	// /64 counts as one) within a period that suspends it, such as "10/10m".
	// Default: 10/10m.
	SuspendAfter Rate `toml:"suspend_after"`
	// SuspendFor is how long the address is then refused, even with the right
	// password; 1m to 24h. Default: 15m.
	SuspendFor time.Duration `toml:"suspend_for"`
	// Trusted are networks that are never suspended or delayed. Blank: none.
	Trusted []netip.Prefix `toml:"trusted"`
	// Delay is how long the answer to the first wrong password waits; it
	// doubles with every further one from the address or for the user, up to
	// max_delay; 0s to 10s. Default: 500ms.
	Delay time.Duration `toml:"delay"`
	// MaxDelay is the longest such wait; 0s to 10s. Default: 10s.
	MaxDelay time.Duration `toml:"max_delay"`
	// Concurrency is how many passwords are hashed at the same time; the
	// others wait. 0 to 256; 0 is half the cores, at least 1. Default: 0.
	Concurrency int `toml:"concurrency"`
	// Remember is for how long a password that was right is not hashed again;
	// 0s to 1h, 0s hashes each time. Default: 5m.
	Remember time.Duration `toml:"remember"`
}

// SetDefaults fills c with the documented defaults.
func (c *Config) SetDefaults() {
	*c = Config{
		Failures:     3,
		SuspendAfter: Rate{N: 10, Period: 10 * time.Minute},
		SuspendFor:   15 * time.Minute,
		Delay:        500 * time.Millisecond,
		MaxDelay:     10 * time.Second,
		Remember:     5 * time.Minute,
	}
}

// Check reports every problem of the table.
func (c *Config) Check(report func(key, problem string)) {
	between(report, "failures", c.Failures, 1, 20)
	between(report, "suspend_after", c.SuspendAfter.N, 1, 100)
	between(report, "suspend_after", c.SuspendAfter.Period, time.Second, 24*time.Hour)
	between(report, "suspend_for", c.SuspendFor, time.Minute, 24*time.Hour)
	between(report, "delay", c.Delay, 0, 10*time.Second)
	between(report, "max_delay", c.MaxDelay, 0, 10*time.Second)
	between(report, "concurrency", c.Concurrency, 0, 256)
	between(report, "remember", c.Remember, 0, time.Hour)
	if c.MaxDelay < c.Delay {
		report("max_delay", "is below delay; write at least as much")
	}
	for i, p := range c.Trusted {
		if !p.IsValid() {
			report(fmt.Sprintf("trusted.%d", i), "is not a network; write one such as 192.0.2.0/24")
		}
	}
}

// concurrency is the number of hashes at a time with the default resolved.
func (c *Config) concurrency() int {
	if c.Concurrency > 0 {
		return c.Concurrency
	}
	return max(1, runtime.GOMAXPROCS(0)/2)
}

// Rate is a count in a period; its text form is "10/10m".
type Rate struct {
	N      int
	Period time.Duration
}

// UnmarshalText takes "N/period", the period as 90s, 10m, 1h or 1d.
func (r *Rate) UnmarshalText(text []byte) error {
	n, period, found := strings.Cut(string(text), "/")
	count, err := strconv.Atoi(n)
	d, err2 := parsePeriod(period)
	if !found || err != nil || err2 != nil || count < 1 || d <= 0 {
		return fmt.Errorf(`%q is no count in a period; write it as in "10/10m"`, text)
	}
	*r = Rate{count, d}
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (r Rate) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%d/%s", r.N, shortDuration(r.Period)), nil
}

func parsePeriod(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 15)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(s)
}

// shortDuration writes d without the zero units of time.Duration ("10m0s").
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

func between[T int | time.Duration](report func(key, problem string), key string, v, low, high T) {
	if v < low || v > high {
		report(key, fmt.Sprintf("is not between %v and %v; write a value in that range", low, high))
	}
}
